"""Which variant to ship, under budgets for latency, size, memory and accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from edgezoo.core.errors import DataError, UsageError, counted
from edgezoo.core.typed_json import Count, shared
from edgezoo.reporting.rows import Candidate, Row, gap_points, latency_verdict

Preference = Literal["accuracy", "latency", "size"]
Statistic = Literal["median", "p90", "p95"]


@dataclass(frozen=True, slots=True)
class Budgets:
    """Bounds that a variant must keep; None sets no bound.

    Attributes:
        min_top1: a share.
        max_drop_points: of top-1 against float32, in percentage points.
        statistic: the latency that `max_latency_ms` bounds.
        sure: whole 95 % intervals must keep the bounds, not only the figures.
    """

    max_latency_ms: float | None = None
    max_bytes: int | None = None
    max_memory_mb: float | None = None
    min_top1: float | None = None
    max_drop_points: float | None = None
    statistic: Statistic = "median"
    sure: bool = False


_BOUNDS = tuple(f.name for f in fields(Budgets) if f.name not in ("statistic", "sure"))


@dataclass(frozen=True, slots=True)
class Alternative:
    """What fits without one bound.

    Attributes:
        without: the bound
        variant: the one that breaks it by the least
    """

    without: str
    variant: Candidate


@dataclass(frozen=True, slots=True)
class RecommendResult:
    """The best variant under budgets.

    Attributes:
        statistic: the latency that --max-latency-ms bounds
        choice: null where nothing fits; then the exit code is 6
        misses: variants that break a bound, by the bound
        alternatives: where nothing fits
    """

    statistic: Statistic
    choice: Candidate | None
    runner_up: Candidate | None
    why: tuple[str, ...]
    fitting: Count
    considered: Count
    misses: dict[str, Count]
    alternatives: tuple[Alternative, ...]


def recommend(
    found: Sequence[Row],
    budgets: Budgets,
    prefer: Preference = "accuracy",
    machine: str | None = None,
    images: str | None = None,
) -> RecommendResult:
    """Return the best variant under budgets, the runner-up, and why.

    Args:
        found: of `edgezoo.reporting.rows.rows`; estimates are ignored.
        budgets: bounds to keep.
        prefer: what is best among those that keep them.
        machine: part of the name of the machine, where there are several.
        images: beginning of the hash of the images of the accuracies, where there are several;
            variants without an accuracy stay.

    Raises:
        UsageError: `sure` with a statistic without an interval; figures of several machines, or
            accuracies on several lists of images that would be compared, and none was named.
        DataError: no figures, or none of accuracy where those decide.
    """
    if budgets.sure and budgets.statistic != "median":
        raise UsageError(
            f"--sure needs whole intervals, and the {budgets.statistic} has none.",
            "Leave --sure out, or bound the median.",
        )
    considered = _of_one_machine([r for r in found if r.kind == "measurement"], machine)
    needs_top1 = prefer == "accuracy" or budgets.min_top1 is not None
    counts = needs_top1 or budgets.max_drop_points is not None
    considered = _of_one_list(considered, images, counts)
    if needs_top1 and all(row.top1 is None for row in considered):
        raise DataError(
            "No variant has an accuracy to choose by.",
            "Give edgezoo benchmark --images DIR, or choose with --prefer latency or size.",
        )
    scored = [row for row in considered if prefer != "accuracy" or row.top1 is not None]
    fitting = [row for row in scored if not _misses(row, budgets)]
    fitting.sort(key=partial(_order, prefer))
    choice, runner_up = (*fitting, None, None)[:2]
    return RecommendResult(
        statistic=budgets.statistic,
        choice=choice and _candidate(choice),
        runner_up=runner_up and _candidate(runner_up),
        why=tuple(_why(choice, runner_up, considered, fitting, prefer)) if choice else (),
        fitting=len(fitting),
        considered=len(considered),
        misses=Counter(name for row in considered for name in _misses(row, budgets)),
        alternatives=() if choice else tuple(_alternatives(considered, budgets)),
    )


def _of_one_machine(measured: list[Row], machine: str | None) -> list[Row]:
    if not measured:
        raise DataError("There are no measurements.", "Run edgezoo benchmark first.")
    names = list(dict.fromkeys(row.machine for row in measured))
    chosen = [name for name in names if machine is None or machine.lower() in name.lower()]
    fix = f"Give --machine a part of one of these: {'; '.join(names)}."
    if not chosen:
        raise UsageError(f"No machine in the results matches {machine!r}.", fix)
    if len(chosen) > 1:
        which = f"match {machine!r}" if machine else "are in the results"
        text = f"{len(chosen)} machines {which}; figures of different machines are not mixed."
        raise UsageError(text, fix)
    return [row for row in measured if row.machine == chosen[0]]


def _of_one_list(measured: list[Row], wanted: str | None, counts: bool) -> list[Row]:
    """Return the variants scored on one list of images, and those without an accuracy.

    `wanted` is the beginning of the list's hash; `counts`: accuracies of several would be compared.
    """
    lists = {row.images_hash: row.image_list for row in measured if row.top1 is not None}
    known = "; ".join(f"{hash} ({name})" for hash, name in lists.items())
    chosen = [hash for hash in lists if wanted is None or str(hash).startswith(wanted.lower())]
    if wanted is not None and not chosen:
        raise UsageError(
            f"No list of images in the results begins with {wanted!r}.",
            f"Give --image-list the beginning of one of these: {known or 'none has accuracies'}.",
        )
    if len(chosen) > 1 and (counts or wanted is not None):
        which = f"begin with {wanted!r}" if wanted else "are in the results"
        raise UsageError(
            f"{len(chosen)} lists of images {which}; accuracies on different images are not mixed.",
            f"Give --image-list the beginning of one of these: {known}. "
            "Or choose with --prefer latency or size, without a bound for accuracy.",
        )
    if len(chosen) > 1:
        return measured
    return [r for r in measured if r.top1 is None or r.images_hash in chosen]


def _figures(row: Row, budgets: Budgets) -> dict[str, float | None]:
    """Return what each bound applies to; with `sure`, the unfavourable end of its interval."""
    latency, top1, drop = getattr(row, f"{budgets.statistic}_ms"), row.top1, row.drop_points
    if budgets.sure:
        latency = row.median_ci95[1]
        top1 = row.top1_ci95[0] if row.top1_ci95 else None
        drop = row.drop_points_ci95[1] if row.drop_points_ci95 else None
    if row.precision == "float32" and row.top1 is not None:
        drop = 0.0
    return {
        "max_latency_ms": latency,
        "max_bytes": row.bytes,
        "max_memory_mb": row.peak_rss_mb,
        "min_top1": top1,
        "max_drop_points": drop,
    }


def _misses(row: Row, budgets: Budgets) -> list[str]:
    """Return the bounds that a variant breaks; an unknown figure breaks its bound."""
    bounds = {name: getattr(budgets, name) for name in _BOUNDS}
    figures = _figures(row, budgets)
    return [n for n, bound in bounds.items() if bound is not None and _breaks(n, figures[n], bound)]


def _breaks(name: str, value: float | None, bound: float) -> bool:
    return value is None or (value < bound if name == "min_top1" else value > bound)


def _order(prefer: Preference, row: Row) -> tuple[float, ...]:
    top1 = -(row.top1 if row.top1 is not None else -1.0)
    return {
        "accuracy": (top1, row.median_ms, row.bytes),
        "latency": (row.median_ms, top1, row.bytes),
        "size": (row.bytes, top1, row.median_ms),
    }[prefer]


def _why(
    choice: Row, other: Row | None, considered: list[Row], fitting: list[Row], prefer: Preference
) -> list[str]:
    """Return sentences that an engineer can check."""
    best = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}[prefer]
    texts = [
        f"It is the {best} of {counted(len(fitting), 'variant')} within the budgets, "
        f"of {len(considered)} that were measured."
    ]
    ahead = int(choice.beaten_by, 16)
    if any(ahead >> row.id & 1 for row in fitting):
        texts.append("Another variant is at least as fast and as accurate, but its file is larger.")
    elif any(ahead >> row.id & 1 for row in considered):
        texts.append("Another variant is at least as fast and as accurate, but breaks a bound.")
    if other is not None:
        texts += _against(choice, other)
    if choice.trust != "good":
        texts.append(f"Trust in its latency: {choice.trust}. {' '.join(choice.reasons)}")
    if choice.trained is False:
        texts.append("Its weights are untrained: its accuracy means nothing.")
    return texts


def _against(choice: Row, other: Row) -> list[str]:
    verdict = latency_verdict(choice, other, "It", "the runner-up")
    texts = [verdict.text.replace("than It", "than it") + "."]
    gap = gap_points(choice, other)
    if gap is not None and choice.images_hash != other.images_hash:
        texts.append("Their accuracies were measured on different images, and are not compared.")
    elif gap is not None:
        points, low, high = gap
        sure = "" if low > 0 or high < 0 else "; these images cannot distinguish the two"
        texts.append(
            f"Its top-1 is {points:+.1f} points from the runner-up's "
            f"(95 %: {low:+.1f} to {high:+.1f}{sure})."
        )
    share = choice.bytes / other.bytes
    return [*texts, f"Its file is {share:.2f} times the size of the runner-up's."]


def _alternatives(considered: list[Row], budgets: Budgets) -> list[Alternative]:
    """Return what fits without one of the bounds, for each bound."""
    found, unsure = [], replace(budgets, sure=False)
    for name in _BOUNDS:
        fitting = [row for row in considered if set(_misses(row, budgets)) <= {name}]
        if getattr(budgets, name) is not None and fitting:
            nearest = min(fitting, key=partial(_excess, name, unsure))
            found.append(Alternative(name, _candidate(nearest)))
    return found


def _excess(bound: str, budgets: Budgets, row: Row) -> tuple[bool, float]:
    """Return what orders by how little a bound is broken; unknown figures come last."""
    value = row.drop_points if bound == "max_drop_points" else _figures(row, budgets)[bound]
    return value is None, (-1 if bound == "min_top1" else 1) * (value or 0)


def _candidate(row: Row) -> Candidate:
    return Candidate(**shared(row, Candidate))
