"""Channels whose weights are too small for their bias.

A bias is an int32 in steps of input scale times weight scale. A channel that gives the same value
for every input (its batch norm saw no variance) has weights of nearly nothing beside a bias that
counts; in such steps the bias leaves 32 bits, and the quantizer wraps it round. The largest of
these weights is lifted until the bias fits. It stays a millionth of the bias.
"""

from __future__ import annotations

from pathlib import Path

from edgezoo.core.rounding import activation_parameters
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork

# Bias correction comes later and moves the bias; it does not double it.
_ROOM = 4.0
_MOST = 2**31 / _ROOM


def lift_tiny_weights(path: Path, ranges: dict[str, tuple[float, float]]) -> int:
    """Make room for biases in a float TFLite network, in place.

    Args:
        path: the network; rewritten where something is lifted.
        ranges: minimum and maximum of each activation, by tensor name.

    Returns:
        How many channels were lifted.
    """
    import numpy as np

    network = StepwiseNetwork(path)
    lifted = 0
    for step in network.steps:
        if step.weights is None or step.bias is None:
            continue
        scale, _ = activation_parameters(*ranges[network.name(step.computed_inputs[0])])
        weights, bias = network.constant(step.weights), network.constant(step.bias)
        rows = np.moveaxis(weights, step.channel_axis, 0).reshape(len(bias), -1)
        floor = np.abs(bias) * 127 / (_MOST * scale)
        largest = np.abs(rows).argmax(1)
        channels = np.flatnonzero(np.abs(rows).max(1) < floor)
        if not len(channels):
            continue
        rows = rows.copy()
        rows[channels, largest[channels]] = floor[channels]
        moved = np.moveaxis(weights, step.channel_axis, 0).shape
        network.set_constant(step.weights, np.moveaxis(rows.reshape(moved), 0, step.channel_axis))
        lifted += len(channels)
    if lifted:
        tflite_flatbuffer.write_model(network.model, path)
    return lifted
