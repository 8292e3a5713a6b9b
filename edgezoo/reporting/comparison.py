"""Compares two results stores: what became slower, less accurate, larger or broken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, TypeVar

from edgezoo.core.typed_json import Share, shared
from edgezoo.evaluation.drop import EQUAL_WITHIN
from edgezoo.measurement import verdicts
from edgezoo.measurement.statistics import Ratio
from edgezoo.measurement.trust import Level
from edgezoo.reporting.gaps import Interval, accuracy_gap, latency_gap
from edgezoo.reporting.matching import failed_label, label, match
from edgezoo.reporting.rows import Contents, Row, contents
from edgezoo.results.record import GridPlace, Record

LEVEL = 0.05
# Less is metadata: a label, a version, another name of a layer.
GROWTH = 0.03
EQUAL_WITHIN_POINTS = 100 * EQUAL_WITHIN
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
        ci95: covers what the two sessions differ by without a cause
        floor: that difference, as a share: 5 %, a noise floor, or what repeats in the stores show
        trust: before and after
    """

    what: Literal["latency"] = "latency"
    change: float
    ci95: Interval
    floor: float
    trust: tuple[Level, Level]

    def judge(self, p: float, equal_within_points: float) -> Verdict:
        """Return the verdict, by the adjusted p-value."""
        if p < LEVEL and "poor" not in self.trust:
            return "worse" if self.change > 1 else "better"
        alike = verdicts.word_for(Ratio(self.change, *self.ci95, 0), self.floor) == "same"
        return "same" if alike and p >= LEVEL else "cannot tell"

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
        paired: whether the outcome of each image was compared; false where a record has none
        certain: no image has another outcome
    """

    what: Literal["top-1"] = "top-1"
    change_points: float
    change_points_ci95: Interval
    paired: bool
    certain: bool

    def judge(self, p: float, equal_within_points: float) -> Verdict:
        """Return the verdict, by the adjusted p-value."""
        low, high = self.change_points_ci95
        if -equal_within_points <= low and high <= equal_within_points:
            return "same"
        if p >= LEVEL:
            return "cannot tell"
        return "worse" if self.change_points < 0 else "better"

    def __str__(self) -> str:
        low, high = self.change_points_ci95
        points = f"{self.change_points:+.1f} points (95 %: {low:+.1f} to {high:+.1f})"
        how = "" if self.paired else ", not in pairs: a record has no outcomes"
        return f"top-1 changed by {points}{how}"


@dataclass(frozen=True, slots=True)
class ComparedVariant:
    """A variant of both stores.

    Attributes:
        variant: its place in the grid
        file: name of the file that was given; null for a variant of a grid
        machine: of the second store
        verdict: worse if anything is; better if something is and nothing is worse
        size: verdict on the bytes
        bytes, runtime: before and after
        same_file: whether the file has the same SHA-256
        reasons: why something was not compared
    """

    name: str
    variant: GridPlace
    file: str | None
    machine: str
    verdict: Verdict
    latency: LatencyChange | None
    accuracy: AccuracyChange | None
    size: Verdict
    bytes: tuple[int, int]
    runtime: tuple[str | None, str | None]
    same_file: bool
    reasons: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[tuple[str, Verdict, str], ...]:
        """What was judged, with its verdict and a sentence."""
        changes = [c for c in (self.latency, self.accuracy) if c is not None]
        size = f"the file has {self.bytes[1]} bytes after {self.bytes[0]}"
        return (*((c.what, c.verdict, str(c)) for c in changes), ("size", self.size, size))


@dataclass(frozen=True, slots=True)
class BrokenVariant:
    """A variant that had figures before, and failed after."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class StoreComparison:
    """Two results stores, before and after.

    Attributes:
        warnings: latencies that changed, with poor trust in one of the two
        unsure: what may have changed by more than matters, and is not proved
        broken: variants that failed, which are regressions too
    """

    variants: tuple[ComparedVariant, ...]
    broken: tuple[BrokenVariant, ...]
    regressions: tuple[str, ...]
    improvements: tuple[str, ...]
    warnings: tuple[str, ...]
    unsure: tuple[str, ...]
    not_compared: tuple[str, ...]


def compare(
    before: Iterable[Record],
    after: Iterable[Record],
    equal_within_points: float = EQUAL_WITHIN_POINTS,
) -> StoreComparison:
    """Compare the records of two stores; see `compare_contents`."""
    return compare_contents(contents(before), contents(after), equal_within_points)


