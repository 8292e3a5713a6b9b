"""Sequential bias correction: give each layer back the mean that rounding took from it.

Rounded weights and activations shift the mean of a layer's output, channel by channel, and the
shifts add up through the network. Layer by layer, on the inputs that the quantized network
itself produces, the difference of the means goes into the bias. Positions where the float
activation clips are left out: what happens there is not seen by the next layer.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
2019, https://arxiv.org/abs/1906.04721, section 4.2 (empirical variant, their appendix D).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.calibration.gptq import choose_levels
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import fake_quantize, round_weights
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Fewer unclipped values than this say nothing about a channel's mean.
_LEAST_VALUES = 16

Values = dict[int, "NDArray[np.float32]"]
Scales = dict[str, list[float]]


def correct_layers(
    path: Path, inputs: NDArray[np.float32], ranges: dict[str, tuple[float, float]], recipe: Recipe
) -> tuple[int, Scales]:
    """Correct the biases of a float TFLite network in place, for 8-bit weights and activations.

    Args:
        path: the float network; rewritten.
        inputs: what enters it, shape (n, size, size, 3).
        ranges: minimum and maximum of each activation by tensor name, of the float network.
        recipe: how the quantizer rounds weights, and which layers it leaves in float.

    Returns:
        How many layers were corrected, and the scales of weights that stand on their grid
        already, by layer: no maximum of the weights tells them.
    """
    network = StepwiseNetwork(path)
    last = network.last_uses()
    exact: Values = {network.input: inputs}
    rounded: Values = {network.input: inputs}
    scales: Scales = {}
    corrected = 0
    for step in network.steps:
        exact[step.output] = network.run(step, exact)
        name = network.name(step.output)
        result = _run_rounded(network, step, exact[step.output], rounded, recipe, scales)
        corrected += step.bias is not None
        rounded[step.output] = fake_quantize(result, *ranges[name])
        for tensor in step.computed_inputs:
            if last[tensor] == step.index:
                exact.pop(tensor, None)
                rounded.pop(tensor, None)
    tflite_flatbuffer.write_model(network.model, path)
    return corrected, scales


def _run_rounded(
    network: StepwiseNetwork,
    step: Step,
    exact: NDArray[np.float32],
    values: Values,
    recipe: Recipe,
    scales: Scales,
) -> NDArray[np.float32]:
    """One layer of the quantized network, its bias corrected first where it has one."""
    import numpy as np

    if step.weights is None:
        return network.run(step, values)
    weights = _rounded_weights(network, step, values, recipe, scales)
    if step.bias is None:
        return network.run(step, values, weights)
    low, high = network.activation(step)
    linear = network.run(step, values, weights, linear=True)
    shift = mean_shift(exact, linear, low, high)
    network.set_constant(step.bias, network.constant(step.bias) + shift)
    linear += shift
    return np.clip(linear, low, high, out=linear)


def _rounded_weights(
    network: StepwiseNetwork, step: Step, values: Values, recipe: Recipe, scales: Scales
) -> NDArray[np.float32]:
    """A layer's weights as the quantizer will have them; chosen ones go into the network."""
    assert step.weights is not None
    weights: NDArray[np.float32] = network.constant(step.weights)
    name = network.name(step.output)
    if name in recipe.float_layers:
        return weights
    chosen = choose_levels(network, step, values[step.computed_inputs[0]], recipe)
    if chosen is not None:
        network.set_constant(step.weights, chosen[0])
        scales[name] = chosen[1].tolist()
        return chosen[0]
    return round_weights(weights, step.channel_axis, recipe.grid, recipe.granularity)


def mean_shift(
    exact: NDArray[np.float32], linear: NDArray[np.float32], low: float, high: float
) -> NDArray[np.float32]:
    """Mean of exact minus linear per channel (the last axis), where exact does not clip."""
    import numpy as np

    axes = tuple(range(exact.ndim - 1))
    free = (exact > low) & (exact < high)
    count = free.sum(axes)
    total = np.where(free, exact - linear, 0).sum(axes, dtype=np.float64)
    shift = total / np.maximum(count, 1)
    return np.where(count >= _LEAST_VALUES, shift, 0).astype(np.float32)
