"""Weights in float16 that keep the mean of what each layer gives.

Where a layer's inputs have a mean far from zero, as behind a ReLU, the errors of rounded weights
add up to a shift of the output that is the same for all pictures, and grows from layer to layer.
It goes back into the bias. A bias is a float16 number too in ONNX and OpenVINO files; what that
loses is made up for by weights that lie near the middle of two float16 numbers, and take the other.

Kernels of few inputs are rounded by GPTQ before that.

Source: the bias as in `bias_correction`, with float16 in place of 8 bits and activations as they
are. Weights that share out an error which rounding left: Nagel et al., Up or Down? Adaptive
Rounding for Post-Training Quantization, 2020, https://arxiv.org/abs/2004.10568, section 3, for the
mean alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.calibration import gptq
from edgezoo.calibration.bias_correction import mean_shift
from edgezoo.formats import operators, tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

# More do not change the means of layers.
PICTURES = 32
_BYTES = 256 * 2**20
# Weights of a channel that may take the other neighbour; about eight do in ResNet50.
_CANDIDATES = 256
# Of a 7x7 kernel on three colours 147.
_FEW_INPUTS, _POSITIONS = 160, 20_000


def round_to_fp16(
    base: Path,
    path: Path,
    pixels: NDArray[np.uint8],
    feed: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> int:
    """Round the weights and biases of a float TFLite network to float16 numbers.

    Args:
        base: the network.
        path: where the rounded one goes, its numbers in float32.
        pixels: RGB pictures like those that the network will see, shape (n, size, size, 3); at
            most 32 are looked at.
        feed: turns them into what the network takes.

    Returns:
        How many layers have a bias that was corrected.
    """
    import numpy as np

    model = tflite_flatbuffer.read_model(base)
    tflite_flatbuffer.own_constants(model, operators.TFLITE)
    tflite_flatbuffer.write_model(model, path)
    network = StepwiseNetwork(path)
    inputs = feed(np.asarray(pixels[: network.fitting_images(PICTURES, _BYTES)]))
    last = network.last_uses()
    exact, rounded = {network.input: inputs}, {network.input: inputs}
    corrected = 0
    for step in network.steps:
        exact[step.output] = network.run(step, exact)
        if step.weights is not None:
            _round_layer(network, step, exact[step.output], rounded)
            corrected += step.bias is not None
        else:
            _round_constants(network, step)
        rounded[step.output] = network.run(step, rounded)
        for tensor in step.computed_inputs:
            if last[tensor] == step.index:
                exact.pop(tensor, None)
                rounded.pop(tensor, None)
    tflite_flatbuffer.write_model(network.model, path)
    return corrected


def _round_layer(
    network: StepwiseNetwork,
    step: Step,
    exact: NDArray[np.float32],
    values: dict[int, NDArray[np.float32]],
) -> None:
    """Give a layer its float16 constants, by what reaches it in the rounded network."""
    import numpy as np

    assert step.weights is not None
    weights = network.constant(step.weights)
    inputs = values[step.computed_inputs[0]]
    spread = _spread(network, step, weights, inputs)
    half = weights.astype(np.float16) if spread is None else spread
    if step.bias is not None:
        low, high = network.activation(step)
        linear = network.run(step, values, half.astype(np.float32), linear=True)
        wanted = network.constant(step.bias) + mean_shift(exact, linear, low, high)
        bias = wanted.astype(np.float16).astype(np.float32)
        network.set_constant(step.bias, bias)
        if spread is None:
            rest = wanted.astype(np.float64) - bias
            seen = _Inputs.of(inputs, weights, step.channel_axis)
            half = _shared_out(weights, half, rest, seen, step.channel_axis)
    network.set_constant(step.weights, half.astype(np.float32))


def _spread(
    network: StepwiseNetwork, step: Step, weights: NDArray[np.float32], inputs: NDArray[np.float32]
) -> NDArray[np.float16] | None:
    """Weights of a layer with few inputs, by GPTQ; None for others.

    The taps of a first or a depthwise convolution see nearly the same, so their errors do not
    cancel: they add up to one that follows a picture's brightness and colours, and no average over
    positions takes it away.
    """
    import numpy as np

    depthwise = step.depthwise
    channels = weights.shape[step.channel_axis]
    if weights.size // channels > _FEW_INPUTS or (depthwise and channels != inputs.shape[-1]):
        return None
    moments = gptq.moments_of(network, step, inputs, _POSITIONS)

    def nearest(j: int, wanted: NDArray[Any], before: NDArray[Any]) -> NDArray[Any]:
        return wanted.astype(np.float16).astype(np.float64)

    moved = np.moveaxis(weights, step.channel_axis, 0)
    rounded = gptq.spread_errors(moved.reshape(channels, -1), moments, nearest)
    return np.moveaxis(rounded.reshape(moved.shape), 0, step.channel_axis).astype(np.float16)


def _round_constants(network: StepwiseNetwork, step: Step) -> None:
    """To the nearest, as a batch norm that no layer could take in; later biases make up for it."""
    import numpy as np

    for tensor in map(int, network.graph.operators[step.index].inputs):
        if tensor < 0 or tensor in step.computed_inputs:
            continue
        values = network.constant(tensor)
        if values.dtype == np.float32:
            network.set_constant(tensor, values.astype(np.float16).astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Mean and variance of what each weight is multiplied with, broadcasting to the weights."""

    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    @classmethod
    def of(
        cls, inputs: NDArray[np.float32], weights: NDArray[np.float32], channel_axis: int
    ) -> _Inputs:
        """Of a layer's inputs, shape (n, ...)."""
        import numpy as np

        if weights.ndim == 2:  # dense, maybe behind a map that is flattened on the way in
            inputs = inputs.reshape(-1, weights.shape[1])
        axes = tuple(range(inputs.ndim - 1))
        means, variances = inputs.mean(axes, np.float64), inputs.var(axes, np.float64)
        if weights.ndim == 4 and channel_axis == 3:  # depthwise: channel times multiplier
            times = weights.shape[3] // len(means)
            means, variances = np.repeat(means, times), np.repeat(variances, times)
        return cls(means, variances)


