"""Sequential bias correction: give each layer back the mean that quantization took from it.

Quantized weights and activations shift the mean of a layer's output, channel by channel, and the
shifts add up through the network. The empirical variant of Nagel et al., Data-Free Quantization
Through Weight Equalization and Bias Correction, 2019, https://arxiv.org/abs/1906.04721, section
4.2 and appendix D:

    1. Run the images through the float network.
    2. Layer by layer, run them through the quantized network, on the inputs that it itself
       produces, so that a layer also corrects the shifts of the layers before it.
    3. Add the difference of the mean outputs of each channel to the layer's bias.

Ours: positions where the float activation clips are left out of step 3. The next layer sees the
bound of the activation there, for any bias.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgezoo.calibration.gptq import quantize_weights
from edgezoo.core.arrays import Floats
from edgezoo.core.recipe import Ranges, Recipe
from edgezoo.core.rounding import fake_quantize, round_weights
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork, Values

# Fewer unclipped values are too few to estimate a channel's mean.
_LEAST_VALUES = 16

Scales = dict[str, list[float]]


def correct_layers(
    path: Path, inputs: Floats, ranges: Ranges, recipe: Recipe
) -> tuple[int, Scales]:
    """Correct the biases of a float TFLite network in place, for 8-bit weights and activations.

    Args:
        path, inputs: the float network, and what enters it, shape (n, size, size, 3).
        ranges: of the activations of the float network.
        recipe: how the quantizer rounds weights, and which layers stay in float.

    Returns:
        How many layers were corrected, and the scales of weights that are on their grid already,
        by layer: they no longer follow from the largest weight.
    """
    network, scales, corrected = StepwiseNetwork(path), Scales(), 0
    exact, rounded = {network.input: inputs}, {network.input: inputs}
    in_float = network.float_parts()
    for step in network.steps:
        exact |= network.run_all(step, exact)  # step 1
        results = _run_quantized(network, step, exact[step.output], rounded, recipe, scales)
        corrected += step.bias is not None
        for tensor, values in results.items():
            quantized = step.index not in in_float and network.is_float(tensor)
            name = network.name(tensor)
            rounded[tensor] = fake_quantize(values, *ranges[name]) if quantized else values
        network.forget(step, exact, rounded)
    tflite_flatbuffer.write_model(network.model, path)
    return corrected, scales


def _run_quantized(
    network: StepwiseNetwork, step: Step, exact: Floats, got: Values, recipe: Recipe, scales: Scales
) -> Values:
    """Run one layer of the quantized network, its bias corrected first where it has one."""
    if step.weights is None:
        return network.run_all(step, got)
    weights = _quantized_weights(network, step, got, recipe, scales)
    if step.bias is None:
        return {step.output: network.run(step, got, weights)}
    low, high = network.activation(step)
    linear = network.run(step, got, weights, linear=True)  # step 2
    shift = mean_shift(exact, linear, low, high)  # step 3
    network.set_constant(step.bias, network.constant(step.bias) + shift)
    linear += shift
    return {step.output: np.clip(linear, low, high, out=linear)}


def _quantized_weights(
    network: StepwiseNetwork, step: Step, values: Values, recipe: Recipe, scales: Scales
) -> Floats:
    """Return a layer's weights as the quantizer will have them; write those that GPTQ chose."""
    assert step.weights is not None
    weights = network.constant(step.weights)
    name = network.name(step.output)
    if name in recipe.float_layers:
        return weights
    chosen = quantize_weights(network, step, values[step.computed_inputs[0]], recipe)
    if chosen is None:
        return round_weights(weights, step.channel_axis, recipe.grid, recipe.granularity)
    network.set_constant(step.weights, chosen[0])
    scales[name] = chosen[1].tolist()
    return chosen[0]


def mean_shift(exact: Floats, linear: Floats, low: float, high: float) -> Floats:
    """Mean of exact minus linear per channel (the last axis), where exact does not clip."""
    axes = tuple(range(exact.ndim - 1))
    free = (exact > low) & (exact < high)
    count = free.sum(axes)
    total = np.where(free, exact - linear, 0).sum(axes, dtype=np.float64)
    shift = total / np.maximum(count, 1)
    return np.where(count >= _LEAST_VALUES, shift, 0).astype(np.float32)
