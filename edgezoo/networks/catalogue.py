"""The models of the zoo: described, filtered and sorted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fnmatch import fnmatch
from typing import Annotated, Any

from edgezoo.core import registry
from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.spec import (
    NORMALIZATIONS,
    PRECISIONS,
    ModelSpec,
    Precision,
    Resize,
    WeightsFile,
    WeightsPackage,
)
from edgezoo.core.typed_json import Count, JsonObject, OneOf, Positive, Share
from edgezoo.networks import weights

SORTS: tuple[str, ...] = ("name", "top1", "parameters", "multiply-adds", *PRECISIONS)


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """Criteria that a model must meet.

    Attributes:
        pattern: part of a name, or a pattern such as "dense*".
        min_top1: published top-1, from 0 to 1.
        max_parameters, max_multiply_adds: at the default input size and width 1.
        max_bytes: estimated size of a file of `precision`.
        with_weights: ImageNet weights must be on this machine.
    """

    pattern: str | None = None
    min_top1: float | None = None
    max_parameters: float | None = None
    max_multiply_adds: float | None = None
    max_bytes: float | None = None
    precision: Precision = "int8"
    with_weights: bool = False


@dataclass(frozen=True, slots=True)
class ModelDescription(JsonObject):
    """A model of the zoo, at width (alpha) 1.

    Attributes:
        keras_name: function that builds the network.
        module: module of that function, keras.applications or a file of the zoo.
        arguments: arguments of the function that not every model has.
        parameters: with the 1000-class top.
        multiply_adds: of convolutions and dense layers, for one image of the default size.
        depth: layers with parameters.
        size_mb: of the float32 weights, MiB.
        top1: as published.
        top5: as published; null if not published.
        figures: URL of the published accuracy.
        paper: URL.
        weights: a file that Keras publishes, or a checkpoint in a Python package.
        fixed_size_weights: the ImageNet weights fit the default input size only.
        alphas_with_imagenet_weights: widths; null for a family of one width.
        file_bytes_about: estimated file size by precision.
        weights_here: ImageNet weights of some width and size are on this machine.
    """

    model: str
    family: str
    keras_name: str
    module: str
    preprocessing: Annotated[str, OneOf(tuple(NORMALIZATIONS))]
    resize: Resize
    default_input_size: Positive
    min_input_size: Positive
    arguments: tuple[str, ...]
    parameters: Positive
    multiply_adds: Count
    depth: Count
    size_mb: float
    top1: Share
    top5: Share | None
    figures: str
    paper: str
    weights: WeightsFile | WeightsPackage
    weights_licence: str
    fixed_size_weights: bool
    alphas_with_imagenet_weights: tuple[float, ...] | None
    file_bytes_about: dict[Precision, Count]
    formats: tuple[str, ...]
    precisions: tuple[Precision, ...]
    weights_here: bool


@dataclass(frozen=True, slots=True)
class ModelList:
    """Models of the zoo, filtered and sorted."""

    models: tuple[ModelDescription, ...]


def describe(name: str) -> ModelDescription:
    """Describe a model of the zoo.

    Raises:
        UsageError: there is no model of that name.
    """
    spec, exporters = registry.model(name), registry.exporters()
    precisions = [precision for e in exporters.values() for precision in e.precisions]
    widths = tuple(sorted(spec.width.alpha_codes)) if spec.width else None
    differing: dict[str, Any] = {
        "model": spec.name,
        "arguments": tuple(sorted(spec.arguments)),
        "alphas_with_imagenet_weights": widths,
        "file_bytes_about": {precision: spec.bytes_about(precision) for precision in PRECISIONS},
        "formats": tuple(exporters),
        "precisions": tuple(dict.fromkeys(precisions)),
        "weights_here": weights.here(spec),
    }
    names = {field.name for field in fields(ModelDescription)} - differing.keys()
    return ModelDescription(**differing, **{name: getattr(spec, name) for name in names})


def select(criteria: ModelFilter, sort: str = "name") -> list[ModelSpec]:
    """Return the models that meet all criteria: most accurate first, otherwise smallest first.

    Raises:
        UsageError: no model does.
    """
    known = registry.models()
    pattern = (criteria.pattern or "").lower()
    named = [s for s in known.values() if pattern in s.name or fnmatch(s.name, pattern)]
    if not named:
        hint = did_you_mean(str(criteria.pattern), list(known))
        raise UsageError(f"No model matches {criteria.pattern!r}.", hint)
    chosen = [spec for spec in named if _fulfils(spec, criteria)]
    if not chosen:
        raise UsageError("No model meets all criteria.", "Relax one of them.")
    return sorted(chosen, key=lambda spec: (_rank(spec, sort), spec.name))


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
