"""OpenVINO: its own files, and .onnx and .tflite files read by its frontends.

`openvino` computes in float32; `openvino-plain` is the session of a program that sets nothing, in
which CPUs with AMX or avx512_bf16 compute in bfloat16 what the file does not want in float32.
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

_OLD = (
    "OpenVINO {} misreads quantized .tflite files without a message. "
    "Upgrade it, or export for OpenVINO."
)


@dataclass(frozen=True, slots=True)
class OpenVinoReader(SessionReader):
    """OpenVINO's CPU plugin; `exact`: in float32."""

    exact: bool = False

    def version(self) -> str | None:
        """See `Reader`."""
        return openvino.RUNTIME.version()

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        try:
            with quiet_native():
                model = load("openvino").Core().read_model(str(opened.path))
        except RuntimeError as error:
            message = f"{opened.path} cannot be read by OpenVINO: {words_of(error, -1)}."
            raise DataError(message) from error
        return _Session(*openvino.compile_model(model, opened.path, exact=self.exact), opened)

    def known_fault(self, opened: Opened, scores: NDArray[Any]) -> str | None:
        """See `Reader`."""
        if opened.format == "tflite" and opened.contract.precision == "int8":
            return _OLD.format((self.version() or "").rpartition(" ")[2])
        return None


class _Session(openvino.OpenVinoSession):
    """A session whose tensors have the scales of the file's own runtime, which frontends drop."""

    def __init__(self, compiled: Any, ran_on: RanOn, opened: Opened) -> None:
        super().__init__(compiled, ran_on)
        self.inputs = (_completed(self.inputs[0], opened.input),)
        self.outputs = (_completed(self.outputs[0], opened.output),)


def _completed(found: Any, own: Any) -> Any:
    if found.dtype != own.dtype:
        return found
    return replace(found, scale=own.scale, zero_point=own.zero_point)


READERS = tuple(
    OpenVinoReader(name, ("openvino", "onnx", "tflite"), 'Run: pip install "edgezoo[openvino]".',
                   exact=exact)
    for name, exact in (("openvino", True), ("openvino-plain", False))
)  # fmt: skip
