"""Which preprocessing the scale and zero point of a quantized input leave room for."""

from __future__ import annotations

from edgezoo.core.protocols import TensorInfo
from edgezoo.core.spec import NORMALIZATIONS, Normalization

# Share of the 256 pixel values that may lie beyond the end of a range.
MOST_CLIPPED = 0.01
_LEAST_USED = 0.9  # share of a range that the right preprocessing uses
_LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}


def real_range(tensor: TensorInfo) -> tuple[float, float] | None:
    """Return the real values that a quantized tensor represents; None for one that is not."""
    limits = _LIMITS.get(tensor.dtype)
    if limits is None or tensor.scale is None or tensor.zero_point is None:
        return None
    low, high = ((end - tensor.zero_point) * tensor.scale for end in limits)
    return low, high


def clipped(how: Normalization, tensor: TensorInfo) -> float:
    """Return the share of the pixel values that a quantized input clips, of the worst channel."""
    ends = real_range(tensor)
    if ends is None or tensor.scale is None:
        return 0.0
    low, high = ends[0] - tensor.scale / 2, ends[1] + tensor.scale / 2
    worst = 0.0
    for scale, offset in zip(how.scale, how.offset, strict=True):
        beyond = sum(not low <= pixel * scale + offset <= high for pixel in range(256))
        worst = max(worst, beyond / 256)
    return worst


def fitting(tensor: TensorInfo, channels: int) -> tuple[Normalization, ...]:
    """Return the known normalizations that a quantized input has room for and that use it."""
    ends = real_range(tensor)
    if ends is None:
        return ()
    found = []
    for known in NORMALIZATIONS.values():
        if channels != len(known.scale) and not known.alike:
            continue
        how = known.of_channels(channels)
        values = [
            pixel * scale + offset
            for pixel in (0, 255)
            for scale, offset in zip(how.scale, how.offset, strict=True)
        ]
        used = (max(values) - min(values)) / (ends[1] - ends[0])
        if used >= _LEAST_USED and clipped(how, tensor) <= MOST_CLIPPED:
            found.append(how)
    return tuple(found)
