"""The range of each activation of a float network on calibration images, and how stable it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgezoo.core.arrays import Doubles, Floats, Pixels
from edgezoo.core.calibration_metadata import RangesRecord, Stability
from edgezoo.core.recipe import Ranges
from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.core.spec import InputKind, Normalization
from edgezoo.core.typed_json import JsonFile
from edgezoo.formats.tflite_stepwise import StepwiseNetwork, preserving_interpreter
from edgezoo.images.preprocessing import normalize

LOGIT_ROOM = 1.7  # factor on the logits' range of synthetic images, see `widen_logits`
# Operations whose outputs are parts of their input.
_PARTING = ("SPLIT", "SPLIT_V", "UNPACK")
# Below this score the ranges depend on the choice of images.
UNSTABLE = 0.75


@dataclass(frozen=True, slots=True)
class Observation(JsonFile):
    """The ranges of the plain float network on the calibration images.

    Attributes:
        input_scale: real input = (pixel - 128) * input_scale; 0 where the caller normalizes.
        images: how many images the ranges come from.
        stability: None with fewer than two images.
    """

    input_scale: float
    ranges: Ranges
    images: int
    stability: Stability | None = None

    def record(self) -> RangesRecord:
        """What the calibration metadata states about the ranges."""
        text = json.dumps(self.ranges, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return RangesRecord("min/max over all images", len(self.ranges), digest, self.stability)


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """How the network that is to be quantized takes pixels."""

    how: Normalization
    kind: InputKind

    @property
    def scale(self) -> float:
        """Real input = (pixel - 128) * scale; 0 where the caller normalizes by channel."""
        if self.how.uniform:
            return self.how.scale[0]
        return 1.0 if self.kind == "pixels" else 0.0

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real input: all pixel values are possible."""
        if self.scale:
            return -PIXEL_ZERO * self.scale, (255 - PIXEL_ZERO) * self.scale
        channels = list(zip(self.how.scale, self.how.offset, strict=True))
        ends = [pixel * scale + offset for pixel in (0.0, 255.0) for scale, offset in channels]
        return min(ends), max(ends)

    def __call__(self, pixels: Pixels) -> Floats:
        """Convert pixels, uint8 RGB of shape (..., 3), to the network's input."""
        if not self.scale:
            return normalize(pixels, self.how)
        return (pixels.astype(np.float32) - PIXEL_ZERO) * np.float32(self.scale)


def observe(path: Path, pixels: Pixels, feed: NetworkInput) -> Observation:
    """Note minimum and maximum of each activation of a float network, image by image.

    Args:
        path: the float network.
        pixels: calibration images, uint8, shape (n, size, size, 3).
        feed: turns pixels into what the network takes.
    """
    interpreter = preserving_interpreter(path)
    network = StepwiseNetwork(path)
    # What no operation reads, such as one half of a SPLIT, has no memory in the interpreter.
    read = {tensor for step in network.steps for tensor in step.computed_inputs}
    read |= {int(tensor) for tensor in network.graph.outputs}
    outputs = {tensor for step in network.steps for tensor in step.outputs}
    computed = sorted(filter(network.is_float, outputs & read))
    lows = np.empty((len(pixels), len(computed)))
    highs = np.empty_like(lows)
    for row, image in enumerate(pixels):
        interpreter.set_tensor(network.input, feed(image)[None])
        interpreter.invoke()
        for column, tensor in enumerate(computed):
            values = interpreter.get_tensor(tensor)
            lows[row, column], highs[row, column] = values.min(), values.max()
    names = [network.name(i) for i in computed]
    ends = zip(lows.min(0).tolist(), highs.max(0).tolist(), strict=True)
    ranges: Ranges = dict(zip(names, ends, strict=True))
    ranges[network.name(network.input)] = feed.range
    for step in network.steps:
        # Kernels take and return parts in one scale; and a part that nothing reads has no range.
        if step.kind in _PARTING and step.computed_inputs:
            whole = ranges[network.name(step.computed_inputs[0])]
            ranges |= {network.name(tensor): whole for tensor in step.outputs}
    # The range of a softmax is 0 to 1, whatever the images.
    fixed = {step.output for step in network.steps if step.kind == "SOFTMAX"}
    free = [i for i, tensor in enumerate(computed) if tensor not in fixed]
    stability = stability_of([names[i] for i in free], lows[:, free], highs[:, free])
    return Observation(feed.scale, ranges, len(pixels), stability)


def stability_of(names: list[str], lows: Doubles, highs: Doubles) -> Stability | None:
    """How far the ranges depend on the images, from two disjoint halves; None for fewer than two.

    `names` are those of the tensors; lows and highs have the shape (images, tensors).
    """
    # The images are in random order (`sources.spread`): its halves are two independent samples of
    # half the size. If they agree on a tensor's range, other images would not change it much.
    half = len(lows) // 2
    if half < 1:
        return None
    first, second = slice(0, half), slice(half, 2 * half)
    starts = [lows[part].min(0) for part in (first, second)]
    ends = [highs[part].max(0) for part in (first, second)]
    joint = np.maximum(*ends) - np.minimum(*starts)
    overlap = np.maximum(np.minimum(*ends) - np.maximum(*starts), 0)
    difference = np.where(joint > 0, 1 - overlap / np.where(joint > 0, joint, 1), 0)
    worst = int(difference.argmax())
    score = round(1 - float(difference[worst]), 4)
    return Stability(half, score, round(float(np.median(difference)), 4), names[worst])


def widen_logits(path: Path, ranges: Ranges) -> Ranges:
    """Widen the range of the logits, for synthetic images, which show no objects.

    Synthetic images reach the range of photographs in every layer but the last: nothing in them is
    recognized with confidence. On MobileNet 0.25 their logits span 0.63 to 0.71 of the range of
    photographs, and clipped logits tie.
    """
    network = StepwiseNetwork(path)
    widened = dict(ranges)
    ends = [step for step in network.steps if step.kind == "SOFTMAX"]
    ends += [step for step in network.steps[-1:] if step.kind == "LOGISTIC"]
    logits = {i for step in ends for i in step.computed_inputs}
    for step in reversed(network.steps):  # a Reshape before the softmax shares its range
        if step.output in logits:
            low, high = ranges[network.name(step.output)]
            widened[network.name(step.output)] = (low * LOGIT_ROOM, high * LOGIT_ROOM)
            if step.kind == "RESHAPE":
                logits |= set(step.computed_inputs)
    return widened
