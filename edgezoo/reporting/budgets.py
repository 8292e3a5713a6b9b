"""Bounds that a variant must keep, and what comes nearest where none does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from edgezoo.core.typed_json import shared
from edgezoo.reporting.rows import Candidate, Row

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
class Nearest:
    """The variant that comes nearest to bounds that exclude each other.

    Attributes:
        misses: its figures by the bounds that it breaks; null where a figure is unknown
    """

    variant: Candidate
    misses: dict[str, float | None]


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


def misses_of(row: Row, budgets: Budgets) -> list[str]:
    """Return the bounds that a variant breaks; an unknown figure breaks its bound."""
    bounds = {name: getattr(budgets, name) for name in _BOUNDS}
    figures = _figures(row, budgets)
    return [n for n, bound in bounds.items() if bound is not None and _breaks(n, figures[n], bound)]


def _breaks(name: str, value: float | None, bound: float) -> bool:
    return value is None or (value < bound if name == "min_top1" else value > bound)


def without_a_bound(considered: Sequence[Row], budgets: Budgets) -> list[Alternative]:
    """Return what fits without one of the bounds, for each bound."""
    found, unsure = [], replace(budgets, sure=False)
    for name in _BOUNDS:
        fitting = [row for row in considered if set(misses_of(row, budgets)) <= {name}]
        if getattr(budgets, name) is not None and fitting:
            nearest = min(fitting, key=partial(_excess, name, unsure))
            found.append(Alternative(name, candidate(nearest)))
    return found


def _excess(bound: str, budgets: Budgets, row: Row) -> tuple[bool, float]:
    """Return what orders by how little a bound is broken; unknown figures come last."""
    value = row.drop_points if bound == "max_drop_points" else _figures(row, budgets)[bound]
    return value is None, (-1 if bound == "min_top1" else 1) * (value or 0)


def nearest_to(considered: Sequence[Row], budgets: Budgets) -> Nearest:
    """Return the variant whose figures exceed the bounds by the smallest factor in all."""

    def excess(row: Row) -> tuple[int, float]:
        figures, misses = _figures(row, budgets), misses_of(row, budgets)
        known = [(name, value) for name in misses if (value := figures[name]) is not None]
        factors = (_factor(name, value, getattr(budgets, name)) for name, value in known)
        return len(misses) - len(known), sum(factors)

    row = min(considered, key=excess)
    figures = _figures(row, budgets)
    return Nearest(candidate(row), {name: figures[name] for name in misses_of(row, budgets)})


def _factor(name: str, value: float, bound: float) -> float:
    """Return how far a figure is beyond its bound, as a logarithm; drops in hundreds of points."""
    if name == "max_drop_points":
        return (value - bound) / 100
    return abs(math.log(max(value, 1e-9) / max(bound, 1e-9)))


def candidate(row: Row) -> Candidate:
    """Return what a result tells of a row."""
    return Candidate(**shared(row, Candidate))
