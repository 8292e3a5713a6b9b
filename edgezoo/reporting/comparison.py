"""Compares two results stores: what became slower, less accurate, larger or broken."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, TypeVar

from edgezoo.core.typed_json import Share
from edgezoo.measurement import statistics
from edgezoo.measurement.trust import Level
from edgezoo.reporting.matching import failed_label, label, match
from edgezoo.reporting.rows import Interval, Row, gap_points, rows
from edgezoo.results.record import Record

LEVEL = 0.05
# Processes, memory and clock differ from session to session, and the A/A check within one cannot
# see it. MLPerf Mobile too treats repeats within 5 % as equal.
BETWEEN_SESSIONS = 0.05
# Less is metadata: a label, a version, another name of a layer.
GROWTH = 0.03
_Z = NormalDist().inv_cdf(0.975)
Verdict = Literal["better", "worse", "same", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A figure after against before.

    Attributes:
        before, after: milliseconds, or shares of images
        p_adjusted: by Holm
    """

    before: float
    after: float
    p: Share
    p_adjusted: Share = 1.0
    verdict: Verdict = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyChange(_Change):
    """Median latency after against before.

    Attributes:
        change: ratio of the two
        floor: smallest change that counts: noise floors of both sessions, and what sessions differ
            by
        trust: before and after
    """

    what: Literal["latency"] = "latency"
    change: float
    ci95: Interval
    floor: float
    trust: tuple[Level, Level]

    def judge(self) -> Verdict:
        """Return the verdict on a change that is not due to chance."""
        if abs(math.log(self.change)) <= math.log1p(self.floor):
            return "same"
        if "poor" in self.trust:
            return "cannot tell"
        return "worse" if self.change > 1 else "better"

    def __str__(self) -> str:
        low, high = self.ci95
        unsure = ": cannot tell" if self.verdict == "cannot tell" else ""
        return (
            f"{self.change:.2f} times the latency (95 %: {low:.2f} to {high:.2f}), "
            f"{self.before:.3f} to {self.after:.3f} ms; "
            f"trust {self.trust[0]} before, {self.trust[1]} after{unsure}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange(_Change):
    """Top-1 accuracy after against before, on the same images.

    Attributes:
        change_points: difference of the two, in percentage points
    """

    what: Literal["top-1"] = "top-1"
    change_points: float
    change_points_ci95: Interval

    def judge(self) -> Verdict:
        """Return the verdict on a change that is not due to chance."""
        return "worse" if self.change_points < 0 else "better"

    def __str__(self) -> str:
        low, high = self.change_points_ci95
        points = f"{self.change_points:+.1f} points (95 %: {low:+.1f} to {high:+.1f})"
        return f"top-1 changed by {points}"


@dataclass(frozen=True, slots=True)
class ComparedVariant:
    """A variant of both stores.

    Attributes:
        bytes, runtime: before and after
        reasons: why something was not compared
    """

    name: str
    latency: LatencyChange | None
    accuracy: AccuracyChange | None
    bytes: tuple[int, int]
    runtime: tuple[str | None, str | None]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreComparison:
    """Two results stores, before and after.

    Attributes:
        warnings: latencies that changed, with poor trust in one of the two
    """

    variants: tuple[ComparedVariant, ...]
    regressions: tuple[str, ...]
    improvements: tuple[str, ...]
    warnings: tuple[str, ...]
    not_compared: tuple[str, ...]


def compare(before: Sequence[Record], after: Sequence[Record]) -> StoreComparison:
    """Match variants of two stores, see `matching.match`, and judge what changed.

    Latencies are compared on the same machine only, accuracies on the same images only. A latency
    must change by more than both noise floors and than what two sessions of one file differ by:
    `BETWEEN_SESSIONS`, or more where a store holds repeats that differ by more. Where the trust in
    one of two latencies is poor, such a change is a warning, neither a regression nor an
    improvement. A file counts as larger or smaller beyond `GROWTH`. Memory is not judged.
    """
    found = match(before, after)
    repeats = max(_repeats(rows(before)), _repeats(rows(after)))
    entries = _adjusted([_entry(a, b, repeats) for a, b in found.pairs])
    texts: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        for change in (entry.latency, entry.accuracy):
            if change is not None:
                texts[change.verdict].append(f"{entry.name}: {change}")
        small, large = entry.bytes
        if abs(large - small) > GROWTH * small:
            text = f"{entry.name}: the file has {large} bytes after {small}"
            texts["worse" if large > small else "better"].append(text)
    texts["worse"] += [f"{failed_label(r)}: {r.error.message}" for r in found.broken]
    worse, better, unsure = (tuple(texts[word]) for word in ("worse", "better", "cannot tell"))
    return StoreComparison(tuple(entries), worse, better, unsure, tuple(found.alone))


def _repeats(found: Sequence[Row]) -> float:
    """Return by how much sessions of one file in one store differed at most, as a share."""
    medians: dict[tuple[object, ...], dict[str, float]] = {}
    for row in found:
        if row.kind == "measurement" and row.trust != "poor":
            place = (row.sha256, row.machine, row.device, row.threads, row.runtime)
            medians.setdefault(place, {})[row.session] = row.median_ms
    return max((max(m.values()) / min(m.values()) - 1 for m in medians.values()), default=0.0)


def _entry(a: Row, b: Row, repeats: float) -> ComparedVariant:
    reasons = []
    latency = accuracy = None
    if a.machine == b.machine:
        latency = _latency(a, b, repeats)
    else:
        reasons.append(f"measured on {a.machine} and {b.machine}")
    if a.top1 is not None and b.top1 is not None:
        if a.images_hash == b.images_hash:
            accuracy = _accuracy(a, b)
        else:
            reasons.append("scored on other images")
    sizes, runtimes = (a.bytes, b.bytes), (a.runtime, b.runtime)
    return ComparedVariant(label(b), latency, accuracy, sizes, runtimes, tuple(reasons))


def _latency(a: Row, b: Row, repeats: float) -> LatencyChange:
    ratio = statistics.apart(b.median_ms, b.median_ci95, a.median_ms, a.median_ci95)
    spread = (math.log(ratio.high) - math.log(ratio.low)) / (2 * _Z)
    floor = max(a.noise_floor, b.noise_floor)
    if a.kind == "measurement":
        floor = max(floor, BETWEEN_SESSIONS, repeats)
    return LatencyChange(
        before=a.median_ms,
        after=b.median_ms,
        change=ratio.estimate,
        ci95=(ratio.low, ratio.high),
        p=_p(math.log(ratio.estimate), spread),
        floor=floor,
        trust=(a.trust, b.trust),
    )


def _accuracy(a: Row, b: Row) -> AccuracyChange | None:
    gap = gap_points(b, a)
    if gap is None or a.top1 is None or b.top1 is None:
        return None
    points, low, high = gap
    return AccuracyChange(
        before=a.top1,
        after=b.top1,
        change_points=points,
        change_points_ci95=(low, high),
        p=_p(points, (high - low) / (2 * _Z)),
    )


def _p(gap: float, spread: float) -> float:
    """Return the two-sided p-value of a gap that is taken as normal."""
    if spread <= 0:
        return 1.0 if gap == 0 else 0.0
    return 2 * (1 - NormalDist().cdf(abs(gap) / spread))


Change = TypeVar("Change", LatencyChange, AccuracyChange)


def _adjusted(entries: list[ComparedVariant]) -> list[ComparedVariant]:
    """Return the variants with Holm's step-down adjustment of all p-values, and verdicts.

    With many variants some differ by chance (S. Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    values = sorted(c.p for e in entries for c in (e.latency, e.accuracy) if c is not None)
    # The smallest of m p-values counts m times, the next m - 1 times and so on; an adjusted value
    # is never below that of a smaller p-value.
    highest = 0.0
    by_p: dict[float, float] = {}
    for rank, p in enumerate(values):
        highest = max(highest, min(1.0, p * (len(values) - rank)))
        by_p.setdefault(p, highest)

    def judged(change: Change | None) -> Change | None:
        if change is None:
            return None
        p = by_p[change.p]
        return replace(change, p_adjusted=p, verdict=change.judge() if p < LEVEL else "same")

    return [replace(e, latency=judged(e.latency), accuracy=judged(e.accuracy)) for e in entries]
