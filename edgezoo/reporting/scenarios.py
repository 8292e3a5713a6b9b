"""What the first screen answers: the variants that most readers of a report look for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgezoo.reporting.budgets import Budgets
from edgezoo.reporting.comparison import EQUAL_WITHIN_POINTS
from edgezoo.reporting.recommendation import Preference, recommend
from edgezoo.reporting.rows import Row
from edgezoo.results.record import Kind

_MEASURED: Kind = "measurement"
FAST_ENOUGH_MS = 10.0
MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question with its answer.

    Attributes:
        images: text that names the list of images; empty without accuracies.
        row: the answer; None where nothing fits.
        why: a sentence.
    """

    machine: str
    images: str
    question: str
    row: Row | None
    why: str


def scenarios(found: Sequence[Row], allow_poor: bool = False) -> list[Scenario]:
    """Return the answers for each machine, and for each list of images on it."""
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in found:
        if row.kind == _MEASURED and row.top1 is not None:
            groups.setdefault((row.machine, row.images_hash), []).append(row)
    scored = {machine for machine, _ in groups}
    for row in found:
        if row.kind == _MEASURED and row.machine not in scored:
            groups.setdefault((row.machine, None), []).append(row)
    return [answer for own in groups.values() for answer in _of_one(own, allow_poor)]


def _of_one(own: list[Row], allow_poor: bool) -> list[Scenario]:
    trusted = [row for row in own if allow_poor or row.trust != "poor"]
    best = max((row.top1 for row in trusted if row.top1 is not None), default=None)
    asked: list[tuple[str, Preference, Budgets]] = [("Smallest", "size", Budgets())]
    if best is None:
        asked.append(("Fastest", "latency", Budgets()))
    else:
        near = Budgets(min_top1=best - EQUAL_WITHIN_POINTS / 100 - 1e-9)
        fast = Budgets(max_latency_ms=FAST_ENOUGH_MS)
        asked += [
            ("Most accurate", "accuracy", Budgets()),
            (f"Fastest within {EQUAL_WITHIN_POINTS:g} point of the most accurate", "latency", near),
            (f"Most accurate under {FAST_ENOUGH_MS:g} ms", "accuracy", fast),
        ]
    return [_answer(own, *question, allow_poor) for question in asked]


def _answer(
    own: list[Row], question: str, prefer: Preference, budgets: Budgets, allow_poor: bool
) -> Scenario:
    result = recommend(own, budgets, prefer, allow_poor=allow_poor)
    place = (own[0].machine, own[0].image_list or "", question)
    if result.choice is None:
        poor = f"; {result.left_out} with poor trust are left out" if result.left_out else ""
        return Scenario(*place, None, f"Nothing fits{poor}.")
    chosen = result.choice
    row = next(r for r in own if (r.name, r.median_ms) == (chosen.name, chosen.median_ms))
    return Scenario(*place, row, result.why[0])


@dataclass(frozen=True, slots=True)
class Across:
    """Variants on several machines.

    Attributes:
        machines: names, the columns.
        lines: label of a variant, and its row on each machine; None where it was not measured.
    """

    machines: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Row | None, ...]], ...]


def across(found: Sequence[Row]) -> Across | None:
    """Return the newest latency of each variant on each machine; None for one machine.

    Variants measured on one machine only are left out: they answer no question of this table.
    """
    measured = [row for row in found if row.kind == _MEASURED]
    machines = tuple(dict.fromkeys(row.machine for row in measured))
    if len(machines) < 2:
        return None
    variants: dict[str, dict[str, Row]] = {}
    for row in sorted(measured, key=lambda row: row.created):
        place = (row.model, row.alpha, row.input_size, row.precision, row.format)
        title = " ".join(str(word) for word in place if word is not None)
        name = row.file if row.file and not row.model else title
        own = f" ({row.file})" if row.file and row.model else ""
        label = f"{name}{own}, {row.device}, threads {row.threads}"
        variants.setdefault(label, {})[row.machine] = row
    common = sorted(
        ((label, own) for label, own in variants.items() if len(own) > 1), key=lambda pair: pair[0]
    )
    return Across(
        machines,
        tuple((label, tuple(map(own.get, machines))) for label, own in common[:MOST_LINES]),
    )
