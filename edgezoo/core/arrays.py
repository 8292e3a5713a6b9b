"""Names for arrays of numbers, and the shapes of weights by one of their axes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.errors import DataError

T = TypeVar("T", bound=np.generic)
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
# Turns RGB pixels 0 to 255, of shape (..., 3), into what a network takes.
Feed = Callable[[Pixels], Floats]


def load_rows(path: Path) -> NDArray[Any]:
    """Map an array that another process wrote into memory, without its pickles.

    Raises:
        DataError: it is no regular file, or no array.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise DataError(f"{path.name}, which a process was to write, is no regular file.")
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}, which a process was to write, is no array.") from error
    return values


def other_axes(values: NDArray[Any], axis: int) -> tuple[int, ...]:
    """Return all axes of an array but one."""
    return tuple(i for i in range(values.ndim) if i != axis)


def along(values: Floats, axis: int, rank: int) -> Floats:
    """Reshape a vector so that it broadcasts along one axis of `rank`."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def rows(values: NDArray[T], axis: int) -> NDArray[T]:
    """Return an array with one row for each index of an axis."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def from_rows(values: NDArray[T], shape: tuple[int, ...], axis: int) -> NDArray[T]:
    """Undo `rows` for an array of this shape."""
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.moveaxis(values.reshape(moved), 0, axis)