def _shared_out(
    weights: NDArray[np.float32],
    half: NDArray[np.float16],
    rest: NDArray[np.float64],
    inputs: _Inputs,
    channel_axis: int,
) -> NDArray[np.float16]:
    """Let some weights take their other neighbour, so that each channel's mean gains `rest`.

    One does where the mean's error that it takes away is more, squared, than the noise that it
    adds: weights of inputs that vary more than their mean is large help nobody.

    Args:
        weights, half: as they are, and as the nearest float16 numbers.
        rest: one number a channel.
        inputs: what the weights are multiplied with.
        channel_axis: of the weights.
    """
    import numpy as np

    def rows(values: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(values, channel_axis, 0).reshape(len(rest), -1)

    towards = np.where(weights > half, np.inf, -np.inf).astype(np.float16)
    other = np.nextafter(half, towards)
    near, far = (np.abs(x.astype(np.float64) - weights) for x in (half, other))
    gains = rows((other.astype(np.float64) - half) * inputs.means)
    noises = rows((far**2 - near**2) * inputs.variances)
    order = np.argsort(rows(far - near), axis=1, kind="stable")[:, :_CANDIDATES]
    taken = np.zeros(gains.shape, bool)
    rest, every = rest.copy(), np.arange(len(rest))
    for candidate in order.T:
        gain = gains[every, candidate]
        better = (rest - gain) ** 2 + noises[every, candidate] < rest**2
        taken[every, candidate] = better
        rest -= np.where(better, gain, 0)
    shape = np.moveaxis(half, channel_axis, 0).shape
    chosen = np.moveaxis(taken.reshape(shape), 0, channel_axis)
    return np.where(chosen, other, half)
