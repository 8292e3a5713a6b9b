"""The outcome of each image, a bit each, so that two evaluations can be compared in pairs later.

650 images take 82 bytes, 112 characters in JSON. Two files that were scored on the same images at
different times then have the narrow interval of `edgezoo.evaluation.drop`, as if they had been
scored together.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.typed_json import Length, Range, optional
from edgezoo.evaluation import drop
from edgezoo.evaluation.drop import Drop

_MOST = 10_000_000
Bits = Annotated[str, Length(_MOST)]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Whether each image was classified correctly.

    Attributes:
        images: listed, readable or not
        labels_hash: of the names of the images and their classes, in order
        correct: a bit per image in the order of the list, the first is the highest of the first
            byte; base64
        unreadable: the same of images that could not be read; absent where all could
    """

    images: Annotated[int, Range(1, _MOST)]
    labels_hash: str
    correct: Bits
    unreadable: Bits | None = optional()

    def __post_init__(self) -> None:
        right, unread = (_checked(text, self.images) for text in (self.correct, self.unreadable))
        if right & unread:
            raise ValueError("an image is both unreadable and classified correctly")

    @property
    def hits(self) -> int:
        """Images that were classified correctly."""
        return _number(self.correct).bit_count()


def labels_hash(entries: Iterable[tuple[str, str]]) -> str:
    """Return the hash of a list of images: name and class of each, in order."""
    state = hashlib.sha256()
    for name, label in entries:
        state.update(f"{name}\0{label}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()[:16]


def outcomes(correct: NDArray[np.bool_], readable: NDArray[np.bool_], labels: str) -> Outcomes:
    """Return the outcomes of images, arrays of shape (images,); `labels` is of `labels_hash`."""
    unreadable = None if readable.all() else _packed(~readable)
    return Outcomes(len(correct), labels, _packed(correct & readable), unreadable)


def _packed(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


@lru_cache(maxsize=4096)
def _number(text: str | None) -> int:
    """Return bits as one integer, whose bits Python counts faster than those of an array."""
    return int.from_bytes(base64.b64decode(text or "", validate=True))


def _checked(text: str | None, images: int) -> int:
    """Return bits as one integer; ValueError unless there is one for each image."""
    if text is None:
        return 0
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the outcomes are not base64") from error
    number, padding = int.from_bytes(raw), 8 * len(raw) - images
    if not 0 <= padding < 8 or number & ((1 << padding) - 1):
        raise ValueError("there is not a bit for each image")
    return number


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images that only one of two files classifies correctly, among those that both could read."""

    lost: int
    won: int
    images: int

    @property
    def z(self) -> float:
        """McNemar's statistic of lost - won: Tango's where the true difference is 0."""
        return (self.lost - self.won) / math.sqrt(max(1, self.lost + self.won))

    def drop(self) -> Drop:
        """Return the drop from the first file to the second with its interval."""
        low, high = drop.paired_interval(self.lost, self.won, self.images, 0.95)
        return Drop(self.lost, self.won, self.images, low, high)


def pairs(reference: Outcomes | None, candidate: Outcomes | None) -> Pairs | None:
    """Return what differs between two files; None unless both have the outcomes of one list."""
    if reference is None or candidate is None:
        return None
    if reference.labels_hash != candidate.labels_hash or reference.images != candidate.images:
        return None
    read = ~(_number(reference.unreadable) | _number(candidate.unreadable))
    first, second = _number(reference.correct) & read, _number(candidate.correct) & read
    images = reference.images - (~read).bit_count()
    if images <= 0:
        return None
    return Pairs((first & ~second).bit_count(), (second & ~first).bit_count(), images)
