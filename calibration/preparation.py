"""What is done to a float network before any quantizer sees it; the same for all formats.

A network that is to be quantized takes z = pixel - 128: exactly what an int8 tensor with zero
point 0 (or a uint8 one with zero point 128) holds, so the input loses nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import flatbuffer
from edgezoo.calibration._stepwise import StepwiseNetwork, preserving_interpreter
from edgezoo.calibration.bias_correction import correct_layers
from edgezoo.calibration.equalization import equalize
from edgezoo.calibration.recipe import Recipe
from edgezoo.preprocessing import normalize
from edgezoo.rounding import PIXEL_ZERO
from edgezoo.spec import InputKind, Normalization

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ranges = dict[str, tuple[float, float]]

LOGIT_ROOM = 1.7
_CORRECTION_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Observation:
    """What calibration images showed in the plain float network.

    Attributes:
        input_scale: real input = (pixel - 128) * input_scale; 0 where the caller normalises.
        ranges: minimum and maximum of each activation, by tensor name.
        images: how many images the ranges come from.
        stability: see `stability_of`; None with fewer than two images.
    """

    input_scale: float
    ranges: Ranges
    images: int
    stability: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """What the calibration passport says of the ranges."""
        text = json.dumps(self.ranges, sort_keys=True)
        return {
            "method": "min/max over all images",
            "tensors": len(self.ranges),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "stability": self.stability,
        }

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Observation:
        """Read what `save` wrote."""
        facts = json.loads(path.read_text())
        facts["ranges"] = {name: tuple(pair) for name, pair in facts["ranges"].items()}
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a quantizer needs to know about a prepared network.

    Attributes:
        input_scale, images: as of `Observation`.
        ranges: minimum and maximum of each activation of the prepared network, by tensor name.
        methods: what was done to the weights, in the terms of the literature.
        corrected_layers: layers whose bias was corrected.
        scales: of layers whose weights stand on their grid already, one a channel.
        recipe: what was asked for, as JSON.
    """

    input_scale: float
    ranges: Ranges
    images: int
    corrected_layers: int = 0
    methods: tuple[str, ...] = ()
    scales: dict[str, list[float]] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """How the network that is prepared takes pixels."""

    how: Normalization
    kind: InputKind

    @property
    def scale(self) -> float:
        """Real input = (pixel - 128) * scale; 0 where the caller normalises by channel."""
        if self.how.uniform:
            return self.how.scale[0]
        return 1.0 if self.kind == "pixels" else 0.0

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real input: all pixel values are possible."""
        if self.scale:
            return -PIXEL_ZERO * self.scale, (255 - PIXEL_ZERO) * self.scale
        ends = [
            pixel * scale + offset
            for pixel in (0.0, 255.0)
            for scale, offset in zip(self.how.scale, self.how.offset, strict=True)
        ]
        return min(ends), max(ends)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network takes for these pixels: uint8 RGB, shape (..., 3)."""
        import numpy as np

        if not self.scale:
            return normalize(pixels, self.how)
        return (pixels.astype(np.float32) - PIXEL_ZERO) * np.float32(self.scale)


def write_plain(base: Path, plain: Path, feed: NetworkInput) -> None:
    """Write the network that takes what `feed` gives.

    Args:
        base: float network; takes normalised input, or pixels where its first operation
            normalises them.
        plain: the same network for the other input.
        feed: what it shall take.
    """
    plain.write_bytes(base.read_bytes())
    if feed.how.uniform:
        # half a level: -1 + 128 / 127.5 where pixels are mapped to -1...1
        _shift_first_bias(plain, feed.how.offset[0] + PIXEL_ZERO * feed.how.scale[0])
    elif feed.kind == "pixels":
        _shift_first_bias(plain, float(PIXEL_ZERO))


def _shift_first_bias(path: Path, offset: float) -> None:
    """Let the first layer's bias carry a constant that is missing from the input.

    Exact but for the border pixels where the layer pads with zeros: there the network now sees
    a pixel half a level away from the mean.

    Raises:
        ValueError: the first operation is no layer with weights and bias.
    """
    network = StepwiseNetwork(path)
    first = next(step for step in network.steps if step.kind != "PAD")
    if first.weights is None or first.bias is None:
        raise ValueError("the network does not start with a convolution")
    weights = network.constant(first.weights)
    others = tuple(i for i in range(weights.ndim) if i != first.channel_axis)
    network.set_constant(first.bias, network.constant(first.bias) + offset * weights.sum(others))
    flatbuffer.write_model(network.model, path)


