"""TFLite files by the kernels of TensorFlow Lite for Microcontrollers, on this machine's CPU.

They are the reference kernels that a microcontroller runs where its vendor has none of its own. A
file is opened and run once in a child process before: on a file that does not suit it, the library
ends the process without a word.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import CrashError, DataError, MissingError, RefusedError
from edgezoo.core.protocols import RanOn
from edgezoo.runtimes import _compiled
from edgezoo.runtimes._session import BaseSession, caught_native, device_refusal
from edgezoo.runtimes.litert import LiteRtRuntime, load_api, tensor_infos
from edgezoo.system import process

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class TfliteMicroRuntime(LiteRtRuntime):
    """Second runtime of `.tflite`: it claims no ending, so it is asked for by name."""

    name: str = "tflite_micro"
    suffixes: tuple[str, ...] = ()
    extra: str = "micro"
    packages: tuple[str, ...] = ("tflite_micro",)

    def version(self) -> str | None:
        """See `Runtime`."""
        try:
            return f"tflite-micro {importlib.metadata.version('tflite-micro')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        return ("cpu",) if importlib.util.find_spec("tflite_micro") else ()

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        reason = device_refusal(device, self.devices(), self.name)
        return reason or _compiled.refusal(artifact.path)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> BaseSession:
        """See `Runtime`; a microcontroller has one thread, whatever is asked for."""
        if not self.devices():
            raise MissingError(
                "Running microcontroller kernels needs tflite-micro, which is not installed.",
                'Run: pip install "edgezoo[micro]"',
            )
        reason = self.refusal(artifact, device)
        if reason and _compiled.operation(artifact.path):
            raise RefusedError(f"{artifact.path} cannot be opened: {reason}.", _compiled.HINT)
        if reason:
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.")
        return TfliteMicroSession(artifact.path)


class TfliteMicroSession(BaseSession):
    """An interpreter in an arena of the size that the file needs."""

    def __init__(self, path: Path) -> None:
        facts = _probe_in_child(path)
        details = {key: facts[key] for key in ("arena_bytes", "equals_reference")}
        self.ran_on = RanOn("cpu", "software", "TFLite Micro kernels", None, details)
        self.inputs, self.outputs = tensor_infos(path)
        self._interpreter = _load(path, facts["arena_bytes"])

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        self._interpreter.set_input(batch, 0)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_output(0)
        return output

    def close(self) -> None:
        """Drop the interpreter; its arena goes with it."""
        self._interpreter = None


def _probe_in_child(path: Path) -> dict[str, Any]:
    try:
        return process.call(probe, path)
    except CrashError as error:
        raise DataError(
            f"TFLite Micro ended without a word while it opened or ran {path}.",
            "Check that the file is whole and that its ranges were calibrated on real pictures.",
        ) from error


def probe(path: Path) -> dict[str, Any]:
    """In a child: run a file once and find the arena that it needs.

    Returns:
        {"arena_bytes": bytes of the smallest arena that it opened in,
        "equals_reference": whether a random input gave what TFLite's reference kernels give; None
        where no package has them}.
    """
    import numpy as np

    interpreter = _load(path, None)
    detail = interpreter.get_input_details(0)
    values = np.random.default_rng(0).integers(0, 128, detail["shape"]).astype(detail["dtype"])
    interpreter.set_input(values, 0)
    interpreter.invoke()
    answer = interpreter.get_output(0)
    expected = _reference(path, values)
    equal = None if expected is None else bool(np.array_equal(answer, expected))
    return {"arena_bytes": _arena(path, interpreter), "equals_reference": equal}


def _arena(path: Path, interpreter: Any) -> int:
    """Bytes of the smallest arena in which the file opens.

    The library records what it used; while it plans, it may need more than that.
    """
    with caught_native() as log:
        interpreter.print_allocations()
    found = _TOTAL.search(log.read_text(errors="replace"))
    log.unlink()
    if found is None:
        raise DataError(f"TFLite Micro does not tell the arena of {path}.")
    enough = -(-int(found[1]) // _ALIGNMENT)  # in units of the alignment
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


def _reference(path: Path, values: NDArray[Any]) -> NDArray[Any] | None:
    """What TFLite's own reference kernels give; None where the package has no choice of kernels."""
    api = load_api()
    if not hasattr(api, "OpResolverType"):
        return None
    interpreter = api.Interpreter(
        model_path=str(path), experimental_op_resolver_type=api.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    output: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def _load(path: Path, arena: int | None) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    with caught_native() as log:
        try:
            made, failure = runtime.Interpreter.from_file(str(path), arena_size=arena), None
        except (RuntimeError, ValueError) as error:
            made, failure = None, error
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    log.unlink()
    if failure is None:
        return made
    raise DataError(
        f"TFLite Micro cannot open {path}: {said[0].strip() if said else failure}",
        "It takes int8 files, quantized per channel: export with --target tflite-micro.",
    ) from failure


RUNTIME = TfliteMicroRuntime()
