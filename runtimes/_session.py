"""The shape that all sessions share: the public method checks, a short private one works."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError
from edgezoo.core.heartbeat import alive
from edgezoo.core.protocols import RanOn, TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BaseSession(ABC):
    """What sessions share: subclasses give `inputs`, `outputs` and `_run_one`."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ran_on = RanOn()
    backend: str | None = None
    copies = False

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run n inputs, as many at once as the file takes.

        Args:
            batch: the file's own dtype and layout, shape (n, *input shape without batch).

        Returns:
            Raw outputs in the file's own dtype, shape (n, classes).

        Raises:
            DataError: another dtype or shape than the file takes.
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
        rows = [
            self._run_filled(batch[i : i + at_once], at_once) for i in range(0, len(batch), at_once)
        ]
        return np.concatenate(rows)

    def _run_filled(self, part: NDArray[Any], at_once: int) -> NDArray[Any]:
        """Outputs of a part of a batch, filled up where the file takes more at once."""
        import numpy as np

        alive()
        rest = np.repeat(part[-1:], at_once - len(part), axis=0)
        outputs = self._run_one(np.concatenate([part, rest]) if len(rest) else part)
        return np.array(outputs).reshape(at_once, -1)[: len(part)]

    def prepared(self, one: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """See `Session`."""
        return partial(self._run_one, one)

    @abstractmethod
    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Outputs of as many inputs as the file takes at once, nearly always one."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the runtime's memory."""

    def __enter__(self) -> BaseSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array has the shape of a tensor, of which -1 is any length."""
    return len(shape) == len(wanted) and all(
        length in (-1, given) for given, length in zip(shape, wanted, strict=True)
    )


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Keep the runtime's native chatter such as "Created XNNPACK delegate" off the user's terminal.

    It is written to the file descriptors, past Python; errors come back as exceptions.
    """
    with open(os.devnull, "wb") as nowhere, _native_output_to(nowhere.fileno()):
        yield


@contextlib.contextmanager
def caught_native() -> Iterator[Path]:
    """A file that holds what native code prints meanwhile; the caller deletes it.

    For runtimes that say only there which device they chose or what they need.
    """
    number, name = tempfile.mkstemp(prefix="edgezoo-log-")
    try:
        with _native_output_to(number):
            yield Path(name)
    finally:
        os.close(number)


@contextlib.contextmanager
def _native_output_to(descriptor: int) -> Iterator[None]:
    """Both streams, since some libraries chat on standard output, where our JSON goes."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in saved:
            os.dup2(descriptor, number)
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # what waits in C's own buffers goes there too
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
