"""Weights in float16 that keep the mean of each layer's output.

Where the inputs of a layer have a mean far from zero, as behind a ReLU, the errors of rounded
weights add up to a shift of the output that is the same for all images, and grows from layer to
layer. Per layer:

    1. Round kernels of few inputs by GPTQ, others to the nearest float16 number.
    2. Add the shift of the mean to the bias, as in `bias_correction`, and round that: ONNX and
       OpenVINO files store biases in float16 too.
    3. Compensate for what rounding the bias lost: weights near the middle of two float16 numbers
       take the other one.

Step 3 chooses between rounding up and down as Nagel et al., Up or Down? Adaptive Rounding for
Post-Training Quantization, 2020, https://arxiv.org/abs/2004.10568, section 3, for the mean alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import gptq
from edgezoo.calibration.bias_correction import mean_shift
from edgezoo.core.arrays import Doubles, Feed, Floats, Pixels, from_rows, rows
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork, Values

# More do not change the means of layers.
IMAGES = 32
_BYTES = 256 * 2**20
# Weights of a channel that may take the other neighbour; about eight do in ResNet50.
_CANDIDATES = 256
# Inputs of the largest kernel for GPTQ (a 7x7 kernel on three colours has 147), and the positions
# that its Hessian is computed from.
_FEW_INPUTS, _POSITIONS = 160, 20_000


def round_to_fp16(base: Path, path: Path, pixels: Pixels, feed: Feed) -> int:
    """Round constants of a float TFLite network to float16; return how many biases it corrected.

    Args:
        base, path: the network, and where the rounded one goes, its numbers in float32.
        pixels: RGB images like those that the network will see, shape (n, size, size, 3); at
            most 32 are used.
        feed: turns them into what the network takes.
    """
    tflite_flatbuffer.own_constants(base, path)
    network = StepwiseNetwork(path)
    inputs = feed(np.asarray(pixels[: network.fitting_images(IMAGES, _BYTES)]))
    exact, rounded = {network.input: inputs}, {network.input: inputs}
    corrected = 0
    for step in network.steps:
        exact |= network.run_all(step, exact)
        if step.weights is not None:
            _round_layer(network, step, exact[step.output], rounded)
            corrected += step.bias is not None
        else:
            _round_constants(network, step)
        rounded |= network.run_all(step, rounded)
        network.forget(step, exact, rounded)
    tflite_flatbuffer.write_model(network.model, path)
    return corrected


def _round_layer(network: StepwiseNetwork, step: Step, exact: Floats, values: Values) -> None:
    """Give a layer its float16 constants, by what reaches it in the rounded network."""
    assert step.weights is not None
    weights = network.constant(step.weights)
    inputs = values[step.computed_inputs[0]]
    by_gptq = _round_by_gptq(network, step, weights, inputs)  # step 1
    rounded = weights.astype(np.float16) if by_gptq is None else by_gptq
    if step.bias is not None:
        low, high = network.activation(step)
        linear = network.run(step, values, rounded.astype(np.float32), linear=True)
        wanted = network.constant(step.bias) + mean_shift(exact, linear, low, high)  # step 2
        bias = wanted.astype(np.float16).astype(np.float32)
        network.set_constant(step.bias, bias)
        if by_gptq is None:
            rest = wanted.astype(np.float64) - bias
            statistics = _statistics(inputs, weights, step)
            rounded = _compensate(weights, rounded, rest, statistics, step.channel_axis)  # step 3
    network.set_constant(step.weights, rounded.astype(np.float32))


def _round_by_gptq(
    network: StepwiseNetwork, step: Step, weights: Floats, inputs: Floats
) -> NDArray[np.float16] | None:
    """Round the weights of a layer with few inputs by GPTQ; None for others.

    The taps of a first or a depthwise convolution see nearly the same values, so their errors do
    not cancel out: they add up to one that follows an image's brightness and colours, which a
    constant in the bias cannot remove.
    """
    channels = weights.shape[step.channel_axis]
    if weights.size // channels > _FEW_INPUTS or (step.depthwise and channels != inputs.shape[-1]):
        return None
    hessian = gptq.hessian_of(network, step, inputs, _POSITIONS)

    def nearest(j: int, wanted: NDArray[Any], before: NDArray[Any]) -> NDArray[Any]:
        return wanted.astype(np.float16).astype(np.float64)

    rounded = gptq.propagate_errors(rows(weights, step.channel_axis), hessian, nearest)
    return from_rows(rounded, weights.shape, step.channel_axis).astype(np.float16)


def _round_constants(network: StepwiseNetwork, step: Step) -> None:
    """Round to the nearest, such as an unfolded batch norm; later biases compensate for it."""
    for tensor in map(int, network.graph.operators[step.index].inputs):
        if tensor < 0 or tensor in step.computed_inputs:
            continue
        values = network.constant(tensor)
        if values.dtype == np.float32:
            network.set_constant(tensor, values.astype(np.float16).astype(np.float32))


def _statistics(inputs: Floats, weights: Floats, step: Step) -> tuple[Doubles, Doubles]:
    """Return mean and variance of the input of each weight, broadcasting to the weights."""
    if weights.ndim == 2:  # dense: a feature map may be flattened on the way in
        inputs = inputs.reshape(-1, weights.shape[1])
    axes = tuple(range(inputs.ndim - 1))
    means, variances = inputs.mean(axes, np.float64), inputs.var(axes, np.float64)
    if step.depthwise:  # output channels are input channels times the multiplier
        times = weights.shape[3] // len(means)
        means, variances = np.repeat(means, times), np.repeat(variances, times)
    return means, variances


def _compensate(
    weights: Floats,
    rounded: NDArray[np.float16],
    rest: Doubles,
    statistics: tuple[Doubles, Doubles],
    channel_axis: int,
) -> NDArray[np.float16]:
    """Let some weights take their other neighbour, so that each channel's mean gains `rest`.

    The expected squared error of an output is the square of its mean error plus a variance, to
    which each weight adds its squared rounding error times the variance of its input. A weight
    takes its other neighbour where the first term shrinks by more than the second grows.

    Args:
        weights, rounded: in float32, and the nearest float16 numbers.
        rest: one number per channel.
        statistics: mean and variance of the input of each weight.
        channel_axis: of the weights.
    """
    means, variances = statistics
    up = np.where(weights > rounded, np.inf, -np.inf)
    other = np.nextafter(rounded, up.astype(np.float16))
    near, far = (np.abs(x.astype(np.float64) - weights) for x in (rounded, other))
    gains = rows((other.astype(np.float64) - rounded) * means, channel_axis)
    noises = rows((far**2 - near**2) * variances, channel_axis)
    # Greedily, the weights nearest to the middle first: they cost the least.
    order = np.argsort(rows(far - near, channel_axis), axis=1, kind="stable")[:, :_CANDIDATES]
    taken = np.zeros(gains.shape, bool)
    rest, every = rest.copy(), np.arange(len(rest))
    for candidate in order.T:
        gain = gains[every, candidate]
        better = (rest - gain) ** 2 + noises[every, candidate] < rest**2
        taken[every, candidate] = better
        rest -= np.where(better, gain, 0)
    return np.where(from_rows(taken, rounded.shape, channel_axis), other, rounded)
