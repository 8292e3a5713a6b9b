"""Names for arrays of numbers, and the shapes of weights by one of their axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def other_axes(values: Floats, axis: int) -> tuple[int, ...]:
    """Return all axes of an array but one."""
    return tuple(i for i in range(values.ndim) if i != axis)


def along(values: Floats, axis: int, rank: int) -> Floats:
    """Reshape a vector so that it broadcasts along one axis of `rank`."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def rows(values: Floats, axis: int) -> Floats:
    """Return an array with one row for each index of an axis."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
