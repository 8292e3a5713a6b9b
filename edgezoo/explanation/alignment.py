"""Aligns a file with the float network: finds differences that are equivalent transformations.

- The first layer may have its channels in another order, or scaled weights. Both are moved to the
  input, so the effective pixels can be compared.
- Cross-layer equalization (Nagel et al. 2019, section 4.1, https://arxiv.org/abs/1906.04721)
  scales channels: a channel has f times the float values, and the next layer's weights are
  divided by f. The factors are estimated from the weights.

Without the alignment such a layer would look corrupt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgezoo.core.anatomy import Anatomy, Grid, LayerConstants
from edgezoo.core.arrays import Floats, along, rows
from edgezoo.evaluation.agreement import sqnr_db
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

# SQNR that another order or factor must reach, or gain, to be accepted.
_CLEARLY_DB = 10.0
# Rounding to 8 bits changes the norm of a kernel by less than 1 %, of a coarse channel by a few %.
_SAME_SIZE = 0.05
_SAME_CHANNEL = 0.1
# Share of a layer's channels that must have a factor; a single one is an error.
_EQUALIZED = 0.2
# Rounds of the alternating least squares; float weights are fitted to 100 dB in a few.
_ROUNDS = 30
Factors = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a file differs from the float network by an equivalent transformation.

    Attributes:
        reversed: the input channels of the first layer are in reversed order.
        gain: the first layer's weights over the float ones.
        factors: per channel, the file's values over the float network's, by tensor name; tensors
            without an entry have the same values.
    """

    reversed: bool = False
    gain: float = 1.0
    factors: Factors = field(default_factory=dict)

    def entered(self, values: Floats) -> Floats:
        """Convert the input of the file's first layer for the float network: (n, h, w, 3)."""
        ordered = values[..., ::-1] if self.reversed else values
        return np.ascontiguousarray(ordered * np.float32(self.gain))

    def real(self, name: str, values: Floats) -> Floats:
        """Convert values of a tensor of the file to the float network's scale."""
        return values / self.factors[name] if name in self.factors else values

    def grid(self, name: str, grid: Grid) -> Grid:
        """Convert the grid of a tensor of the file to the float network's scale."""
        if name not in self.factors:
            return grid
        return replace(grid, scale=grid.scale / self.factors[name])

    def expected(self, network: StepwiseNetwork, step: Step) -> Floats:
        """Return the float weights of a layer as the file would have them without rounding."""
        exact = network.weights(step)
        exact *= self._ratio(network, step)
        return exact

    def as_float(self, network: StepwiseNetwork, step: Step, weights: Floats) -> Floats:
        """Convert a layer's weights of the file to the float network's scale."""
        return np.asarray(weights / self._ratio(network, step), np.float32)

    def _ratio(self, network: StepwiseNetwork, step: Step) -> Floats | float:
        """Return the file's weights over the float ones, in a shape that broadcasts."""
        rank = len(network.graph.tensors[step.weights].shape)
        ratio: Floats | float = 1.0
        after, before = network.name(step.output), network.name(step.computed_inputs[0])
        if after in self.factors:
            ratio = along(self.factors[after], step.channel_axis, rank)
        if before in self.factors:
            ratio = np.asarray(ratio / along(self.factors[before], step.input_axis, rank))
        return ratio


def align(network: StepwiseNetwork, anatomy: Anatomy) -> tuple[Anatomy, Alignment]:
    """Find equivalent transformations between a file, of this anatomy, and the float network.

    Returns:
        The anatomy with channel order and gain of the first layer undone, and the alignment.
    """
    first = network.layers[0]
    layer = counterpart(network, first, anatomy)
    if layer is None:
        return anatomy, Alignment(factors=_factors(network, anatomy))
    exact = network.weights(first)
    straight, flipped = layer.weights, np.ascontiguousarray(layer.weights[..., ::-1])
    swapped = _fit(exact, flipped)[1] > _fit(exact, straight)[1] + _CLEARLY_DB
    weights = flipped if swapped else straight
    gain, ratio = _fit(exact, weights)
    if abs(gain - 1) < _SAME_SIZE or ratio < _CLEARLY_DB:
        gain = 1.0
    if swapped or gain != 1.0:
        size = np.float32(gain)
        scales = None if layer.scales is None else layer.scales / size
        layer = replace(layer, weights=weights / size, scales=scales)
        layers = {**anatomy.layers, network.name(first.output): layer}
        anatomy = replace(anatomy, layers=layers)
    return anatomy, Alignment(swapped, gain, _factors(network, anatomy))


def counterpart(network: StepwiseNetwork, step: Step, anatomy: Anatomy) -> LayerConstants | None:
    """Return the file's constants of a layer; None if it has none, or in another shape."""
    layer = anatomy.layers.get(network.name(step.output))
    shape = tuple(network.graph.tensors[step.weights].shape)
    return layer if layer is not None and layer.weights.shape == shape else None


def _factors(network: StepwiseNetwork, anatomy: Anatomy) -> Factors:
    """Return the factors of all tensors that have any.

    In three passes: rounded weights give factors with an error that grows from layer to layer;
    float layers give exact ones for the tensors around them; with these, the other layers again.
    """
    found = _forward(network, anatomy, {})
    exact = _of_float_layers(network, anatomy, found) if found else {}
    return _forward(network, anatomy, exact) if exact else found


