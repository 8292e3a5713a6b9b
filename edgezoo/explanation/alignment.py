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

from edgezoo.core.anatomy import Anatomy, Grid
from edgezoo.core.arrays import Floats
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
# The axis of the weights that counts input channels.


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
    factors: dict[str, Floats] = field(default_factory=dict)

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

    def expected(self, network: StepwiseNetwork, names: list[str], step: Step) -> Floats:
        """Return the float weights of a layer as the file would have them without rounding."""
        assert step.weights is not None
        exact: Floats = network.constant(step.weights)
        exact *= self._ratio(names, step, network)
        return exact

    def as_float(
        self, network: StepwiseNetwork, names: list[str], step: Step, weights: Floats
    ) -> Floats:
        """Convert a layer's weights of the file to the float network's scale."""
        return np.asarray(weights / self._ratio(names, step, network), np.float32)

    def _ratio(self, names: list[str], step: Step, network: StepwiseNetwork) -> Floats | float:
        """Return the file's weights over the float ones, in a shape that broadcasts."""
        assert step.weights is not None
        rank = len(network.graph.tensors[step.weights].shape)
        ratio: Floats | float = 1.0
        if names[step.output] in self.factors:
            ratio = along(self.factors[names[step.output]], step.channel_axis, rank)
        before = names[step.computed_inputs[0]]
        if before in self.factors:
            ratio = np.asarray(ratio / along(self.factors[before], step.input_axis, rank))
        return ratio


def align(
    network: StepwiseNetwork, names: list[str], anatomy: Anatomy
) -> tuple[Anatomy, Alignment]:
    """Find equivalent transformations between a file and the float network.

    Args:
        network: the float network.
        names: of its tensors.
        anatomy: of the file.

    Returns:
        The anatomy with channel order and gain of the first layer undone, and the alignment.
    """
    first = next(step for step in network.steps if step.weights is not None)
    name = names[first.output]
    layer = anatomy.layers.get(name)
    exact = network.constant(first.weights) if first.weights is not None else None
    if layer is None or exact is None or layer.weights.shape != exact.shape:
        return anatomy, Alignment(factors=_factors(network, names, anatomy))
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
        anatomy = replace(anatomy, layers={**anatomy.layers, name: layer})
    return anatomy, Alignment(swapped, gain, _factors(network, names, anatomy))


def _factors(network: StepwiseNetwork, names: list[str], anatomy: Anatomy) -> dict[str, Floats]:
    """Return the factors of all tensors that have any.

    In three passes: rounded weights give factors with an error that grows from layer to layer;
    float layers give exact ones for the tensors around them; with these, the other layers again.
    """
    found = _forward(network, names, anatomy, {})
    exact = _of_float_layers(network, names, anatomy, found) if found else {}
    return _forward(network, names, anatomy, exact) if exact else found


def _forward(
    network: StepwiseNetwork, names: list[str], anatomy: Anatomy, known: dict[str, Floats]
) -> dict[str, Floats]:
    """Estimate factors layer by layer; operations that move or pool values pass them on."""
    found: dict[str, Floats] = {}
    for step in network.steps:
        name, before = names[step.output], names[step.computed_inputs[0]]
        if name in known:
            found[name] = known[name]
            continue
        if step.weights is None:
            shape = network.graph.tensors[step.output].shape
            passes = len(step.computed_inputs) == 1 and before in found
            if passes and int(shape[-1]) == len(found[before]):
                found[name] = found[before]
            continue
        layer = anatomy.layers.get(name)
        exact = network.constant(step.weights)
        if layer is None or layer.weights.shape != exact.shape:
            continue
        expected = Alignment(factors=found).expected(network, names, step)
        axis = step.channel_axis
        steps = 0.0 if layer.scales is None else layer.scales
        factors = _channel_factors(_rows(expected, axis), _rows(layer.weights, axis), steps)
        if (factors != 1).any():
            found[name] = factors
    return found


def _of_float_layers(
    network: StepwiseNetwork, names: list[str], anatomy: Anatomy, found: dict[str, Floats]
) -> dict[str, Floats]:
    """Improve the factors around float layers, whose weights are not rounded."""
    exact: dict[str, Floats] = {}
    for step in reversed(network.steps):
        name, layer = names[step.output], anatomy.layers.get(names[step.output])
        before = _producer(network, step)
        if step.weights is None or layer is None or layer.scales is not None or before is None:
            continue
        wanted, source = network.constant(step.weights), names[before.output]
        axes = step.channel_axis, step.input_axis
        width = int(network.graph.tensors[before.output].shape[-1])
        if layer.weights.shape != wanted.shape or wanted.shape[axes[1]] != width:
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
    rows, units = _rows(many, axis), _rows(one, axis)
    power = np.square(units, dtype=np.float64).sum(1)
    product = (rows * units).sum(1, dtype=np.float64)
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


def _rows(weights: Floats, axis: int) -> Floats:
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def along(values: Floats, axis: int, rank: int) -> Floats:
    """Reshape a vector so that it broadcasts along one axis of `rank`."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _fit(exact: Floats, got: Floats) -> tuple[float, float]:
    """Fit got = gain * exact; return the gain and the SQNR of the fit in decibels."""
    power = float(np.square(exact, dtype=np.float64).sum())
    gain = float((got * exact).sum(dtype=np.float64)) / power if power else 1.0
    return gain, sqnr_db(exact * np.float32(gain), got)