def compare_contents(
    before: Contents, after: Contents, equal_within_points: float = EQUAL_WITHIN_POINTS
) -> StoreComparison:
    """Match variants of two stores, see `matching.match`, and judge what changed.

    Latencies are compared on the same machine only, accuracies on the same images only, in pairs
    where both records have the outcome of each image. The interval of a latency covers what two
    sessions of one file differ by. Where the trust in one of two latencies is poor, a change is a
    warning, neither a regression nor an improvement. "same" is said of what is proved to be within
    `equal_within_points`, or within twice the floor of a latency. A file counts as larger or
    smaller beyond `GROWTH`. Memory is not judged.
    """
    found = match(before, after)
    entries = _adjusted([_entry(a, b) for a, b in found.pairs], equal_within_points)
    if len({entry.machine for entry in entries}) > 1:
        entries = [replace(e, name=f"{e.name} on {e.machine}") for e in entries]
    texts: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        for change in (entry.latency, entry.accuracy):
            if change is not None:
                texts[_heading(change)].append(f"{entry.name}: {change}")
        *_, (_, verdict, text) = entry.verdicts
        texts[verdict].append(f"{entry.name}: {text}")
    broken = [BrokenVariant(failed_label(r), r.error.message) for r in found.broken]
    texts["worse"] += [f"{variant.name}: {variant.message}" for variant in broken]
    return StoreComparison(
        variants=tuple(entries),
        broken=tuple(broken),
        regressions=tuple(texts["worse"]),
        improvements=tuple(texts["better"]),
        warnings=tuple(texts["poor"]),
        unsure=tuple(texts["cannot tell"]),
        not_compared=tuple(found.alone),
    )


def _heading(change: LatencyChange | AccuracyChange) -> str:
    changed = change.p_adjusted < LEVEL and change.verdict == "cannot tell"
    return "poor" if changed else change.verdict


def _entry(a: Row, b: Row) -> ComparedVariant:
    reasons = []
    latency = accuracy = None
    if a.machine == b.machine:
        latency = _latency(a, b)
    else:
        reasons.append(f"measured on {a.machine} and {b.machine}")
    if a.top1 is not None and b.top1 is not None:
        accuracy = _accuracy(a, b)
        if a.images_hash != b.images_hash:
            reasons.append("scored on other images")
    return ComparedVariant(
        name=label(b),
        variant=GridPlace(**shared(b, GridPlace)),
        file=b.file,
        machine=b.machine,
        verdict="same",
        latency=latency,
        accuracy=accuracy,
        size=_size(a.bytes, b.bytes),
        bytes=(a.bytes, b.bytes),
        runtime=(a.runtime, b.runtime),
        same_file=a.sha256 == b.sha256,
        reasons=tuple(reasons),
    )


def _size(small: int, large: int) -> Verdict:
    if abs(large - small) <= GROWTH * small:
        return "same"
    return "worse" if large > small else "better"


_SEVERITY: tuple[Verdict, ...] = ("worse", "better", "cannot tell", "same")


def _summed_up(entry: ComparedVariant) -> ComparedVariant:
    """Return the variant with the verdict that matters most of all that was judged."""
    return replace(entry, verdict=min((v for _, v, _ in entry.verdicts), key=_SEVERITY.index))


def _latency(a: Row, b: Row) -> LatencyChange:
    gap = latency_gap(b, a, sessions=True)
    return LatencyChange(
        before=a.median_ms,
        after=b.median_ms,
        change=gap.ratio.estimate,
        ci95=(gap.ratio.low, gap.ratio.high),
        p=_p(gap.z),
        floor=gap.floor,
        trust=(a.trust, b.trust),
    )


def _accuracy(a: Row, b: Row) -> AccuracyChange | None:
    gap = accuracy_gap(b, a)
    if gap is None or a.top1 is None or b.top1 is None:
        return None
    return AccuracyChange(
        before=a.top1,
        after=b.top1,
        change_points=gap.points,
        change_points_ci95=(gap.low, gap.high),
        p=_p(gap.z),
        paired=gap.paired,
        certain=gap.certain,
    )


def _p(z: float) -> float:
    """Return the two-sided p-value of a standard normal figure."""
    return 2 * (1 - NormalDist().cdf(abs(z)))


Change = TypeVar("Change", LatencyChange, AccuracyChange)


def _adjusted(entries: list[ComparedVariant], equal_within_points: float) -> list[ComparedVariant]:
    """Return the variants with Holm's step-down adjustment of all p-values, and verdicts.

    With many variants some differ by chance (S. Holm, Scandinavian Journal of Statistics 6, 1979).
    What cannot be significant, such as accuracies without one image of another outcome, does not
    count (R. E. Tarone, Biometrics 46, 1990).
    """
    changes = [c for e in entries for c in (e.latency, e.accuracy) if c is not None]
    values = sorted(c.p for c in changes if not (isinstance(c, AccuracyChange) and c.certain))
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
        p = by_p.get(change.p, 1.0)
        return replace(change, p_adjusted=p, verdict=change.judge(p, equal_within_points))

    return [
        _summed_up(replace(e, latency=judged(e.latency), accuracy=judged(e.accuracy)))
        for e in entries
    ]
