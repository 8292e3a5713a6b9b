"""Which variant to ship, under budgets for latency, size, memory and accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from edgezoo.core.errors import DataError, UsageError, counted
from edgezoo.core.typed_json import Count
from edgezoo.reporting.budgets import (
    Alternative,
    Budgets,
    Nearest,
    Statistic,
    candidate,
    misses_of,
    nearest_to,
    without_a_bound,
)
from edgezoo.reporting.comparison import EQUAL_WITHIN_POINTS
from edgezoo.reporting.fronts import beats, comparable
from edgezoo.reporting.gaps import accuracy_gap, latency_gap
from edgezoo.reporting.rows import Candidate, Row

Preference = Literal["accuracy", "latency", "size"]


@dataclass(frozen=True, slots=True)
class RecommendResult:
    """The best variant under budgets.

    Attributes:
        statistic: the latency that --max-latency-ms bounds
        choice: null where nothing fits; then the exit code is 6
        misses: variants that break a bound, by the bound
        alternatives: what fits without one bound, where nothing fits
        nearest: where nothing fits, the variant that breaks the bounds by the least
        runner_up: the best variant of another file
        equal_within_points: a difference of top-1 that does not matter, percentage points
        left_out: variants with poor trust in their latency, which are chosen only if asked
    """

    statistic: Statistic
    choice: Candidate | None
    runner_up: Candidate | None
    why: tuple[str, ...]
    fitting: Count
    considered: Count
    misses: dict[str, Count]
    alternatives: tuple[Alternative, ...]
    nearest: Nearest | None
    equal_within_points: float
    left_out: Count


def recommend(
    found: Sequence[Row],
    budgets: Budgets,
    prefer: Preference = "accuracy",
    machine: str | None = None,
    images: str | None = None,
    *,
    equal_within_points: float = EQUAL_WITHIN_POINTS,
    allow_poor: bool = False,
) -> RecommendResult:
    """Return the best variant under budgets, the runner-up, and why.

    Args:
        found: of `edgezoo.reporting.rows.rows`; estimates are ignored.
        budgets: bounds to keep.
        prefer: what is best among those that keep them.
        machine: part of the name of the machine, where there are several.
        images: beginning of the hash of the images of the accuracies, where there are several;
            variants without an accuracy stay.
        equal_within_points: a difference of top-1 that does not matter; the faster one wins then.
        allow_poor: choose also among latencies with poor trust.

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
    trusted = [row for row in considered if allow_poor or row.trust != "poor"]
    left_out, considered = len(considered) - len(trusted), trusted
    scored = [row for row in considered if prefer != "accuracy" or row.top1 is not None]
    fitting = [row for row in scored if not misses_of(row, budgets)]
    choice = _best(fitting, prefer, equal_within_points)
    others = [row for row in fitting if choice and row.sha256 != choice.sha256]
    runner_up = _best(others, prefer, equal_within_points)
    return RecommendResult(
        statistic=budgets.statistic,
        choice=choice and candidate(choice),
        runner_up=runner_up and candidate(runner_up),
        why=tuple(_why(choice, runner_up, considered, fitting, prefer, equal_within_points))
        if choice
        else (),
        fitting=len(fitting),
        considered=len(considered),
        misses=Counter(name for row in considered for name in misses_of(row, budgets)),
        alternatives=() if choice else tuple(without_a_bound(considered, budgets)),
        nearest=None if choice or not considered else nearest_to(considered, budgets),
        equal_within_points=equal_within_points,
        left_out=left_out,
    )


def _best(found: Sequence[Row], prefer: Preference, equal_within_points: float) -> Row | None:
    """Return the best variant; of those that are as good as the first, the best in the rest.

    Accuracies within `equal_within_points` are equal, and latencies that no measurement can tell
    apart.
    """
    if not found:
        return None
    first = min(found, key=partial(_order, prefer))
    return min(_ties(first, found, prefer, equal_within_points), key=partial(_second, prefer))


def _ties(
    first: Row, found: Sequence[Row], prefer: Preference, equal_within_points: float
) -> list[Row]:
    """Return the variants that are as good as the first one in what is preferred."""
    if prefer == "accuracy":
        least = (first.top1 or 0.0) - equal_within_points / 100 - 1e-9
        return [row for row in found if row.top1 is not None and row.top1 >= least]
    if prefer == "latency" and equal_within_points:
        return [r for r in found if r is first or latency_gap(r, first).word == "same"]
    key = _order(prefer, first)[0]
    return [row for row in found if _order(prefer, row)[0] == key]


def _second(prefer: Preference, row: Row) -> tuple[float, ...]:
    first, *rest = _order(prefer, row)
    return (*rest, first)


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


def _order(prefer: Preference, row: Row) -> tuple[float, ...]:
    top1 = -(row.top1 if row.top1 is not None else -1.0)
    return {
        "accuracy": (top1, row.median_ms, row.bytes),
        "latency": (row.median_ms, top1, row.bytes),
        "size": (row.bytes, top1, row.median_ms),
    }[prefer]


def _why(
    choice: Row,
    other: Row | None,
    considered: list[Row],
    fitting: list[Row],
    prefer: Preference,
    equal_within_points: float,
) -> list[str]:
    """Return sentences that an engineer can check."""
    best = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}[prefer]
    texts = [
        f"It is the {best} of {counted(len(fitting), 'variant')} within the budgets, "
        f"of {len(considered)} that were measured."
    ]
    equal = len(
        _ties(min(fitting, key=partial(_order, prefer)), fitting, prefer, equal_within_points)
    )
    if equal > 1 and prefer != "size":
        within = (
            f"within {equal_within_points:g} points of each other"
            if prefer == "accuracy"
            else ("that noise does not tell apart")
        )
        then = "fastest" if prefer == "accuracy" else "most accurate"
        texts[0] = (
            f"It is the {then} of the {equal} {best} variants, {within}, of "
            f"{counted(len(fitting), 'variant')} within the budgets and {len(considered)} that "
            "were measured."
        )
    if any(comparable(row, choice) and beats(row, choice) for row in fitting):
        texts.append("Another variant is at least as fast and as accurate, but its file is larger.")
    elif any(comparable(row, choice) and beats(row, choice) for row in considered):
        texts.append("Another variant is at least as fast and as accurate, but breaks a bound.")
    if other is not None:
        texts += _against(choice, other)
    if choice.trust != "good":
        texts.append(f"Trust in its latency: {choice.trust}. {' '.join(choice.reasons)}")
    if choice.trained is False:
        texts.append("Its weights are untrained: its accuracy means nothing.")
    return texts


def _against(choice: Row, other: Row) -> list[str]:
    gap = latency_gap(choice, other)
    verdict = gap.verdict("It", "the runner-up")
    texts = [verdict.text.replace("than It", "than it") + "."]
    if choice.session != other.session:
        texts.append(
            f"They were measured in two sessions, which differ by up to {100 * gap.floor:.1f} %."
        )
    if choice.images_hash != other.images_hash and None not in (choice.top1, other.top1):
        texts.append("Their accuracies were measured on different images, and are not compared.")
    elif found := accuracy_gap(choice, other):
        sure = (
            "" if found.low > 0 or found.high < 0 else "; these images cannot distinguish the two"
        )
        how = "" if found.paired else ", not in pairs: the records have no outcomes"
        texts.append(
            f"Its top-1 is {found.points:+.1f} points from the runner-up's "
            f"(95 %: {found.low:+.1f} to {found.high:+.1f}{how}{sure})."
        )
    share = choice.bytes / max(other.bytes, 1)
    return [*texts, f"Its file is {share:.2f} times the size of the runner-up's."]
