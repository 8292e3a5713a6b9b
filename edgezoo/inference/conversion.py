"""From pixels to the input tensor of a file, and from its raw output to real values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.protocols import TensorInfo
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_QUANTIZED = ("uint8", "int8", "int16")
_FLOATS = ("float32", "float16", "float64")


def to_input(
    pixels: NDArray[np.uint8], contract: InputContract, wanted: TensorInfo
) -> NDArray[Any]:
    """Convert pixels to the dtype, range and layout that the file takes.

    For a file that resizes by itself, the pixels get a border, which its crop cuts off again.

    Args:
        pixels: uint8, shape (n, height, width, channels).
        contract: of the file.
        wanted: the file's input tensor.

    Raises:
        DataError: the input type is unknown, or an integer without quantization.
    """
    import numpy as np

    if contract.resizes:
        pixels = _framed(pixels, contract)
    if contract.input_kind == "normalized":
        values: NDArray[Any] = normalize(pixels, contract.normalization)
        if wanted.dtype == "uint8" and wanted.scale is None:
            if contract.normalization.mode != "raw":
                raise DataError(f"The {wanted.dtype} input {wanted.name} has no quantization.")
            values = pixels
        elif wanted.dtype in _QUANTIZED:
            if wanted.scale is None or wanted.zero_point is None:
                raise DataError(f"The {wanted.dtype} input {wanted.name} has no quantization.")
            limits = np.iinfo(wanted.dtype)
            quantized = np.rint(values / wanted.scale) + wanted.zero_point
            values = np.clip(quantized, limits.min, limits.max)
        elif wanted.dtype not in _FLOATS:
            message = f"The input {wanted.name} has the type {wanted.dtype}, which is no image's."
            raise DataError(message, "Use a file that takes float32, uint8 or int8.")
        values = values.astype(wanted.dtype)
    elif wanted.dtype == "int8":
        values = (pixels.astype(np.int16) - 128).astype(np.int8)
    elif wanted.dtype in ("uint8", "float32", "float16"):
        values = pixels.astype(wanted.dtype)
    else:
        raise DataError(f"The input {wanted.name} has the type {wanted.dtype}, which is unknown.")
    return np.moveaxis(values, -1, 1) if contract.layout == "NCHW" else values


def _framed(pixels: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """Add a border, so that the file's own resize keeps every pixel: the shorter side fits."""
    import numpy as np

    border = contract.resize_record.shorter_side - contract.input_size
    sides = (border // 2, border - border // 2)
    return np.pad(pixels, ((0, 0), sides, sides, (0, 0)))


def dequantize(raw: NDArray[Any], info: TensorInfo) -> NDArray[np.float32]:
    """Convert a raw output to real values, by the tensor's scale and zero point."""
    import numpy as np

    values = raw.astype(np.float32)
    if info.scale is not None and info.zero_point is not None:
        values = (values - np.float32(info.zero_point)) * np.float32(info.scale)
    return values
