"""OpenCV's DNN module, which reads .onnx and .tflite files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.errors import DataError, words_of
from edgezoo.core.reader_protocol import Opened
from edgezoo.readers._base import SessionReader
from edgezoo.runtimes._base import first_installed
from edgezoo.runtimes._session import BaseSession, quiet_native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgezoo.core.protocols import Session

_DISTRIBUTIONS = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)


@dataclass(frozen=True, slots=True)
class OpenCvReader(SessionReader):
    """cv2.dnn.readNet without further settings."""

    def version(self) -> str | None:
        """See `Reader`."""
        return first_installed(_DISTRIBUTIONS) if registry.has_package("cv2") else None

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        import cv2

        try:
            with quiet_native():
                network = cv2.dnn.readNet(str(opened.path))
        except cv2.error as error:
            raise _unreadable(opened, error) from error
        return _Session(network, opened)

    def known_fault(self, opened: Opened, scores: NDArray[Any]) -> str | None:
        """See `Reader`."""
        if opened.contract.precision != "int8":
            return None
        if int((self.version() or "0").rpartition(" ")[2].partition(".")[0]) >= 5:
            return (
                "The new engine of OpenCV 5 misreads quantized files. Use OpenCV 4 with a file "
                "that was exported with --io float32, or a float file."
            )
        if opened.contract.input_dtype == "uint8":
            return (
                "OpenCV takes the input of a quantized network as int8 whatever its type, and cuts "
                "off pixels above 127. Export with --io float32."
            )
        return None


def _unreadable(opened: Opened, error: Exception) -> DataError:
    return DataError(f"{opened.path} cannot be read by OpenCV: {words_of(error)}.")


class _Session(BaseSession):
    """A network; OpenCV takes channels first of every .tflite file, whatever the file says."""

    def __init__(self, network: Any, opened: Opened) -> None:
        self._native, self._opened = network, opened
        self._channels_first = opened.format == "tflite" and opened.contract.layout == "NHWC"
        self.inputs, self.outputs = (opened.input,), (opened.output,)

    def _run_one(self, batch: NDArray[Any]) -> Any:
        import cv2
        import numpy as np

        if self._channels_first:
            batch = np.moveaxis(batch, -1, 1)
        try:
            with quiet_native():
                self._native.setInput(np.ascontiguousarray(batch))
                found = self._native.forward()
        except cv2.error as error:
            raise _unreadable(self._opened, error) from error
        if found.dtype.kind == "f" and self.outputs[0].scale is not None:
            # It has dequantized the output already.
            self.outputs = (replace(self.outputs[0], scale=None, zero_point=None),)
        return found


READERS = (OpenCvReader("opencv", ("onnx", "tflite"), "Run: pip install opencv-python-headless."),)
