"""What is done to a float network before any quantizer sees it; the same for all formats.

A network that is to be quantized takes z = pixel - 128: exactly what an int8 tensor with zero
point 0 (or a uint8 one with zero point 128) holds, so the input loses nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import flatbuffer
from edgezoo.calibration._stepwise import StepwiseNetwork
from edgezoo.calibration.bias_correction import correct_biases
from edgezoo.rounding import Grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXEL_ZERO = 128
LOGIT_ROOM = 1.7
_CORRECTION_IMAGES = 64
_CORRECTION_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Preparation:
    """What quantizers need to know about a prepared network.

    Attributes:
        input_scale: real input = (pixel - 128) * input_scale.
        ranges: minimum and maximum of each activation, by tensor name.
        corrected_layers: layers whose bias was corrected.
        images: how many images the ranges come from.
    """

    input_scale: float
    ranges: dict[str, tuple[float, float]]
    corrected_layers: int
    images: int

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)))


def correct(
    path: Path,
    pixels: NDArray[np.uint8],
    ranges: dict[str, tuple[float, float]],
    input_scale: float,
    grid: Grid,
) -> Preparation:
    """Correct the biases of a float TFLite network for 8 bits, in place.

    Args:
        path: takes (pixel - 128) * input_scale.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        ranges: of its activations, as `observe` finds them.
        input_scale: as above.
        grid: how the quantizer rounds weights.
    """
    inputs = to_input(_correction_images(path, pixels), input_scale)
    corrected = correct_biases(path, inputs, ranges, grid)
    return Preparation(input_scale, ranges, corrected, len(pixels))


def widen_logits(
    path: Path, ranges: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Ranges with more room before the softmax, for pictures that show no objects.

    Procedural pictures reach the range of real ones in every layer but the last: nothing in them
    is recognised with confidence. On MobileNet 0.25 their logits span 0.63 to 0.71 of the real
    ones, and clipped logits tie.
    """
    network = StepwiseNetwork(path)
    names = [flatbuffer.text(t.name) for t in network.graph.tensors]
    widened = dict(ranges)
    logits = {i for step in network.steps if step.kind == "SOFTMAX" for i in step.computed_inputs}
    for step in reversed(network.steps):  # a Reshape before the softmax shares its range
        if step.output in logits:
            low, high = ranges[names[step.output]]
            widened[names[step.output]] = (low * LOGIT_ROOM, high * LOGIT_ROOM)
            if step.kind == "RESHAPE":
                logits |= set(step.computed_inputs)
    return widened


def to_input(pixels: NDArray[np.uint8], input_scale: float) -> NDArray[np.float32]:
    """What a prepared network takes for these pixels."""
    import numpy as np

    return (pixels.astype(np.float32) - PIXEL_ZERO) * np.float32(input_scale)


def absorb_offset(path: Path, offset: float) -> None:
    """Let the first layer's bias carry a constant that is missing from the input.

    Exact but for the border pixels where the layer pads with zeros: there the network now sees
    a pixel half a level away from the mean.

    Raises:
        ValueError: the first operation is no convolution; the caller then normalises in the graph.
    """
    network = StepwiseNetwork(path)
    first = network.steps[0]
    if first.weights is None or first.bias is None:
        raise ValueError("the network does not start with a convolution")
    weights = network.constant(first.weights)
    others = tuple(i for i in range(weights.ndim) if i != first.channel_axis)
    network.set_constant(first.bias, network.constant(first.bias) + offset * weights.sum(others))
    flatbuffer.write_model(network.model, path)


def observe(
    path: Path, pixels: NDArray[np.uint8], input_scale: float
) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of each activation of a float network, image by image.

    The input's range is not estimated: all pixel values are possible.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    network = StepwiseNetwork(path)
    computed = {step.output for step in network.steps}
    lows: dict[int, float] = dict.fromkeys(computed, float("inf"))
    highs: dict[int, float] = dict.fromkeys(computed, float("-inf"))
    for picture in pixels:
        interpreter.set_tensor(network.input, to_input(picture, input_scale)[None])
        interpreter.invoke()
        for tensor in computed:
            values = interpreter.get_tensor(tensor)
            lows[tensor] = min(lows[tensor], float(values.min()))
            highs[tensor] = max(highs[tensor], float(values.max()))
    names = [flatbuffer.text(t.name) for t in network.graph.tensors]
    found = {names[i]: (lows[i], highs[i]) for i in sorted(computed)}
    found[names[network.input]] = (-128 * input_scale, 127 * input_scale)
    return found


def _correction_images(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """As many images as bias correction needs and memory allows."""
    network = StepwiseNetwork(path)
    largest = max(_volume(network.graph.tensors[step.output]) for step in network.steps)
    fit = max(4, _CORRECTION_BYTES // (largest * 4))
    return pixels[: min(_CORRECTION_IMAGES, fit)]


def _volume(tensor: Any) -> int:
    volume = 1
    for n in tensor.shape:
        volume *= int(n)
    return volume