def observe(path: Path, pixels: NDArray[np.uint8], feed: NetworkInput) -> Observation:
    """Minimum and maximum of each activation of a float network, image by image.

    Args:
        path: the float network.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        feed: turns pixels into what the network takes.
    """
    import numpy as np

    interpreter = preserving_interpreter(path)
    network = StepwiseNetwork(path)
    computed = sorted({step.output for step in network.steps})
    lows = np.empty((len(pixels), len(computed)))
    highs = np.empty_like(lows)
    for row, picture in enumerate(pixels):
        interpreter.set_tensor(network.input, feed(picture)[None])
        interpreter.invoke()
        for column, tensor in enumerate(computed):
            values = interpreter.get_tensor(tensor)
            lows[row, column], highs[row, column] = values.min(), values.max()
    names = [network.name(i) for i in computed]
    ranges = {
        name: (float(low), float(high))
        for name, low, high in zip(names, lows.min(0), highs.max(0), strict=True)
    }
    ranges[network.name(network.input)] = feed.range
    return Observation(feed.scale, ranges, len(pixels), stability_of(names, lows, highs))


def stability_of(
    names: list[str], lows: NDArray[np.float64], highs: NDArray[np.float64]
) -> dict[str, Any] | None:
    """How far the ranges depend on which images were taken, from two disjoint halves.

    Args:
        names: of the tensors.
        lows, highs: per image and tensor, shape (images, tensors).

    Returns:
        {"halves": images in each, "score": 1 - median relative difference of the halves' widths,
        "worst": the largest difference, "worst_tensor"}; None with fewer than two images.
    """
    import numpy as np

    half = len(lows) // 2
    if half < 1:
        return None
    first, second = slice(0, half), slice(half, 2 * half)
    widths = [highs[part].max(0) - lows[part].min(0) for part in (first, second)]
    wider = np.maximum(*widths)
    difference = np.abs(widths[0] - widths[1]) / np.where(wider > 0, wider, 1)
    worst = int(difference.argmax())
    return {
        "halves": half,
        "score": round(1 - float(np.median(difference)), 4),
        "worst": round(float(difference[worst]), 4),
        "worst_tensor": names[worst],
    }


def widen_logits(path: Path, ranges: Ranges) -> Ranges:
    """Ranges with more room before the softmax, for pictures that show no objects.

    Procedural pictures reach the range of real ones in every layer but the last: nothing in them
    is recognised with confidence. On MobileNet 0.25 their logits span 0.63 to 0.71 of the real
    ones, and clipped logits tie.
    """
    network = StepwiseNetwork(path)
    widened = dict(ranges)
    logits = {i for step in network.steps if step.kind == "SOFTMAX" for i in step.computed_inputs}
    for step in reversed(network.steps):  # a Reshape before the softmax shares its range
        if step.output in logits:
            low, high = ranges[network.name(step.output)]
            widened[network.name(step.output)] = (low * LOGIT_ROOM, high * LOGIT_ROOM)
            if step.kind == "RESHAPE":
                logits |= set(step.computed_inputs)
    return widened


def prepare(
    plain: Path,
    path: Path,
    pixels: NDArray[np.uint8],
    feed: NetworkInput,
    observation: Observation,
    recipe: Recipe,
) -> Preparation:
    """Write the network that a quantizer is to take.

    Args:
        plain: float network; takes what `feed` gives.
        path: where the prepared network goes.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        feed: as of `observe`.
        observation: of the plain network on these images.
        recipe: what to do.
    """
    path.write_bytes(plain.read_bytes())
    ranges, methods = observation.ranges, ["min/max ranges"]
    if recipe.granularity == "per-tensor":
        equalized = equalize(path, pixels, feed)
        # What was made of the ranges before (see `widen_logits`) holds for the last layer, whose
        # output no equalization touches.
        ranges = {**observe(path, pixels, feed).ranges, **_after_last_layer(path, ranges)}
        methods.append(f"cross-layer equalization of {equalized} pairs")
    corrected = 0
    scales: dict[str, list[float]] = {}
    if recipe.effort != "fast":
        inputs = feed(_correction_images(path, pixels, recipe.correction_images))
        corrected, scales = correct_layers(path, inputs, ranges, recipe)
        methods += ["GPTQ rounding", "bias correction"]
    return Preparation(
        observation.input_scale,
        ranges,
        observation.images,
        corrected,
        tuple(methods),
        scales,
        asdict(recipe),
    )


def _after_last_layer(path: Path, ranges: Ranges) -> Ranges:
    """Ranges of the output of the last layer with weights and of what follows it."""
    network = StepwiseNetwork(path)
    last = max(step.index for step in network.steps if step.weights is not None)
    outputs = [network.name(step.output) for step in network.steps if step.index >= last]
    return {name: ranges[name] for name in outputs}


def _correction_images(path: Path, pixels: NDArray[np.uint8], most: int) -> NDArray[Any]:
    """As many images as memory allows."""
    network = StepwiseNetwork(path)
    largest = max(_volume(network.graph.tensors[step.output]) for step in network.steps)
    fit = max(4, _CORRECTION_BYTES // (largest * 4))
    return pixels[: min(most, fit)]


def _volume(tensor: Any) -> int:
    volume = 1
    for n in tensor.shape:
        volume *= int(n)
    return volume