def _forward(network: StepwiseNetwork, anatomy: Anatomy, known: Factors) -> Factors:
    """Estimate factors layer by layer; operations that move or pool values pass them on."""
    found: Factors = {}
    for step in network.steps:
        name, before = network.name(step.output), network.name(step.computed_inputs[0])
        if name in known:
            found[name] = known[name]
        elif step.weights is None:
            passes = len(step.computed_inputs) == 1 and before in found
            if passes and network.shape(step.output)[-1] == len(found[before]):
                found[name] = found[before]
        elif (layer := counterpart(network, step, anatomy)) is not None:
            expected = Alignment(factors=found).expected(network, step)
            axis = step.channel_axis
            steps = 0.0 if layer.scales is None else layer.scales
            factors = _channel_factors(rows(expected, axis), rows(layer.weights, axis), steps)
            if (factors != 1).any():
                found[name] = factors
    return found


def _of_float_layers(network: StepwiseNetwork, anatomy: Anatomy, found: Factors) -> Factors:
    """Improve the factors around float layers, whose weights are not rounded."""
    exact: Factors = {}
    for step in reversed(network.layers):
        layer, before = counterpart(network, step, anatomy), _producer(network, step)
        if layer is None or layer.scales is not None or before is None:
            continue
        wanted, axes = network.weights(step), (step.channel_axis, step.input_axis)
        name, source = network.name(step.output), network.name(before.output)
        width = network.shape(before.output)[-1]
        if wanted.shape[axes[1]] != width:
            continue
        start = exact.get(name, found.get(name, np.ones(wanted.shape[axes[0]], np.float32)))
        taken = found.get(source, np.ones(width, np.float32))
        fit = _two_sided(wanted, layer.weights, axes, start, taken, name in exact)
        if fit is not None:
            exact[name], exact[source] = fit
    return exact


def _producer(network: StepwiseNetwork, step: Step) -> Step | None:
    """Return the weighted layer whose channels a layer reads, directly or passed on."""
    producers = {other.output: other for other in network.steps}
    found = producers.get(step.computed_inputs[0])
    while found is not None and found.weights is None:
        found = producers.get(found.computed_inputs[0]) if len(found.computed_inputs) == 1 else None
    return found


def _two_sided(
    wanted: Floats, got: Floats, axes: tuple[int, int], outer: Floats, before: Floats, fixed: bool
) -> tuple[Floats, Floats] | None:
    """Fit got = wanted * outer / before by alternating least squares; None if the fit is poor.

    Args:
        wanted, got: weights of the float network and of the file.
        axes: of the output's and the input's channels.
        outer, before: initial factors of output and input. Only their quotient is determined by
            the weights; the geometric mean of `before` stays.
        fixed: `outer` is known.
    """
    rank, (out, into) = wanted.ndim, axes
    fixed = fixed or out == into  # a depthwise layer has one axis, so only the quotient
    initial = before
    for _ in range(1 if fixed else _ROUNDS):
        before = _sizes(wanted * along(outer, out, rank), got, into, before)
        if not fixed:
            before *= np.exp(np.mean(np.log(initial / before)))
            outer = _sizes(got, wanted / along(before, into, rank), out, outer)
    explained = wanted * along(outer, out, rank) / along(before, into, rank)
    if sqnr_db(explained, got) < _CLEARLY_DB:
        return None
    return outer, before


def _sizes(many: Floats, one: Floats, axis: int, otherwise: Floats) -> Floats:
    """Fit many = factor * one per channel of an axis; `otherwise` if that is not determined."""
    units = rows(one, axis)
    power = np.square(units, dtype=np.float64).sum(1)
    product = (rows(many, axis) * units).sum(1, dtype=np.float64)
    clear = (power > 0) & (product > 0)
    found = np.where(clear, product, otherwise) / np.where(clear, power, 1)
    return found.astype(np.float32)


def _channel_factors(wanted: Floats, found: Floats, steps: Floats | float) -> Floats:
    """Fit found = factor * wanted per output channel; 1 for all unless many have another factor.

    Both have one row per output channel. A factor that rounding by half of `steps` per weight may
    cause, as in coarse channels, does not count.
    """
    power = np.maximum(np.square(wanted, dtype=np.float64).sum(1), 1e-30)
    sizes = (found * wanted).sum(1, dtype=np.float64) / power
    left = np.square(found - sizes[:, None] * wanted).sum(1)
    rounding = np.asarray(steps) / 2 * np.abs(wanted).sum(1) / power
    clear = (sizes > 0) & (np.square(sizes) * power > left * 10 ** (_CLEARLY_DB / 10))
    other = np.abs(sizes - 1) > np.maximum(_SAME_CHANNEL, rounding)
    if (other & clear).sum() < _EQUALIZED * clear.sum():
        return np.ones(len(sizes), np.float32)
    return np.where(clear, sizes, 1).astype(np.float32)


def _fit(exact: Floats, got: Floats) -> tuple[float, float]:
    """Fit got = gain * exact; return the gain and the SQNR of the fit in decibels."""
    power = float(np.square(exact, dtype=np.float64).sum())
    gain = float((got * exact).sum(dtype=np.float64)) / power if power else 1.0
    return gain, sqnr_db(exact * np.float32(gain), got)
