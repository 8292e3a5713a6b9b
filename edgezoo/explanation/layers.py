"""Figures of each layer, worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Literal

import numpy as np

from edgezoo.core.anatomy import Grid, LayerConstants
from edgezoo.core.arrays import Floats, along, other_axes
from edgezoo.core.rounding import round_weights
from edgezoo.core.typed_json import Count, Range, Share
from edgezoo.explanation.simulation import Simulation
from edgezoo.explanation.sums import LayerSums

# Rounding to nearest moves a weight by at most half a step; GPTQ, which compensates for the errors
# of other weights, by a few steps; and the factor of an equalized channel is only estimated. A
# flipped bit moves a weight by up to 128 steps.
_FAR_STEPS, _FAR_SHARE = 8, 0.25
# A channel whose weights reach fewer quantized values keeps little more than their signs.
_FEW_LEVELS = 8
Granularity = Literal["per-channel", "per-tensor", "float"]
Size = Annotated[float, Range(0)]
_TINY = 1e-30  # keeps the ratio of a layer of zeros finite


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """A layer's weights in the file, compared with the source's.

    Attributes:
        sqnr_db: with equal weight for each output channel, since batch norms rescale channels;
            null if nothing differs.
        per_channel_sqnr_db: of rounding to int8 with a scale per channel.
        coarse_channels: share of output channels whose weights reach fewer than 8 quantized values.
        far: number of weights more than 8 steps and a quarter of their size from the source's; for
            a float layer, steps that int8 would have.
    """

    sqnr_db: float | None
    per_channel_sqnr_db: float | None
    granularity: Granularity
    coarse_channels: Share = 0.0
    far: Count = 0


@dataclass(frozen=True, slots=True)
class LayerReport:
    """Errors of one layer. Ratios in decibels are null if nothing differs.

    Attributes:
        place: in the order of the network, from 0.
        kind: the operation's name in TFLite.
        local_sqnr_db: of the layer alone, quantized, on the float network's inputs.
        accumulated_sqnr_db: of the layer's output in the real file; null if it is not visible.
        below_median_db: local_sqnr_db below the median of all layers.
        error_over_step: root mean square of the local error over the step of the output's quantized
            values; rounding alone gives 1/sqrt(12) = 0.289.
        saturated_low, saturated_high: share of the float values outside the quantized range.
        range_use: share of the quantized range that the float values reach.
        bias_gain_db: gain of accumulated_sqnr_db by the file's bias over the source's.
        kernel_steps: root mean square, in steps, of the real output against exact arithmetic on
            the real inputs; null if it is not visible.
        weights: null for a layer without weights, or one that is not in the file.
    """

    name: str
    place: Count
    kind: str
    local_sqnr_db: float | None
    accumulated_sqnr_db: float | None
    below_median_db: float | None
    error_over_step: Size | None
    saturated_low: Share | None
    saturated_high: Share | None
    range_use: Share | None
    bias_gain_db: float | None
    kernel_steps: Size | None
    weights: WeightsReport | None

    @property
    def saturated(self) -> float | None:
        """Share of the float values outside the quantized range."""
        if self.saturated_low is None or self.saturated_high is None:
            return None
        return self.saturated_low + self.saturated_high


def report(simulation: Simulation) -> tuple[LayerReport, ...]:
    """Report all layers, lowest local SQNR first."""
    layers = simulation.outcome.layers
    ratios = [_ratio(sums.signal, sums.local_noise) for sums in layers.values()]
    finite = [ratio for ratio in ratios if ratio is not None]
    middle = median(finite) if finite else 0.0
    reports = [_report(simulation, i, name, middle) for i, name in enumerate(layers)]
    return tuple(sorted(reports, key=_worst_first))


def _report(simulation: Simulation, place: int, name: str, middle: float) -> LayerReport:
    sums = simulation.outcome.layers[name]
    ratio = _ratio(sums.signal, sums.local_noise)
    grid, seen, corrected = sums.grid, sums.real_values > 0, sums.source_bias_noise != 0
    kernel = sums.kernel_values > 0 and grid is not None
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
        bias_gain_db=_ratio(sums.source_bias_noise, sums.real_noise) if corrected else None,
        kernel_steps=math.sqrt(sums.kernel_steps / sums.kernel_values) if kernel else None,
        weights=_weights(simulation, name),
    )


def _ratio(signal: float, noise: float) -> float | None:
    return None if noise == 0 else 10 * math.log10(max(signal, _TINY) / noise)


def _worst_first(layer: LayerReport) -> float:
    return math.inf if layer.local_sqnr_db is None else layer.local_sqnr_db


def _range_use(grid: Grid, sums: LayerSums) -> float:
    covered = min(sums.greatest, grid.high) - max(sums.least, grid.low)
    return max(0.0, covered) / (grid.high - grid.low)


def _weights(simulation: Simulation, name: str) -> WeightsReport | None:
    step = simulation.step_of(name)
    found = simulation.anatomy.layers.get(name)
    if step.weights is None or found is None or name in simulation.unmatched:
        return None
    exact = simulation.alignment.expected(simulation.exact, step)
    alive = simulation.alive(step)
    if simulation.alignment.factors:
        alive *= _used(found.weights, (step.channel_axis, step.input_axis))
    exact, axis = exact * alive, step.channel_axis
    found = replace(found, weights=found.weights * alive)
    ratio = _channel_sqnr(exact, found.weights, axis)
    best = _channel_sqnr(exact, round_weights(exact, axis), axis)
    if found.scales is None:
        reach = np.abs(exact).max(other_axes(exact, axis))
        found = replace(found, limit=127)
        _, far = _levels(exact, found, np.maximum(reach / 127, _TINY), axis)
        return WeightsReport(ratio, best, "float", 0.0, far)
    coarse, far = _levels(exact, found, found.scales, axis)
    granularity: Granularity = "per-channel" if found.per_channel else "per-tensor"
    return WeightsReport(ratio, best, granularity, coarse, far)


def _used(weights: Floats, axes: tuple[int, int]) -> Floats:
    """Return 1 for weights of channels that are not all zero, else 0; in the weights' shape.

    Equalization sets the weights of channels to zero that no calibration image used.
    """
    used = np.ones_like(weights)
    for axis in axes:
        live = np.any(weights, other_axes(weights, axis))
        used *= along(live.astype(np.float32), axis, weights.ndim)
    return used


def _channel_sqnr(exact: Floats, got: Floats, axis: int) -> float | None:
    """Return signal over noise of the channels along an axis, each scaled to the same power."""
    others = other_axes(exact, axis)
    power = np.square(exact, dtype=np.float64).sum(others)
    noise = np.square(got.astype(np.float64) - exact).sum(others)
    ratios = noise[power > 0] / power[power > 0]
    return _ratio(1.0, float(ratios.mean())) if len(ratios) else None


def _levels(exact: Floats, found: LayerConstants, scales: Floats, axis: int) -> tuple[float, int]:
    """Return the share of coarse channels, and the number of weights far from their value."""
    steps = along(scales, axis, exact.ndim)  # one scale of a whole tensor broadcasts too
    # Weights that clip at the largest quantized value are not far from where they should be.
    held = np.clip(exact / steps, -found.limit, found.limit)
    far = np.abs(found.weights / steps - held) > _FAR_STEPS + _FAR_SHARE * np.abs(held)
    reach = np.abs(exact / steps).max(other_axes(exact, axis))
    coarse = (reach > 0) & (reach < _FEW_LEVELS)
    return float(coarse.sum() / max(1, (reach > 0).sum())), int(far.sum())
