"""Prepares a float network for quantization; the same for all formats.

A network that is to be quantized takes z = pixel - 128: exactly the values of an int8 tensor with
zero point 0 (or a uint8 one with zero point 128), so quantizing the input loses nothing.
"""

from __future__ import annotations

from pathlib import Path

from edgezoo.calibration.bias_correction import correct_layers
from edgezoo.calibration.equalization import equalize
from edgezoo.calibration.observation import NetworkInput, Observation, observe
from edgezoo.calibration.tiny_weights import lift_tiny_weights
from edgezoo.core.arrays import Pixels, other_axes
from edgezoo.core.recipe import Preparation, Ranges, Recipe
from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.formats import tflite_flatbuffer, tflite_shift
from edgezoo.formats.tflite_stepwise import StepwiseNetwork

# Operations whose output has the values of their input, zeros at the edges aside.
_PASSING = ("PAD", "RESHAPE")
_CORRECTION_BYTES = 512 * 2**20


def write_plain(base: Path, plain: Path, feed: NetworkInput) -> None:
    """Write the network that takes what `feed` returns, each layer with its own constants.

    Args:
        base: float network; takes normalized input, or pixels where its first operation
            normalizes them.
        plain, feed: the same network for the other input, and that input.
    """
    tflite_flatbuffer.own_constants(base, plain)
    if feed.how.uniform:
        # pixel * scale + offset = (pixel - 128) * scale + (offset + 128 * scale). Where pixels are
        # mapped to -1...1 the last term is -1 + 128 / 127.5, half the value of a pixel.
        _shift_first_bias(plain, feed.how.offset[0] + PIXEL_ZERO * feed.how.scale[0])
    elif feed.kind == "pixels":
        _shift_first_bias(plain, float(PIXEL_ZERO))


def _shift_first_bias(path: Path, offset: float) -> None:
    """Move a constant that is missing from the input into the first layer's bias.

    Exact except at the edges, where the layer pads with zeros: there the network now sees a pixel
    of 128 in place of the mean of 127.5. A network that does not begin with one layer with a bias
    gets an addition in front.
    """
    network = StepwiseNetwork(path)
    passing, first = {network.input}, None
    for step in network.steps:  # through operations that pass the pixels on
        if passing.isdisjoint(step.computed_inputs):
            continue
        if first is not None:
            first = None
            break  # several read them
        if step.kind in _PASSING:
            passing.add(step.output)
        else:
            first = step
    if first is None or first.weights is None or first.bias is None:
        tflite_shift.add_in_front(network.model, offset)
    else:
        weights = network.weights(first)
        sums = weights.sum(other_axes(weights, first.channel_axis))
        network.set_constant(first.bias, network.constant(first.bias) + offset * sums)
    tflite_flatbuffer.write_model(network.model, path)


def prepare(
    plain: Path, path: Path, pixels: Pixels, feed: NetworkInput, seen: Observation, recipe: Recipe
) -> Preparation:
    """Write the network that a quantizer takes.

    Args:
        plain, path: the float network, which takes what `feed` returns, and the prepared one.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        feed: as of `observe`.
        seen: observation of the plain network on these images.
        recipe: what to do.
    """
    ranges, equalized = rescale(plain, path, pixels, feed, seen, recipe)
    methods = ["min/max ranges", *equalized]
    if recipe.qdq == "symmetric":
        ranges = {name: symmetric(pair) for name, pair in ranges.items()}
    corrected, scales = 0, dict[str, list[float]]()
    if recipe.effort != "fast":
        count = StepwiseNetwork(path).fitting_images(recipe.correction_images, _CORRECTION_BYTES)
        inputs = feed(pixels[:count])
        corrected, scales = correct_layers(path, inputs, ranges, recipe)
        methods += ["GPTQ rounding", "bias correction"]
    scale, images = seen.input_scale, seen.images
    return Preparation(scale, ranges, images, corrected, tuple(methods), scales, recipe)


def symmetric(pair: tuple[float, float]) -> tuple[float, float]:
    """Widen a range to both sides of 0: the sign bit of what is never negative is lost."""
    most = max(abs(pair[0]), abs(pair[1]))
    return -most, most


def rescale(
    plain: Path, path: Path, pixels: Pixels, feed: NetworkInput, seen: Observation, recipe: Recipe
) -> tuple[Ranges, list[str]]:
    """Write the network whose weights are to be quantized; arguments as of `prepare`.

    Returns:
        The ranges of its activations, and the methods used, in the terms of the literature.
    """
    path.write_bytes(plain.read_bytes())
    ranges, methods = seen.ranges, []
    if recipe.granularity == "per-tensor":
        equalized = equalize(path, pixels, feed)
        # Equalization leaves the output of the last layer alone: keep its range, which
        # `widen_logits` may have widened.
        ranges = {**observe(path, pixels, feed).ranges, **_after_last_layer(path, ranges)}
        methods.append(f"cross-layer equalization of {equalized} pairs")
    lift_tiny_weights(path, ranges)
    return ranges, methods


def _after_last_layer(path: Path, ranges: Ranges) -> Ranges:
    """Return the ranges of the last layer with weights and of what follows it."""
    network = StepwiseNetwork(path)
    outputs = [network.name(step.output) for step in network.steps[network.layers[-1].index :]]
    return {name: ranges[name] for name in outputs}
