"""Brings a file into the terms of the float network, where it says the same in other words.

Three things may differ without being an error, or being one of another kind than it seems:

- The first layer may hold its channels in another order, or weights of another size. That is
  moved to the input, so that pixels as the network effectively sees them can be compared.
- Neighbouring layers may have shared out the sizes of their channels (cross-layer equalization,
  Nagel et al. 2019, https://arxiv.org/abs/1906.04721): a channel has f times the float values,
  and the next layer's weights make up for it. The factors are found in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgezoo.core.anatomy import Anatomy, Grid
from edgezoo.evaluation.agreement import sqnr_db
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Other channels or other sizes must explain the weights by this much to be believed.
_CLEARLY_DB = 10.0
# Rounding to 8 bits moves the size of a kernel by less than a percent, of a coarse channel by a
# few.
_SAME_SIZE = 0.05
_SAME_CHANNEL = 0.1
# So many channels of a layer must have another size; one alone is an error.
_EQUALIZED = 0.2
# Rounds of a fit of two unknowns by turns; float weights are met to 100 dB in a few.
_ROUNDS = 30
# The axis of the weights that counts input channels.


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a file says the same as the float network in other words.

    Attributes:
        reversed: its first layer holds the input channels in reversed order.
        gain: the first layer's weights are that many times the float ones.
        factors: of each channel of a tensor, by name: the file's values are so many times the
            float network's. Tensors that are not named have the same values.
    """

    reversed: bool = False
    gain: float = 1.0
    factors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def entered(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the float network would have to be given to see the same: (n, h, w, 3)."""
        import numpy as np

        seen = values[..., ::-1] if self.reversed else values
        return np.ascontiguousarray(seen * np.float32(self.gain))

    def real(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of a tensor of the file in the size of the float network's."""
        return values / self.factors[name] if name in self.factors else values

    def grid(self, name: str, grid: Grid) -> Grid:
        """Levels of a tensor of the file in the size of the float network's."""
        if name not in self.factors:
            return grid
        return replace(grid, scale=grid.scale / self.factors[name])

    def expected(
        self, network: StepwiseNetwork, names: list[str], step: Step
    ) -> NDArray[np.float32]:
        """The float weights of a layer as the file would hold them without rounding."""
        assert step.weights is not None
        exact: NDArray[np.float32] = network.constant(step.weights)
        exact *= self._ratio(names, step, network)
        return exact

    def as_float(
        self, network: StepwiseNetwork, names: list[str], step: Step, weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """A layer's weights of the file in the sizes of the float network."""
        import numpy as np

        return np.asarray(weights / self._ratio(names, step, network), np.float32)

    def _ratio(
        self, names: list[str], step: Step, network: StepwiseNetwork
    ) -> NDArray[np.float32] | float:
        """The file's weights over the float ones, in a shape that broadcasts."""
        import numpy as np

        assert step.weights is not None
        rank = len(network.graph.tensors[step.weights].shape)
        ratio: NDArray[np.float32] | float = 1.0
        if names[step.output] in self.factors:
            ratio = along(self.factors[names[step.output]], step.channel_axis, rank)
        before = names[step.computed_inputs[0]]
        if before in self.factors:
            ratio = np.asarray(ratio / along(self.factors[before], step.input_axis, rank))
        return ratio


def align(
    network: StepwiseNetwork, names: list[str], anatomy: Anatomy
) -> tuple[Anatomy, Alignment]:
    """Find out how a file differs from the float network without being wrong.

    Args:
        network: the float network.
        names: of its tensors.
        anatomy: of the file.

    Returns:
        The anatomy with the first layer's order of channels and size put right, and what was
        found.
    """
    import numpy as np

    first = next(step for step in network.steps if step.weights is not None)
    name = names[first.output]
    layer = anatomy.layers.get(name)
    exact = network.constant(first.weights) if first.weights is not None else None
    if layer is None or exact is None or layer.weights.shape != exact.shape:
        return anatomy, Alignment(factors=_factors(network, names, anatomy))
    straight, turned = layer.weights, np.ascontiguousarray(layer.weights[..., ::-1])
    swapped = _fit(exact, turned)[1] > _fit(exact, straight)[1] + _CLEARLY_DB
    weights = turned if swapped else straight
    gain, ratio = _fit(exact, weights)
    if abs(gain - 1) < _SAME_SIZE or ratio < _CLEARLY_DB:
        gain = 1.0
    if swapped or gain != 1.0:
        size = np.float32(gain)
        scales = None if layer.scales is None else layer.scales / size
        layer = replace(layer, weights=weights / size, scales=scales)
        anatomy = replace(anatomy, layers={**anatomy.layers, name: layer})
    return anatomy, Alignment(swapped, gain, _factors(network, names, anatomy))


def _factors(
    network: StepwiseNetwork, names: list[str], anatomy: Anatomy
) -> dict[str, NDArray[np.float32]]:
    """Channels' factors of all tensors that have any."""
    found = _forward(network, names, anatomy, {})
    exact = _of_float_layers(network, names, anatomy, found) if found else {}
    return _forward(network, names, anatomy, exact) if exact else found


def _forward(
    network: StepwiseNetwork,
    names: list[str],
    anatomy: Anatomy,
    told: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """Channels' factors, layer by layer; what moves or pools values passes them on.

    Args:
        network, names, anatomy: see `align`.
        told: factors of some tensors that are known already.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for step in network.steps:
        name, before = names[step.output], names[step.computed_inputs[0]]
        if name in told:
            found[name] = told[name]
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
        known = Alignment(factors=found)
        expected, axis = known.expected(network, names, step), step.channel_axis
        steps = 0.0 if layer.scales is None else layer.scales
        factors = _channel_factors(_rows(expected, axis), _rows(layer.weights, axis), steps)
        if (factors != 1).any():
            found[name] = factors
    return found


def _of_float_layers(
    network: StepwiseNetwork,
    names: list[str],
    anatomy: Anatomy,
    found: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """Factors of what float layers read and give: their weights hold both without rounding.

    Args:
        network, names, anatomy: see `align`.
        found: factors as far as all layers' own rounded weights tell them.
    """
    import numpy as np

    exact: dict[str, NDArray[np.float32]] = {}
    for step in reversed(network.steps):
        name, layer = names[step.output], anatomy.layers.get(names[step.output])
        before = _maker(network, step)
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


def _maker(network: StepwiseNetwork, step: Step) -> Step | None:
    """The layer whose channels a layer reads, also through what passes them on."""
    makers = {other.output: other for other in network.steps}
    maker = makers.get(step.computed_inputs[0])
    while maker is not None and maker.weights is None:
        maker = makers.get(maker.computed_inputs[0]) if len(maker.computed_inputs) == 1 else None
    return maker


def _two_sided(
    wanted: NDArray[np.float32],
    got: NDArray[np.float32],
    axes: tuple[int, int],
    given: NDArray[np.float32],
    taken: NDArray[np.float32],
    fixed: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Fit got = wanted * given / taken by turns; None where that does not explain the weights.

    Args:
        wanted, got: weights of the float network and of the file.
        axes: that count the output's and the input's channels.
        given, taken: factors of output and input to start from. Their common size, which the
            weights do not tell, stays that of `taken`.
        fixed: `given` is known already; so it is for a depthwise layer, which tells the quotient
            alone.
    """
    import numpy as np

    rank, (out, into) = wanted.ndim, axes
    fixed = fixed or out == into
    outer, before = given, taken
    for _ in range(1 if fixed else _ROUNDS):
        before = _sizes(wanted * along(outer, out, rank), got, into, before)
        if not fixed:
            before *= np.exp(np.mean(np.log(taken / before)))
            outer = _sizes(got, wanted / along(before, into, rank), out, outer)
    explained = wanted * along(outer, out, rank) / along(before, into, rank)
    if sqnr_db(explained, got) < _CLEARLY_DB:
        return None
    return outer, before


def _sizes(
    many: NDArray[np.float32], one: NDArray[np.float32], axis: int, otherwise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How many times `one` is `many`, by channels of an axis; `otherwise` where nothing tells."""
    import numpy as np

    rows, units = _rows(many, axis), _rows(one, axis)
    power = np.square(units, dtype=np.float64).sum(1)
    product = (rows * units).sum(1, dtype=np.float64)
    clear = (power > 0) & (product > 0)
    found = np.where(clear, product, otherwise) / np.where(clear, power, 1)
    return found.astype(np.float32)


def _channel_factors(
    wanted: NDArray[np.float32], found: NDArray[np.float32], steps: NDArray[np.float32] | float
) -> NDArray[np.float32]:
    """The size of each channel's weights over the expected ones; 1 for all where none is clear.

    Args:
        wanted, found: a row an output channel.
        steps: of the levels, one or one a channel. A size that rounding each weight by half a
            step could give is none: coarse channels have such sizes.
    """
    import numpy as np

    power = np.maximum(np.square(wanted, dtype=np.float64).sum(1), 1e-30)
    sizes = (found * wanted).sum(1, dtype=np.float64) / power
    left = np.square(found - sizes[:, None] * wanted).sum(1)
    rounding = np.asarray(steps) / 2 * np.abs(wanted).sum(1) / power
    clear = (sizes > 0) & (np.square(sizes) * power > left * 10 ** (_CLEARLY_DB / 10))
    other = np.abs(sizes - 1) > np.maximum(_SAME_CHANNEL, rounding)
    if (other & clear).sum() < _EQUALIZED * clear.sum():
        return np.ones(len(sizes), np.float32)
    return np.where(clear, sizes, 1).astype(np.float32)


def _rows(weights: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    import numpy as np

    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def along(values: NDArray[np.float32], axis: int, rank: int) -> NDArray[np.float32]:
    """A vector in a shape that broadcasts along one axis of `rank`."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _fit(exact: NDArray[np.float32], got: NDArray[np.float32]) -> tuple[float, float]:
    """The size of `got` over `exact`, and the SQNR in decibels with it taken out."""
    import numpy as np

    power = float(np.square(exact, dtype=np.float64).sum())
    gain = float((got * exact).sum(dtype=np.float64)) / power if power else 1.0
    return gain, sqnr_db(exact * np.float32(gain), got)
