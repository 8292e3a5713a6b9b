"""Compares the actual input of a network with the correct one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from edgezoo.core.arrays import Floats
from edgezoo.core.typed_json import Range
from edgezoo.explanation.reference import Reference

# Reversed channels are assumed if they reduce the unexplained variance to this share.
_CLEARLY = 0.5


@dataclass(frozen=True, slots=True)
class InputView:
    """The actual and the correct input over all images.

    Attributes:
        reversed: the colour channels are in reversed order.
        right: smallest and largest correct value of a pixel, in the model's preprocessing.
        got: smallest and largest actual value.
        distance: root mean square of the difference, in pixel values (0 to 255).
    """

    reversed: bool
    right: tuple[float, float]
    got: tuple[float, float]
    distance: Annotated[float, Range(0)]

    @property
    def other_range(self) -> bool:
        """Whether the range is off by more than two of 255 pixel values at either end."""
        level = (self.right[1] - self.right[0]) / 255
        return any(abs(a - b) > 2 * level for a, b in zip(self.right, self.got, strict=True))


def compare_inputs(
    reference: Reference, right: Floats, got: Floats, reversed_weights: bool
) -> InputView:
    """Fit got = right * scale + offset, with the channels in the same or in reversed order.

    Both are inputs of the float network, (n, size, size, 3). `reversed_weights`: the first layer
    of the file has its input channels in reversed order.
    """
    ends = reference.inputs(np.array([[[[0] * 3]], [[[255] * 3]]], np.uint8))
    low, high = float(ends[0].min()), float(ends[1].max())
    straight, turned = _fit(right, got), _fit(right[..., ::-1], got)
    swapped = turned[2] < _CLEARLY * straight[2]
    scale, offset, _ = turned if swapped else straight
    distance = float(np.sqrt(np.mean(np.square(got - right, dtype=np.float64))))
    return InputView(
        swapped or reversed_weights,
        (low + reference.offset, high + reference.offset),
        (low * scale + offset + reference.offset, high * scale + offset + reference.offset),
        distance * 255 / (high - low),
    )


def _fit(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Fit y = scale * x + offset by least squares; also return the residual variance."""
    a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    a_mean, b_mean = a.mean(), b.mean()
    a, b = a - a_mean, b - b_mean
    power = float(a @ a) or 1.0
    scale = float(a @ b) / power
    left = float(np.square(b - scale * a).mean())
    return scale, float(b_mean - scale * a_mean), left + 1e-12
