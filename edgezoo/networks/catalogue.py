"""Which model should I use? The zoo sorted and filtered, with what lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.spec import PRECISIONS, ModelSpec, Precision
from edgezoo.networks import weights

SORTS: tuple[str, ...] = ("name", "top1", "parameters", "multiply-adds", *PRECISIONS)


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """What a model must fulfil.

    Attributes:
        pattern: a part of a name, or a pattern such as "dense*".
        min_top1: share, as published.
        max_parameters, max_multiply_adds: counts at the default input size and width 1.
        max_bytes: of a file of `precision`, as estimated.
        with_weights: ImageNet weights are on this machine.
    """

    pattern: str | None = None
    min_top1: float | None = None
    max_parameters: float | None = None
    max_multiply_adds: float | None = None
    max_bytes: float | None = None
    precision: Precision = "int8"
    with_weights: bool = False


def describe(name: str) -> dict[str, Any]:
    """All that is known about a model: the object of `edgezoo show --json`.

    Raises:
        UsageError: there is none of that name.
    """
    spec = registry.model(name)
    return {**registry.describe_model(name), "weights_here": weights.here(spec)}


def select(criteria: ModelFilter, sort: str = "name") -> list[ModelSpec]:
    """Models that fulfil a criteria: the most accurate first, otherwise the smallest.

    Raises:
        UsageError: no model does.
    """
    known = registry.models()
    named = [spec for spec in known.values() if _is_called(spec, criteria.pattern)]
    if not named:
        raise UsageError(
            f"No model matches {criteria.pattern!r}.",
            did_you_mean(str(criteria.pattern), list(known)),
        )
    chosen = [spec for spec in named if _fulfils(spec, criteria)]
    if not chosen:
        raise UsageError("No model fulfils all of these bounds.", "Loosen one of them.")
    return sorted(chosen, key=lambda spec: (_rank(spec, sort), spec.name))


def _is_called(spec: ModelSpec, pattern: str | None) -> bool:
    if pattern is None:
        return True
    return fnmatch(spec.name, pattern.lower()) or pattern.lower() in spec.name


def _fulfils(spec: ModelSpec, criteria: ModelFilter) -> bool:
    most = (
        (spec.parameters, criteria.max_parameters),
        (spec.multiply_adds, criteria.max_multiply_adds),
        (spec.bytes_about(criteria.precision), criteria.max_bytes),
    )
    return (
        (criteria.min_top1 is None or spec.top1 >= criteria.min_top1)
        and all(bound is None or value <= bound for value, bound in most)
        and (not criteria.with_weights or weights.here(spec))
    )


def _rank(spec: ModelSpec, sort: str) -> float:
    ranks: dict[str, float] = {
        "name": 0,
        "top1": -spec.top1,
        "parameters": spec.parameters,
        "multiply-adds": spec.multiply_adds,
        **{precision: spec.bytes_about(precision) for precision in PRECISIONS},
    }
    return ranks[sort]
