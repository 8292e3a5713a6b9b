"""What differs between two variants: the one place that compares accuracies and latencies.

Fronts, recommendations, drops and comparisons of stores all ask here, so that one question has one
answer: accuracies in pairs where the outcome of each image is known, latencies with what sessions
differ by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from edgezoo.evaluation.outcomes import pairs
from edgezoo.measurement import statistics, verdicts
from edgezoo.measurement.statistics import Ratio
from edgezoo.measurement.verdicts import Verdict, Word

if TYPE_CHECKING:
    from edgezoo.reporting.rows import Candidate, Row

Interval = tuple[float, float]
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class AccuracyGap:
    """Top-1 of one variant minus that of another on the same images, in percentage points.

    Attributes:
        z: standard deviations that the gap is away from 0
        paired: whether the outcome of each image was compared
        certain: nothing can differ, or no image has another outcome: chance plays no part
    """

    points: float
    low: float
    high: float
    z: float
    paired: bool
    certain: bool = False

    @property
    def clear(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0


def accuracy_gap(row: Candidate, other: Candidate) -> AccuracyGap | None:
    """Return how much better one variant is; None without accuracies on one list of images."""
    if row.top1 is None or other.top1 is None or row.images_hash != other.images_hash:
        return None
    found = pairs(other.outcomes, row.outcomes)
    if row.top1 == other.top1 and (not found or not found.lost) and is_same_file(row, other):
        return AccuracyGap(0.0, 0.0, 0.0, 0.0, True, True)
    if found is not None:
        drop = found.drop()
        points, low, high = -100 * drop.drop, -100 * drop.high, -100 * drop.low
        return AccuracyGap(points, low, high, -found.z, True, not found.lost + found.won)
    if not row.top1_ci95 or not other.top1_ci95:
        return None
    low, high = difference95(row.top1, row.top1_ci95, other.top1, other.top1_ci95)
    points, spread = 100 * (row.top1 - other.top1), 100 * (high - low) / (2 * Z)
    return AccuracyGap(points, 100 * low, 100 * high, points / spread if spread else 0.0, False)


def is_more_accurate(row: Candidate, other: Candidate) -> bool:
    """Return whether `accuracy_gap` is clear, without the search for the ends of its interval.

    Tango's interval excludes 0 where McNemar's statistic exceeds 1.96: it inverts that test.
    """
    if row.top1 is None or other.top1 is None or row.top1 <= other.top1:
        return False
    found = pairs(other.outcomes, row.outcomes) if row.images_hash == other.images_hash else None
    if found is not None:
        return found.z < -Z
    gap = accuracy_gap(row, other)
    return gap is not None and gap.clear


def difference95(share: float, own: Interval, other: float, other_interval: Interval) -> Interval:
    """Return the 95 % interval of a difference of two shares from their Wilson intervals.

    Method 10 of R. G. Newcombe (Statistics in Medicine 17, 1998), for independent samples. Two
    files scored on the same images differ by less than it allows for: it is wide, not narrow.
    """
    (low, high), (other_low, other_high) = own, other_interval
    gap = share - other
    return (
        gap - math.hypot(share - low, other_high - other),
        gap + math.hypot(high - share, other - other_low),
    )


def is_same_file(row: Candidate, other: Candidate) -> bool:
    """Return whether two variants are one file in one runtime on one kind of device."""
    place = (row.sha256, row.runtime, row.device)
    return place == (other.sha256, other.runtime, other.device)


@dataclass(frozen=True, slots=True)
class LatencyGap:
    """How many times as long one variant takes as another.

    Attributes:
        ratio: its 95 % interval covers what processes and sessions differ by
        own: the same of the runs alone
        floor: what processes, or sessions if these are two, differ by
    """

    ratio: Ratio
    own: Ratio
    floor: float

    @property
    def word(self) -> Word:
        """Verdict."""
        return verdicts.word_for(self.ratio, self.floor)

    @property
    def z(self) -> float:
        """Standard deviations that the logarithm of the ratio is away from 0."""
        half = math.log(self.ratio.high / self.ratio.low) / 2
        distance = math.log(self.ratio.estimate)
        return (
            Z * distance / half
            if half
            else (math.copysign(math.inf, distance) if distance else 0.0)
        )

    def verdict(self, name: str, base: str) -> Verdict:
        """Return the verdict in words."""
        return verdicts.judge(name, base, self.own, self.floor)


def latency_gap(row: Row, other: Row, *, sessions: bool = False) -> LatencyGap:
    """Compare medians of one machine; `sessions`: these are two, whatever their names.

    Estimates are computed, so nothing but their inputs changes them.
    """
    own = statistics.apart(row.median_ms, row.median_ci95, other.median_ms, other.median_ci95)
    floor = max(row.noise_floor, other.noise_floor)
    if row.kind == "measurement" and (sessions or row.session != other.session):
        floor = max(floor, row.between_sessions, other.between_sessions)
    return LatencyGap(verdicts.covering(own, floor), own, floor)
