"""Images that are the same file under several names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from edgezoo.core.files import file_sha256
from edgezoo.images.shards import PARQUET, Member


def repeats(images: Sequence[Path | Member]) -> int:
    """Return how many images have the bytes of an earlier one.

    Only files of equal sizes are read.
    """
    by_size: dict[int, list[Path | Member]] = defaultdict(list)
    for image in images:
        by_size[_size(image)].append(image)
    return sum(_repeats_of(same) for same in by_size.values() if len(same) > 1)


def _size(image: Path | Member) -> int:
    try:
        if not isinstance(image, Member):
            return image.stat().st_size
        # The rows of a parquet file do not tell the sizes of their images.
        return -1 if image.tar.suffix.lower() == PARQUET else image.unpacked or image.size
    except OSError:
        return -1


def _repeats_of(images: list[Path | Member]) -> int:
    seen, count = set[str](), 0
    for image in images:
        try:
            found = file_sha256(image)
        except OSError:
            continue
        count += found in seen
        seen.add(found)
    return count
