"""Ranks layers by the noise at the logits when each is quantized alone.

Source: the one-layer-on analysis that quantization tools share, for instance Nagel et al., A White
Paper on Neural Network Quantization, 2021, https://arxiv.org/abs/2106.08295, section 3.6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgezoo.core.arrays import Floats
from edgezoo.core.recipe import Ranges, Recipe
from edgezoo.core.rounding import fake_quantize, round_weights
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork, Values

_IMAGES = 8
_BYTES = 2**30


def rank_layers(
    path: Path, inputs: Floats, ranges: Ranges, recipe: Recipe
) -> list[tuple[str, float]]:
    """Return layers with weights, the most harmful first, with their noise to signal ratio.

    Args:
        path, ranges: the float network, and the ranges of its activations.
        inputs: what enters it, shape (n, size, size, 3); the first few are used.
        recipe: how weights are quantized.
    """
    network = StepwiseNetwork(path)
    # All activations are kept in memory.
    affordable = min(_IMAGES, max(1, _BYTES // network.bytes_per_image))
    exact: Values = {network.input: inputs[:affordable]}
    for step in network.steps:
        exact |= network.run_all(step, exact)
    logits = _logits(network)
    signal = float(np.square(exact[logits], dtype=np.float64).sum()) or 1.0
    found = []
    for step in network.layers:
        name, weights = network.name(step.output), network.weights(step)
        weights = round_weights(weights, step.channel_axis, recipe.grid, recipe.granularity)
        rounded = fake_quantize(network.run(step, exact, weights), *ranges[name])
        result = _propagate(network, step, rounded, exact, logits)
        noise = float(np.square(result.astype(np.float64) - exact[logits]).sum())
        found.append((name, noise / signal))
    return sorted(found, key=lambda pair: -pair[1])


def _logits(network: StepwiseNetwork) -> int:
    """Return the tensor that enters the softmax or the last sigmoid, else the last output."""
    entering = (step.computed_inputs[0] for step in network.steps if step.kind == "SOFTMAX")
    last = network.steps[-1]
    return next(entering, last.computed_inputs[0] if last.kind == "LOGISTIC" else last.output)


def _propagate(
    network: StepwiseNetwork, changed: Step, values: Floats, exact: Values, target: int
) -> Floats:
    """Compute the target with another output of one layer: only what depends on it runs again."""
    new: Values = {changed.output: values}
    for step in network.steps[changed.index + 1 :]:
        if target in new:
            break
        if any(tensor in new for tensor in step.computed_inputs):
            merged = {t: new.get(t, exact[t]) for t in step.computed_inputs}
            new |= network.run_all(step, merged)
    return new.get(target, exact[target])
