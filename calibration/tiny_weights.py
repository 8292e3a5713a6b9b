"""Channels whose weights are too small for their bias.

A bias is an int32 in steps of input scale times weight scale. A channel that returns the same
value for every input (its batch norm saw no variance) has weights near 0 next to a bias that
matters; in such steps the bias exceeds 32 bits, and the quantizer wraps it around. The largest of
these weights is raised until the bias fits. It stays a millionth of the bias.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgezoo.core.arrays import from_rows, rows
from edgezoo.core.recipe import Ranges
from edgezoo.core.rounding import activation_parameters
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork

# Bias correction follows and changes the bias; it does not double it.
_ROOM = 4.0
_MOST = 2**31 / _ROOM


def lift_tiny_weights(path: Path, ranges: Ranges) -> int:
    """Make room for biases in a float TFLite network with these ranges of activations.

    Return how many channels were changed; the file is rewritten if there are any.
    """
    network = StepwiseNetwork(path)
    lifted = 0
    for step in network.steps:
        if step.weights is None or step.bias is None:
            continue
        scale, _ = activation_parameters(*ranges[network.name(step.computed_inputs[0])])
        weights, bias = network.constant(step.weights), network.constant(step.bias)
        kernels = rows(weights, step.channel_axis)
        # |bias| / (input scale * weight scale) <= _MOST, where weight scale = max|w| / 127
        floor = np.abs(bias) * 127 / (_MOST * scale)
        largest = np.abs(kernels).argmax(1)
        channels = np.flatnonzero(np.abs(kernels).max(1) < floor)
        if not len(channels):
            continue
        kernels[channels, largest[channels]] = floor[channels]
        changed = from_rows(kernels, weights.shape, step.channel_axis)
        network.set_constant(step.weights, changed)
        lifted += len(channels)
    if lifted:
        tflite_flatbuffer.write_model(network.model, path)
    return lifted
