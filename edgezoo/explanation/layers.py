"""Figures of each layer, worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from edgezoo.core.anatomy import Grid, LayerConstants
from edgezoo.core.rounding import round_weights
from edgezoo.explanation.alignment import along
from edgezoo.explanation.simulation import Simulation
from edgezoo.explanation.sums import LayerSums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Rounding moves a weight by half a step; rounding that makes up for other weights' errors
# (GPTQ) by a few, and the size of an equalized channel is known to some percent. A flipped bit
# moves a weight by up to 128 steps.
_FAR_STEPS, _FAR_SHARE = 8, 0.25
# A channel with so few levels on a side holds hardly more than the sign of its weights.
_FEW_LEVELS = 8
# Keeps the ratio of a layer that is all zeros finite.
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """A layer's weights in the file beside the source's.

    Attributes:
        sqnr_db: with every output channel counted alike, since normalisation makes all of them
            matter; None where nothing differs.
        per_channel_sqnr_db: what rounding to int8 with a scale a channel gives.
        granularity: "per-channel", "per-tensor" or "float".
        coarse_channels: share of output channels whose weights reach less than 8 levels.
        far: how many weights are more than 8 steps and a quarter of their size from the source's.
            Steps of a float layer are those that int8 would have.
    """

    sqnr_db: float | None
    per_channel_sqnr_db: float | None
    granularity: str
    coarse_channels: float = 0.0
    far: int = 0


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What one layer does to its values. Ratios in decibels are None where nothing differs.

    Attributes:
        place: in the order of the network, from 0.
        kind: the operation's name in TFLite.
        local_sqnr_db: of the layer alone, quantized, on the float network's inputs.
        accumulated_sqnr_db: of the layer's output in the real file; None where it cannot be seen.
        below_median_db: how far `local_sqnr_db` is below the median of all layers.
        error_over_step: root mean square of the local error over the step of the output's levels.
            Rounding alone gives 1/sqrt(12) = 0.289.
        saturated_low, saturated_high: share of the float values below and above all levels.
        range_use: share of the levels' range that the float values reach.
        bias_gain_db: what the file's bias gains over the source's for `accumulated_sqnr_db`.
        kernel_steps: root mean square, in steps, of the real output against exact arithmetic on
            the real inputs; None where it cannot be seen.
        weights: None for a layer without, or one that the file does not show.
    """

    name: str
    place: int
    kind: str
    local_sqnr_db: float | None
    accumulated_sqnr_db: float | None
    below_median_db: float | None
    error_over_step: float | None
    saturated_low: float | None
    saturated_high: float | None
    range_use: float | None
    bias_gain_db: float | None
    kernel_steps: float | None
    weights: WeightsReport | None


def report(simulation: Simulation) -> tuple[LayerReport, ...]:
    """All layers, the one with the lowest local SQNR first."""
    layers = simulation.outcome.layers
    ratios = {name: _ratio(sums.signal, sums.local_noise) for name, sums in layers.items()}
    finite = [ratio for ratio in ratios.values() if ratio is not None]
    middle = median(finite) if finite else 0.0
    reports = [
        _report(simulation, place, name, ratios[name], middle) for place, name in enumerate(layers)
    ]
    return tuple(sorted(reports, key=_worst_first))


def _report(
    simulation: Simulation, place: int, name: str, ratio: float | None, middle: float
) -> LayerReport:
    sums = simulation.outcome.layers[name]
    grid = sums.grid
    seen, kernel = sums.real_values > 0, sums.kernel_values > 0 and grid is not None
    return LayerReport(
        name=name,
        place=place,
        kind=sums.kind,
        local_sqnr_db=ratio,
        accumulated_sqnr_db=_ratio(sums.real_signal, sums.real_noise) if seen else None,
        below_median_db=middle - ratio if ratio is not None else None,
        error_over_step=math.sqrt(sums.local_steps / sums.values) if grid else None,
        saturated_low=sums.below / sums.values if grid else None,
        saturated_high=sums.above / sums.values if grid else None,
        range_use=_range_use(grid, sums) if grid else None,
        bias_gain_db=_ratio(sums.own_bias_noise, sums.real_noise) if sums.own_bias_noise else None,
        kernel_steps=math.sqrt(sums.kernel_steps / sums.kernel_values) if kernel else None,
        weights=_weights(simulation, name),
    )


