"""The base of all sessions: the public method checks the input, a private one runs it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError
from edgezoo.core.heartbeat import alive
from edgezoo.core.protocols import TensorInfo
from edgezoo.core.ran_on import RanOn

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BaseSession(ABC):
    """Base of sessions; subclasses set `inputs` and `outputs` and implement `_run_one`."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ran_on = RanOn()
    backend: str | None = None
    copies = False
    _native: Any = None  # the runtime's own session
    _chosen = 0  # position of the output that is returned

    @property
    def free_batch(self) -> bool:
        """See `Session`."""
        return self.inputs[0].shape[0] < 1

    def choose_output(self, position: int) -> None:
        """See `Session`."""
        others = (output for i, output in enumerate(self.outputs) if i != position)
        self.outputs = (self.outputs[position], *others)
        self._chosen = position

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run n inputs, in batches of the size that the file takes.

        Args:
            batch: the file's own dtype and layout, shape (n, *input shape without batch).

        Returns:
            Raw outputs in the file's own dtype, shape (n, values).

        Raises:
            DataError: the file takes a different dtype or shape.
        """
        import numpy as np

        wanted = self.inputs[0]
        if str(batch.dtype) != wanted.dtype or not _fits(batch.shape[1:], wanted.shape[1:]):
            shape = ", ".join(str(n) for n in wanted.shape[1:])
            raise DataError(
                f"The file takes {wanted.dtype} of shape (n, {shape}), "
                f"got {batch.dtype} of shape {batch.shape}."
            )
        if not len(batch):
            return np.empty((0, self.outputs[0].shape[-1]), self.outputs[0].dtype)
        at_once = wanted.shape[0] if wanted.shape[0] > 0 else len(batch)
        parts = (batch[i : i + at_once] for i in range(0, len(batch), at_once))
        return np.concatenate([self._run_filled(part, at_once) for part in parts])

    def _run_filled(self, part: NDArray[Any], at_once: int) -> NDArray[Any]:
        """Run a part of a batch, padded where the file takes larger batches."""
        import numpy as np

        alive()
        # A file with a fixed batch takes nothing smaller: repeat the last input, drop its outputs.
        rest = np.repeat(part[-1:], at_once - len(part), axis=0)
        outputs = self._run_one(np.concatenate([part, rest]) if len(rest) else part)
        # Copied, since runtimes overwrite their output buffer in the next run.
        return np.array(outputs).reshape(at_once, -1)[: len(part)]

    def prepared(self, one: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """See `Session`."""
        return partial(self._run_one, one)

    @abstractmethod
    def _run_one(self, batch: NDArray[Any]) -> Any:
        """Return the output of a batch of the size that the file takes, nearly always one input."""

    def close(self) -> None:
        """Release the runtime's memory."""
        self._native = None

    def __enter__(self) -> BaseSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether an array has the shape of a tensor, where -1 is any length."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(length in (-1, given) for given, length in pairs)


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Discard native messages such as "Created XNNPACK delegate".

    Native code writes to the file descriptors, not to Python's streams; errors are exceptions.
    """
    with open(os.devnull, "wb") as nowhere, _native_output_to(nowhere.fileno()):
        yield


@contextlib.contextmanager
def captured_native() -> Iterator[list[str]]:
    """Collect the lines of native messages, in a list that is filled when the block ends.

    Some runtimes report the chosen device or the required memory only there.
    """
    lines: list[str] = []
    with tempfile.TemporaryFile() as log:
        with _native_output_to(log.fileno()):
            yield lines
        log.seek(0)
        lines += log.read().decode(errors="replace").splitlines()


@contextlib.contextmanager
def _native_output_to(descriptor: int) -> Iterator[None]:
    """Redirect both streams: some libraries print to standard output, where the JSON goes."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in saved:
            os.dup2(descriptor, number)
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # C buffers its output separately
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
