"""OpenVINO: its own files, and .onnx and .tflite files read by its frontends.

`openvino` computes in float32, as EdgeZoo's own sessions do; `openvino-plain` is the session of a
program that sets nothing, in which CPUs with AMX or avx512_bf16 may compute in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, words_of
from edgezoo.core.ran_on import RanOn
from edgezoo.core.reader_protocol import Opened
from edgezoo.readers._base import SessionReader
from edgezoo.runtimes import openvino
from edgezoo.runtimes._session import quiet_native
from edgezoo.runtimes._silent import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgezoo.core.protocols import Session

_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
_LESS = {"bf16": "bfloat16", "f16": "float16"}
_OLD = (
    "OpenVINO {} misreads quantized .tflite files without a message. "
    "Upgrade it, or export for OpenVINO."
)


@dataclass(frozen=True, slots=True)
class OpenVinoReader(SessionReader):
    """OpenVINO's CPU plugin with some settings."""

    settings: tuple[tuple[str, str], ...] = ()

    def version(self) -> str | None:
        """See `Reader`."""
        return openvino.RUNTIME.version()

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        core = load("openvino").Core()
        try:
            with quiet_native():
                compiled = core.compile_model(str(opened.path), "CPU", dict(self.settings))
        except RuntimeError as error:
            message = f"{opened.path} cannot be read by OpenVINO: {words_of(error, -1)}."
            raise DataError(message) from error
        return _Session(compiled, opened)

    def arithmetic(self, session: Session) -> str | None:
        """See `SessionReader`."""
        return _LESS.get(str(session.ran_on.details.get("precision")))

    def known_fault(self, opened: Opened, scores: NDArray[Any]) -> str | None:
        """See `Reader`."""
        if opened.format == "tflite" and opened.contract.precision == "int8":
            return _OLD.format((self.version() or "").rpartition(" ")[2])
        return None


class _Session(openvino.OpenVinoSession):
    """A session whose tensors have the scales of the file's own runtime, which frontends drop."""

    def __init__(self, compiled: Any, opened: Opened) -> None:
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        ran_on = RanOn("cpu", details={"precision": precision})
        super().__init__(compiled, ran_on)
        self.inputs = (_completed(self.inputs[0], opened.input),)
        self.outputs = (_completed(self.outputs[0], opened.output),)


def _completed(found: Any, own: Any) -> Any:
    if found.dtype != own.dtype:
        return found
    return replace(found, scale=own.scale, zero_point=own.zero_point)


READERS = (
    OpenVinoReader(
        "openvino", ("openvino", "onnx", "tflite"), 'Run: pip install "edgezoo[openvino]".',
        settings=tuple(_FLOAT32.items()),
    ),
    OpenVinoReader(
        "openvino-plain", ("openvino", "onnx", "tflite"), 'Run: pip install "edgezoo[openvino]".'
    ),
)  # fmt: skip
