"""GPTQ rounding: weights take the value that changes the layer's output least, not the nearest one.

Algorithm 1 of Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022, https://arxiv.org/abs/2210.17323. Its steps, with the numbers that the comments
below refer to:

    1. H = X X^T + lambda I, the damped Hessian of the squared error of the layer's output
       (the paper's factor 2 cancels out).
    2. Replace H by U, the upper Cholesky factor of its inverse.
    3. Quantize column j of the weights.
    4. Divide its quantization error by U[j, j].
    5. Subtract the error times U[j, j:] from the columns of this block that are still to come.
    6. After each block, do the same for all columns behind it.

Ours: the largest weight of each channel keeps its quantized value, so that a quantizer that
derives the scale from it finds the same grid; and on the pair-safe grid step 3 limits the second
value of each pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.arrays import Doubles, Floats, from_rows, rows
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import PAIR_LIMIT, weight_scales
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

Nearest = Callable[[int, Doubles, Doubles], Doubles]

# More inputs than this make the Hessian too large (85 MB at 4608).
_MOST_INPUTS = 4608
# Numbers that the patches of one layer may hold; large kernels are sampled at fewer positions.
_PATCH_VALUES = 2**25
# Columns in a block of step 6; from _LARGE inputs on, single precision.
_BLOCK, _LARGE = 128, 1025
# Share of the mean diagonal that step 1 adds to the diagonal, as in the paper.
_DAMPING = 0.01


def quantize_weights(
    network: StepwiseNetwork, step: Step, inputs: Floats, recipe: Recipe
) -> tuple[Floats, Floats] | None:
    """Quantize the weights of a layer.

    Args:
        network, step: a convolution, depthwise convolution or dense layer.
        inputs: what enters it in the quantized network, shape (n, ...).
        recipe: the grid and its granularity.

    Returns:
        Weights on the grid, in TFLite's layout, and the grid's scales, one for each output
        channel. None where rounding to the nearest is better: too many inputs, or an odd number
        of channels on the pair-safe grid, where it is not known which weights form a pair.
    """
    weights = network.weights(step)
    scales = weight_scales(weights, step.channel_axis, recipe.grid, recipe.granularity).reshape(-1)
    exact = rows(weights, step.channel_axis)
    # Depthwise kernels multiply in 16 bits on x86: they need no pair-safe values.
    paired = recipe.grid == "pair-safe" and not step.depthwise
    if step.depthwise:
        if len(exact) != inputs.shape[-1]:
            return None
    elif exact.shape[1] > _MOST_INPUTS or (paired and weights.shape[-1] % 2):
        return None
    hessian = hessian_of(network, step, inputs, recipe.positions)
    quantized = _quantize_rows(exact / scales[:, None], hessian, PAIR_LIMIT if paired else None)
    rounded = from_rows(quantized * scales[:, None], weights.shape, step.channel_axis)
    return rounded.astype(np.float32), scales


def hessian_of(network: StepwiseNetwork, step: Step, inputs: Floats, positions: int) -> Floats:
    """Return X X^T of step 1, where X holds what each output of a layer is summed from.

    At most so many positions of a convolution's output count. The shape is (1, inputs, inputs); of
    a depthwise convolution (channels, taps, taps).
    """
    shape = network.graph.tensors[step.weights].shape
    if len(shape) == 2:
        columns = inputs.reshape(-1, int(shape[1]))
        return (columns.T @ columns)[None]
    patches = _patches(network, step, inputs, [int(n) for n in shape[1:3]], positions)
    if step.depthwise:
        channels = np.ascontiguousarray(patches.transpose(2, 1, 0))
        return np.asarray(channels @ channels.transpose(0, 2, 1))
    columns = patches.reshape(len(patches), -1)
    return (columns.T @ columns)[None]


def _patches(
    network: StepwiseNetwork, step: Step, inputs: Floats, kernel: Any, positions: int
) -> Floats:
    """Return the inputs of some output positions: shape (positions, taps, channels)."""
    options = network.graph.operators[step.index].builtinOptions
    stride = (options.strideH, options.strideW)
    dilation = (max(1, options.dilationHFactor), max(1, options.dilationWFactor))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if options.padding == 0:  # SAME
        pads = [
            max(0, (-(-n // s) - 1) * s + span - n)
            for n, s, span in zip(inputs.shape[1:3], stride, spans, strict=True)
        ]
        around = [(p // 2, p - p // 2) for p in pads]
        inputs = np.pad(inputs, ((0, 0), *around, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(inputs, tuple(spans), axis=(1, 2))
    views = views[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    count = views.shape[0] * views.shape[1] * views.shape[2]
    most = min(count, positions, _PATCH_VALUES // views[0, 0, 0].size)
    places = np.unravel_index(np.linspace(0, count - 1, most).astype(np.int64), views.shape[:3])
    taken = views[places]  # (positions, channels, kh, kw)
    return np.ascontiguousarray(taken.reshape(*taken.shape[:2], -1).transpose(0, 2, 1))


def _quantize_rows(rows: NDArray[Any], hessian: Floats, pair_limit: int | None) -> Doubles:
    """Quantize rows, shape (channels, inputs), in units of their scale.

    `pair_limit` is the most that two neighbouring quantized values of equal sign may add up to.
    """
    largest = np.abs(rows).argmax(1)

    def nearest(j: int, wanted: Doubles, quantized: Doubles) -> Doubles:
        low: Any = -127.0
        high: Any = 127.0
        if pair_limit is not None and j % 2:
            # The pair's first value is fixed: leave this one no more than the rest of the limit.
            low = np.maximum(low, -pair_limit - np.minimum(quantized[j - 1], 0))
            high = np.minimum(high, pair_limit - np.maximum(quantized[j - 1], 0))
        return np.clip(np.rint(np.where(largest == j, rows[:, j], wanted)), low, high)

    return propagate_errors(rows, hessian, nearest)


def propagate_errors(rows: NDArray[Any], hessian: Floats, nearest: Nearest) -> Doubles:
    """Quantize rows input by input; the inputs still to come compensate for each error.

    Args:
        rows: shape (channels, inputs), as the result.
        hessian: one matrix for all rows, or one for each, which is for kernels of few taps.
        nearest: quantizes input j of all channels, given what was quantized before it, shape
            (inputs, channels).
    """
    # Inputs first: what is worked on at a time is contiguous in memory.
    work = np.ascontiguousarray(rows.astype(np.float64).T)
    width, channels = work.shape
    upper = _inverse_factor(hessian)  # steps 1 and 2
    block = _BLOCK if len(upper) == 1 else width
    quantized, errors = np.empty_like(work), np.empty((min(block, width), channels))
    for start in range(0, width, block):
        end = min(start + block, width)
        for j in range(start, end):
            quantized[j] = nearest(j, work[j], quantized)  # step 3
            error = (work[j] - quantized[j]) / upper[:, j, j]  # step 4
            work[j + 1 : end] -= upper[:, j, j + 1 : end].T * error  # step 5
            errors[j - start] = error
        if end < width:
            work[end:] -= upper[0, start:end, end:].T @ errors[: end - start]  # step 6
    return quantized.T


def _inverse_factor(hessian: Floats) -> NDArray[Any]:
    """Return U of step 2.

    The inverse itself is not needed. With J, which reverses the order of rows: if J H J = L L^T,
    then U = J L^-1 J is upper triangular and U^T U = J L^-T L^-1 J = H^-1. That is a third of the
    work.
    """
    large = hessian.shape[1] >= _LARGE
    damped: Any = hessian.astype(np.float32 if large else np.float64)
    diagonal = np.einsum("cii->ci", damped)
    diagonal += _DAMPING * diagonal.mean(1, keepdims=True) + 1e-12
    reversed_ = damped[:, ::-1, ::-1]
    try:
        lower: Any = np.linalg.cholesky(reversed_)
    except np.linalg.LinAlgError:  # single precision was not enough
        lower = np.linalg.cholesky(reversed_.astype(np.float64))
    return np.asarray(_inverse(lower)[:, ::-1, ::-1])


def _inverse(lower: NDArray[Any]) -> NDArray[Any]:
    """Invert lower triangular matrices, shape (n, size, size)."""
    from scipy.linalg.lapack import dtrtri, strtri

    if len(lower) > 1:  # many small ones
        return np.linalg.inv(lower)
    invert = strtri if lower.dtype == np.float32 else dtrtri
    inverse, fault = invert(lower[0], lower=1)
    if fault:
        raise np.linalg.LinAlgError("singular matrix")
    return np.asarray(inverse)[None]
