"""Which variants stand on the Pareto front of latency and accuracy, and which are off it by noise.

One pass in the order of latency, so that the work grows with the number of variants, not with its
square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from edgezoo.reporting.gaps import is_more_accurate, latency_gap

if TYPE_CHECKING:
    from edgezoo.reporting.rows import Row

Place = Literal["front", "maybe", "behind", "poor"]


def fronts(found: Iterable[Row], allow_poor: bool = False) -> dict[int, Place]:
    """Return the place of each row with an accuracy among those that it may be compared with."""
    scored = [row for row in found if row.top1 is not None]
    places: dict[int, Place] = {}
    for group in _groups(scored):
        trusted = [row for row in group if allow_poor or row.trust != "poor"]
        places |= dict.fromkeys((row.id for row in group), "poor")
        places |= _places(trusted)
    return places


def _places(group: list[Row]) -> dict[int, Place]:
    """Return the place of each row of one group, by one pass in the order of latency.

    Whatever beats a row is itself on the front or beaten by a row that is, so a row is compared
    with the front alone.
    """
    ordered = sorted(group, key=lambda row: (row.median_ms, -(row.top1 or 0.0)))
    front: list[Row] = []
    places: dict[int, Place] = {}
    for row in ordered:
        last = front[-1] if front else None
        if last is None or not beats(last, row):
            front.append(row)
            places[row.id] = "front"
            continue
        # The most accurate first: it is the most likely to be better beyond noise.
        ahead = (other for other in reversed(front) if beats(other, row))
        places[row.id] = "behind" if any(_clearly(other, row) for other in ahead) else "maybe"
    return places


def _groups(found: Iterable[Row]) -> list[list[Row]]:
    groups: dict[object, list[Row]] = defaultdict(list)
    for row in found:
        groups[_group(row)].append(row)
    return list(groups.values())


def _group(row: Row) -> object:
    return row.machine, row.device, row.kind, row.images_hash


def comparable(row: Row, other: Row) -> bool:
    """Return whether two rows may share a front."""
    return _group(row) == _group(other)


def beats(row: Row, other: Row) -> bool:
    """Return whether one is as fast and as accurate as another, and better in one."""
    if row.top1 is None or other.top1 is None:
        return False
    faster, better = row.median_ms - other.median_ms, row.top1 - other.top1
    return faster <= 0 and better >= 0 and (faster < 0 or better > 0)


def _clearly(row: Row, other: Row) -> bool:
    """Return whether one that beats another does so beyond noise in latency or accuracy."""
    return is_more_accurate(row, other) or latency_gap(row, other).word == "faster"
