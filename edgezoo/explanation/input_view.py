"""What a network effectively gets for pixels, beside what it should get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgezoo.explanation.reference import Reference

# Reversed channels must leave this much less unexplained to be believed.
_CLEARLY = 0.5


@dataclass(frozen=True, slots=True)
class InputView:
    """A comparison over all images.

    Attributes:
        reversed: the channels are in reversed order.
        right, got: the least and the greatest value that a pixel can become in the terms of the
            model's own preprocessing, as it should be and as it is.
        distance: root mean square of the difference, in pixel levels (0 to 255).
    """

    reversed: bool
    right: tuple[float, float]
    got: tuple[float, float]
    distance: float

    @property
    def other_range(self) -> bool:
        """Whether the range is off by more than two of 255 levels at either end."""
        level = (self.right[1] - self.right[0]) / 255
        return any(abs(a - b) > 2 * level for a, b in zip(self.right, self.got, strict=True))


def compare_inputs(
    reference: Reference,
    right: NDArray[np.float32],
    got: NDArray[np.float32],
    reversed_weights: bool,
) -> InputView:
    """Fit got = right * scale + offset, with the channels as they are or reversed.

    Args:
        reference: the float network.
        right: what it should get, shape (n, size, size, 3).
        got: what it effectively gets.
        reversed_weights: the file's first layer holds its channels in reversed order.
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


def _fit(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float, float]:
    """Least squares y = scale * x + offset over all values, and the variance left over."""
    a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    a_mean, b_mean = a.mean(), b.mean()
    a, b = a - a_mean, b - b_mean
    power = float(a @ a) or 1.0
    scale = float(a @ b) / power
    left = float(np.square(b - scale * a).mean())
    return scale, float(b_mean - scale * a_mean), left + 1e-12
