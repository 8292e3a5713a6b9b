"""GPTQ rounding: choose each weight's level by what the layer sees, not by the nearest.

Column by column, the error that rounding one input's weights makes is taken up by the weights of
the inputs still to come, as the second moments of the layer's inputs say. Each channel's largest
weight keeps its level, so that a quantizer which derives the scale from it finds the same grid.

Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022, https://arxiv.org/abs/2210.17323, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.rounding import PAIR_LEVELS, weight_scales
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edgezoo.core.recipe import Recipe

    Nearest = Callable[[int, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

# More inputs than this make the matrix of second moments too large (85 MB at 4608).
_MOST_INPUTS = 4608
# Numbers that the patches of one layer may hold; of large kernels fewer positions are taken.
_PATCH_VALUES = 2**25
# Errors are passed on to a block of inputs at once; from many inputs on, in single precision.
_BLOCK, _LARGE = 128, 1025
# Share of the mean diagonal that is added to it, as in the paper.
_DAMPING = 0.01


def choose_levels(
    network: StepwiseNetwork, step: Step, inputs: NDArray[np.float32], recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Rounded weights of a layer.

    Args:
        network: holds the layer.
        step: a convolution, depthwise convolution or dense layer.
        inputs: what enters it in the quantized network, shape (n, ...).
        recipe: the grid and its granularity.

    Returns:
        Weights on the grid, in TFLite's layout, and the grid's scales, one for each output
        channel; None where the nearest level is the better choice (too many inputs, or an odd
        number of channels on the pair-safe grid, whose pairs are not known).
    """
    import numpy as np

    assert step.weights is not None
    weights = network.constant(step.weights)
    scales = weight_scales(weights, step.channel_axis, recipe.grid, recipe.granularity)
    if step.depthwise:
        if weights.shape[3] != inputs.shape[-1]:
            return None
        moments = moments_of(network, step, inputs, recipe.positions)
        rows = weights[0].reshape(-1, weights.shape[3]).T  # (channels, taps)
        levels = _round_rows(rows / scales.reshape(-1, 1), moments, None)
        rounded = (levels * scales.reshape(-1, 1)).T.reshape(weights.shape)
        return rounded.astype(np.float32), scales.reshape(-1)
    rows = weights.reshape(len(weights), -1)
    paired = recipe.grid == "pair-safe"
    if rows.shape[1] > _MOST_INPUTS or (paired and weights.shape[-1] % 2):
        return None
    moments = moments_of(network, step, inputs, recipe.positions)
    levels = _round_rows(rows / scales.reshape(-1, 1), moments, PAIR_LEVELS if paired else None)
    rounded = (levels * scales.reshape(-1, 1)).reshape(weights.shape)
    return rounded.astype(np.float32), scales.reshape(-1)


def moments_of(
    network: StepwiseNetwork, step: Step, inputs: NDArray[np.float32], positions: int
) -> NDArray[np.float32]:
    """Second moments of what each output of a layer is summed from.

    Args:
        network, step, inputs: as of `choose_levels`.
        positions: of a convolution's output, at the most.

    Returns:
        Shape (1, inputs, inputs); of a depthwise convolution (channels, taps, taps).
    """
    import numpy as np

    assert step.weights is not None
    shape = network.graph.tensors[step.weights].shape
    if step.kind == "FULLY_CONNECTED":
        columns = inputs.reshape(-1, int(shape[1]))
        return (columns.T @ columns)[None]
    patches = _patches(network, step, inputs, [int(n) for n in shape[1:3]], positions)
    if step.depthwise:
        channels = np.ascontiguousarray(patches.transpose(2, 1, 0))
        return np.asarray(channels @ channels.transpose(0, 2, 1))
    columns = patches.reshape(len(patches), -1)
    return (columns.T @ columns)[None]


def _patches(
    network: StepwiseNetwork, step: Step, inputs: NDArray[np.float32], kernel: Any, positions: int
) -> NDArray[np.float32]:
    """What some output positions of a convolution see: shape (positions, taps, channels)."""
    import numpy as np

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


def _round_rows(
    rows: NDArray[Any], moments: NDArray[np.float32], pair_levels: int | None
) -> NDArray[np.float64]:
    """Levels of rows in units of their scale.

    Args:
        rows: shape (channels, inputs).
        moments: as of `spread_errors`.
        pair_levels: the most that two neighbouring levels of equal sign may add up to.
    """
    import numpy as np

    largest = np.abs(rows).argmax(1)

    def nearest(
        j: int, wanted: NDArray[np.float64], levels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        low: Any = -127.0
        high: Any = 127.0
        if pair_levels is not None and j % 2:
            low = np.maximum(low, -pair_levels - np.minimum(levels[j - 1], 0))
            high = np.minimum(high, pair_levels - np.maximum(levels[j - 1], 0))
        return np.clip(np.rint(np.where(largest == j, rows[:, j], wanted)), low, high)

    return spread_errors(rows, moments, nearest)


def spread_errors(
    rows: NDArray[Any], moments: NDArray[np.float32], nearest: Nearest
) -> NDArray[np.float64]:
    """Round rows input by input; those to come take up what rounding loses.

    Args:
        rows: shape (channels, inputs).
        moments: second moments of the inputs, one matrix for all rows or one for each, which is for
            kernels of few taps.
        nearest: rounds what all channels want of input j, given what was rounded before it, shape
            (inputs, channels).

    Returns:
        Shape (channels, inputs).
    """
    import numpy as np

    # Inputs first: what is worked on at a time lies side by side in memory.
    work = np.ascontiguousarray(rows.astype(np.float64).T)
    width, channels = work.shape
    upper = _error_spread(moments)
    block = _BLOCK if len(upper) == 1 else width
    rounded, errors = np.empty_like(work), np.empty((min(block, width), channels))
    for start in range(0, width, block):
        end = min(start + block, width)
        for j in range(start, end):
            rounded[j] = nearest(j, work[j], rounded)
            error = (work[j] - rounded[j]) / upper[:, j, j]
            work[j + 1 : end] -= upper[:, j, j + 1 : end].T * error
            errors[j - start] = error
        if end < width:
            work[end:] -= upper[0, start:end, end:].T @ errors[: end - start]
    return rounded.T


def _error_spread(moments: NDArray[np.float32]) -> NDArray[Any]:
    """Upper Cholesky factor of the inverse of the damped second moments.

    Without the inverse: turned round, the lower factor of the moments is the upper one that the
    inverse is made of. That is a third of the work.
    """
    import numpy as np

    large = moments.shape[1] >= _LARGE
    damped: Any = moments.astype(np.float32 if large else np.float64)
    diagonal = np.einsum("cii->ci", damped)
    diagonal += _DAMPING * diagonal.mean(1, keepdims=True) + 1e-12
    turned = damped[:, ::-1, ::-1]
    try:
        lower: Any = np.linalg.cholesky(turned)
    except np.linalg.LinAlgError:
        lower = np.linalg.cholesky(turned.astype(np.float64))
    return np.asarray(_inverse(lower)[:, ::-1, ::-1])


def _inverse(lower: NDArray[Any]) -> NDArray[Any]:
    """Of lower triangular matrices, shape (n, size, size)."""
    import numpy as np
    from scipy.linalg.lapack import dtrtri, strtri

    if len(lower) > 1:  # many small ones
        return np.linalg.inv(lower)
    invert = strtri if lower.dtype == np.float32 else dtrtri
    inverse, fault = invert(lower[0], lower=1)
    if fault:
        raise np.linalg.LinAlgError("singular matrix")
    return np.asarray(inverse)[None]
