"""TFLite files by the kernels of TensorFlow Lite for Microcontrollers, on this machine's CPU.

They are the reference kernels that a microcontroller runs if its vendor provides none. A file is
first opened and run in a child process: on an unsuitable file, the library ends the process without
a message.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import DataError
from edgezoo.core.ran_on import RanOn
from edgezoo.runtimes import _compiled
from edgezoo.runtimes._base import BaseRuntime
from edgezoo.runtimes._session import BaseSession, captured_native
from edgezoo.runtimes.litert import (
    LiteRtRuntime,
    has_reference_kernels,
    open_reference,
    tensor_infos,
)
from edgezoo.system import process

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class TfliteMicroRuntime(LiteRtRuntime):
    """Second runtime of `.tflite`: it has no ending of its own and is chosen by name."""

    name: str = "tflite_micro"
    suffixes: tuple[str, ...] = ()
    supported_devices: tuple[str, ...] = ("cpu",)
    extra: str = "micro"
    packages: tuple[str, ...] = ("tflite_micro",)
    distributions: tuple[str, ...] = ("tflite-micro",)

    version = BaseRuntime.version
    devices = BaseRuntime.devices

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        return BaseRuntime.refusal(self, artifact, device) or _compiled.refusal(artifact.path)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> BaseSession:
        """See `Runtime`; a microcontroller has one thread, whatever `threads` is."""
        registry.require_packages(self.packages, self.extra, "Running microcontroller kernels")
        _compiled.require_plain(artifact.path)
        self.require_device(artifact, device)
        return TfliteMicroSession(artifact.path)


class TfliteMicroSession(BaseSession):
    """An interpreter in an arena of the size that the file needs."""

    def __init__(self, path: Path) -> None:
        found = _probe_in_child(path)
        self.ran_on = RanOn("cpu", "software", "TFLite Micro kernels", None, asdict(found))
        self.inputs, self.outputs = tensor_infos(path)
        self._native = _load(path, found.arena_bytes)

    def _run_one(self, batch: NDArray[Any]) -> Any:
        self._native.set_input(batch, 0)
        self._native.invoke()
        return self._native.get_output(self._chosen)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a trial run of a file found.

    Attributes:
        arena_bytes: size of the smallest arena in which the file opens.
        equals_reference: whether the output of a random input equals that of TFLite's reference
            kernels; None if no installed package has them.
    """

    arena_bytes: int
    equals_reference: bool | None


def _probe_in_child(path: Path) -> Probed:
    crashed = DataError(
        f"TFLite Micro ended without a message while it opened or ran {path}.",
        "Check that the file is complete and that its ranges were calibrated on real images.",
    )
    return process.guarded(process.job(probe, path), crashed)


def probe(path: Path) -> Probed:
    """Run a file once and find the arena that it needs; called in a child process."""
    import numpy as np

    interpreter = _load(path, None)
    detail = interpreter.get_input_details(0)
    values = np.random.default_rng(0).integers(0, 128, detail["shape"]).astype(detail["dtype"])
    interpreter.set_input(values, 0)
    interpreter.invoke()
    answer = interpreter.get_output(0)
    expected = _reference(path, values)
    equal = None if expected is None else bool(np.array_equal(answer, expected))
    return Probed(_arena(path, interpreter), equal)


def _arena(path: Path, interpreter: Any) -> int:
    """Return the size in bytes of the smallest arena in which the file opens.

    The library reports the memory that it used; planning that memory may need more.
    """
    with captured_native() as log:
        interpreter.print_allocations()
    found = _TOTAL.search("\n".join(log))
    if found is None:
        raise DataError(f"TFLite Micro does not report the arena of {path}.")
    # Double until the file opens, then bisect; sizes are in units of the alignment.
    enough = -(-int(found[1]) // _ALIGNMENT)
    too_small = enough - 1
    while not _opens(path, enough * _ALIGNMENT):
        too_small, enough = enough, 2 * enough
    while enough - too_small > 1:
        middle = (enough + too_small) // 2
        if _opens(path, middle * _ALIGNMENT):
            enough = middle
        else:
            too_small = middle
    return enough * _ALIGNMENT


def _opens(path: Path, arena: int) -> bool:
    try:
        _load(path, arena)
    except DataError:
        return False
    return True


def _reference(path: Path, values: NDArray[Any]) -> Any:
    """Run TFLite's reference kernels; None if the package cannot select them."""
    if not has_reference_kernels():
        return None
    with open_reference(path) as session:
        return session.run(values)


def _load(path: Path, arena: int | None) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    with captured_native() as log:
        try:
            made, failure = runtime.Interpreter.from_file(str(path), arena_size=arena), None
        except (RuntimeError, ValueError) as error:
            made, failure = None, error
    if failure is None:
        return made
    reason = next((line.strip() for line in log if line.strip()), failure)
    raise DataError(
        f"TFLite Micro cannot open {path}: {reason}",
        "It takes int8 files, quantized per channel: export with --target tflite-micro.",
    ) from failure


RUNTIME = TfliteMicroRuntime()
