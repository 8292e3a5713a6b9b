"""Cross-layer equalization: bring the ranges of the channels of neighbouring layers together.

With one scale for a whole tensor, small weights of a channel drown in rounding. A channel between
two layers may be divided by any s > 0 in the first and multiplied by s in the second without a
change of the function, as long as the activation f between them satisfies f(s x) = s f(x). Nagel
et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
https://arxiv.org/abs/1906.04721, section 4.1: with channel ranges r1 of the first layer and r2 of
the second, s = sqrt(r1 / r2) makes them equal; repeat over all pairs until that settles.

Ours: the ranges are relative to the largest of their tensor, so that no tensor as a whole grows;
and a bound for ReLU6, which scales only where it does not clip before and after. A channel that
reaches 6 keeps its scale, one that does not may grow until it does. So the function stays exact
on everything that the calibration images showed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.core.arrays import Feed, Floats, Pixels, along, other_axes
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork, preserving_interpreter

_ROUNDS = 20
_LARGEST = 1e3
# Operations between two layers that a channel's scale passes through.
_TRANSPARENT = ("PAD",)


def equalize(path: Path, pixels: Pixels, feed: Feed) -> int:
    """Equalize the channels of a float TFLite network in place; return how many pairs of layers.

    Args:
        path: the float network; rewritten.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        feed: turns pixels into what the network takes.
    """
    network = StepwiseNetwork(path)
    pairs = _pairs(network)
    highs = _channel_highs(network, path, pixels, feed)
    for first, second in pairs:
        _silence_dead_channels(network, first, second, highs[first.output])
    for _ in range(_ROUNDS):
        for first, second in pairs:
            _equalize_pair(network, first, second, highs)
    tflite_flatbuffer.write_model(network.model, path)
    return len(pairs)


def _pairs(network: StepwiseNetwork) -> list[tuple[Step, Step]]:
    """Find pairs of layers with weights where the second alone reads the output of the first."""
    readers: dict[int, list[Step]] = {}
    for step in network.steps:
        for tensor in step.computed_inputs:
            readers.setdefault(tensor, []).append(step)
    found = []
    for first in network.layers:
        if first.bias is None:
            continue
        after = readers.get(first.output, [])
        while len(after) == 1 and after[0].kind in _TRANSPARENT:
            after = readers.get(after[0].output, [])
        if len(after) == 1 and after[0].weights is not None:
            found.append((first, after[0]))
    return found


def _channel_highs(
    network: StepwiseNetwork, path: Path, pixels: Pixels, feed: Feed
) -> dict[int, Floats]:
    """Return the largest value of each channel of each layer with weights, by tensor."""
    interpreter = preserving_interpreter(path)
    layers = [step.output for step in network.layers]
    highs: dict[int, Any] = dict.fromkeys(layers, -np.inf)
    for image in pixels:
        interpreter.set_tensor(network.input, feed(image)[None])
        interpreter.invoke()
        for tensor in layers:
            values = interpreter.get_tensor(tensor)
            highs[tensor] = np.maximum(highs[tensor], values.max(tuple(range(values.ndim - 1))))
    return highs


def _silence_dead_channels(
    network: StepwiseNetwork, first: Step, second: Step, high: Floats
) -> None:
    """Set the weights of channels to 0 that are 0 on all images.

    A channel whose batch norm saw no variance has weights that were divided by almost nothing,
    often the largest of their layer, although the ReLU cuts it off.
    """
    assert first.weights is not None and first.bias is not None and second.weights is not None
    before, after = network.constant(first.weights), network.constant(second.weights)
    if network.activation(first)[0] != 0 or before.shape[first.channel_axis] != len(high):
        return
    alive = (high > 0).astype(before.dtype)
    network.set_constant(first.weights, before * along(alive, first.channel_axis, before.ndim))
    network.set_constant(first.bias, network.constant(first.bias) * alive)
    if after.shape[second.input_axis] == len(high):
        network.set_constant(second.weights, after * along(alive, second.input_axis, after.ndim))


def _equalize_pair(
    network: StepwiseNetwork, first: Step, second: Step, highs: dict[int, Floats]
) -> None:
    """Divide the first layer's channels by s, multiply the second's inputs by it."""
    assert first.weights is not None and first.bias is not None and second.weights is not None
    before, after = network.constant(first.weights), network.constant(second.weights)
    out_axis, in_axis = first.channel_axis, second.input_axis
    if before.shape[out_axis] != after.shape[in_axis]:
        return  # a depth multiplier: one input channel feeds several outputs
    widths, reach = _channel_widths(before, out_axis), _channel_widths(after, in_axis)
    live = (widths > 0) & (reach > 0)  # r1 and r2
    if not live.any():
        return
    ratio = (widths / widths.max()) / np.where(live, reach / reach.max(), 1)
    scales = np.where(live, np.sqrt(np.where(live, ratio, 1)), 1)
    ceiling = network.activation(first)[1]
    high = highs[first.output]
    if np.isfinite(ceiling):
        # ReLU6: dividing by less than high / 6 would push the channel's maximum above 6.
        room = np.clip(high / ceiling, 1 / _LARGEST, 1)
        scales = np.where(high >= ceiling, 1, np.maximum(scales, room))
    scales = np.clip(scales, 1 / _LARGEST, _LARGEST).astype(np.float32)
    highs[first.output] = np.asarray(high / scales)
    network.set_constant(first.weights, before / along(scales, out_axis, before.ndim))
    network.set_constant(first.bias, network.constant(first.bias) / scales)
    network.set_constant(second.weights, after * along(scales, in_axis, after.ndim))


def _channel_widths(weights: Floats, axis: int) -> Floats:
    return np.asarray(np.abs(weights).max(other_axes(weights, axis)))
