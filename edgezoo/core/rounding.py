"""The arithmetic of 8-bit quantization in numpy, by the TFLite 8-bit specification.

Source: https://ai.google.dev/edge/litert/models/quantization_spec
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgezoo.core.arrays import Floats

Grid = Literal["full", "pair-safe"]
Granularity = Literal["per-channel", "per-tensor"]
# A pixel that an 8-bit tensor with this zero point holds as 0: a network that is to be quantized
# takes pixel - 128, so that its input loses nothing.
PIXEL_ZERO = 128
_PAIR_BOUND = 32767 / 255
# The most that two quantized weights of equal sign may add up to, so that the sum of their products
# with two uint8 activations fits 16 bits.
PAIR_LIMIT = int(_PAIR_BOUND)


def weight_scales(
    weights: Floats, axis: int, grid: Grid = "full", granularity: Granularity = "per-channel"
) -> Floats:
    """Symmetric scales of 8-bit weights, one for each channel along `axis`; 1 for a dead channel.

    They are float32 and broadcast against the weights.

    Args:
        weights: a kernel in TFLite's layout; where `axis` is 0, the last axis counts inputs.
        axis: counts output channels.
        grid: "full" is max|w| / 127. "pair-safe" widens a channel's scale just so far that the sum
            of two neighbouring products never leaves 16 bits (see `pair_excess`).
        granularity: "per-tensor": all channels take the largest of their scales.
    """
    import numpy as np

    others = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.abs(weights).max(others, keepdims=True) / np.float32(127)
    if granularity == "per-tensor":
        scales = np.broadcast_to(scales.max(), scales.shape)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    if grid == "pair-safe" and axis == 0:
        excess = pair_excess(weights / scales)
        scales *= np.maximum(1, excess.max() if granularity == "per-tensor" else excess)
    return np.asarray(scales, np.float32)


def pair_excess(quantized: Floats) -> Floats:
    """How far each output channel's worst pair sum is above what 16 bits hold.

    x86 without VNNI adds the products of two neighbouring input channels (uint8 x int8) in 16
    bits (vpmaddubsw), so |w0 + w1| of equal sign must stay below 32767 / 255 = 128.49.

    `quantized` are weights in units of their scale, shape (out, ..., in). The ratio of the worst
    sum to the bound has the shape (out, 1, ..., 1); above 1 can saturate.
    """
    import numpy as np

    if quantized.shape[-1] % 2:
        # With an odd number of channels, pairs span kernel positions: any two weights may meet.
        pairs = np.sort(quantized.reshape(len(quantized), -1))
        positive = np.maximum(pairs[:, -2:], 0).sum(-1)
        negative = np.minimum(pairs[:, :2], 0).sum(-1)
    else:
        pairs = quantized.reshape(len(quantized), -1, 2)
        positive = np.maximum(pairs, 0).sum(-1).max(-1)
        negative = np.minimum(pairs, 0).sum(-1).min(-1)
    worst = np.maximum(positive, -negative)
    # Rounding moves each of the two weights by up to half a step: reserve one step.
    excess = worst / np.float32(_PAIR_BOUND - 1)
    return np.asarray(excess.reshape(-1, *(1,) * (quantized.ndim - 1)))


def round_weights(
    weights: Floats, axis: int, grid: Grid = "full", granularity: Granularity = "per-channel"
) -> Floats:
    """Quantize and dequantize weights; arguments as of `weight_scales`."""
    import numpy as np

    scales = weight_scales(weights, axis, grid, granularity)
    return np.asarray(np.clip(np.rint(weights / scales), -127, 127) * scales, np.float32)


def activation_parameters(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point (of int8, -128 to 127) of a range, widened to include 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return scale, int(max(-128, min(127, round(-128 - low / scale))))


def fake_quantize(values: Floats, low: float, high: float) -> Floats:
    """Quantize and dequantize activations to an int8 tensor of that range."""
    import numpy as np

    scale, zero = activation_parameters(low, high)
    q = np.clip(np.rint(values / np.float32(scale)) + zero, -128, 127)
    return np.asarray((q - zero) * np.float32(scale), np.float32)