def _ratio(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return 10 * math.log10(max(signal, _TINY) / noise)


def _worst_first(layer: LayerReport) -> float:
    return math.inf if layer.local_sqnr_db is None else layer.local_sqnr_db


def _range_use(grid: Grid, sums: LayerSums) -> float:
    covered = min(sums.greatest, grid.high) - max(sums.least, grid.low)
    return max(0.0, covered) / (grid.high - grid.low)


def _weights(simulation: Simulation, name: str) -> WeightsReport | None:
    import numpy as np

    step = simulation.step_of(name)
    found = simulation.anatomy.layers.get(name)
    if step.weights is None or found is None or name in simulation.unmatched:
        return None
    exact = simulation.alignment.expected(simulation.exact, simulation.names, step)
    alive = simulation.alive(step)
    if simulation.alignment.factors:
        alive *= _kept(found.weights, (step.channel_axis, step.input_axis))
    exact, axis = exact * alive, step.channel_axis
    found = replace(found, weights=found.weights * alive)
    ratio = _channel_sqnr(exact, found.weights, axis)
    best = _channel_sqnr(exact, round_weights(exact, axis), axis)
    if found.scales is None:
        reach = np.abs(exact).max(tuple(i for i in range(exact.ndim) if i != axis))
        found = replace(found, limit=127)
        _, far = _levels(exact, found, np.maximum(reach / 127, _TINY), axis)
        return WeightsReport(ratio, best, "float", 0.0, far)
    granularity = "per-channel" if found.per_channel else "per-tensor"
    return WeightsReport(ratio, best, granularity, *_levels(exact, found, found.scales, axis))


def _kept(weights: NDArray[np.float32], axes: tuple[int, int]) -> NDArray[np.float32]:
    """1 for weights of channels that hold anything, 0 for others; in the weights' shape.

    Equalization takes the weights of channels away that no calibration image made use of.
    """
    import numpy as np

    kept = np.ones_like(weights)
    for axis in axes:
        others = tuple(i for i in range(weights.ndim) if i != axis)
        kept *= along(np.any(weights, others).astype(np.float32), axis, weights.ndim)
    return kept


def _channel_sqnr(exact: NDArray[np.float32], got: NDArray[np.float32], axis: int) -> float | None:
    """Signal over noise of the channels along an axis, each scaled to the same power."""
    import numpy as np

    others = tuple(i for i in range(exact.ndim) if i != axis)
    power = np.square(exact, dtype=np.float64).sum(others)
    noise = np.square(got.astype(np.float64) - exact).sum(others)
    ratios = noise[power > 0] / power[power > 0]
    return _ratio(1.0, float(ratios.mean())) if len(ratios) else None


def _levels(
    exact: NDArray[np.float32], found: LayerConstants, scales: NDArray[np.float32], axis: int
) -> tuple[float, int]:
    """The share of coarse channels, and how many weights are far from where they should be."""
    import numpy as np

    shape = [1] * exact.ndim
    if len(scales) > 1:
        shape[axis] = -1
    steps = scales.reshape(shape)
    held = np.clip(exact / steps, -found.limit, found.limit)
    far = np.abs(found.weights / steps - held) > _FAR_STEPS + _FAR_SHARE * np.abs(held)
    others = tuple(i for i in range(exact.ndim) if i != axis)
    reach = np.abs(exact / steps).max(others)
    coarse = (reach > 0) & (reach < _FEW_LEVELS)
    return float(coarse.sum() / max(1, (reach > 0).sum())), int(far.sum())
