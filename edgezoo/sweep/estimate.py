"""The plan of a sweep, and about how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgezoo.core import registry
from edgezoo.core.typed_json import Count
from edgezoo.images.labelled import count_images
from edgezoo.measurement.session import Threads
from edgezoo.pipeline import plan as plans
from edgezoo.sweep.grid import Network, SweepRequest, Variant

# On one x86-64 machine: decoding an image, and a million parameters at the default input size.
_DECODE_S, _INFERENCE_S = 0.003, 0.002
_OPENING_S = 2.0


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """A variant that would be measured."""

    name: str
    device: str
    threads: Threads


@dataclass(frozen=True, slots=True)
class FailingVariant(PlannedVariant):
    """A variant that cannot be made, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep would do.

    Attributes:
        images: that each file would be scored on
        seconds_about: of a sweep that starts with an empty store, a rough fit to one machine
    """

    variants: tuple[PlannedVariant, ...]
    failing: tuple[FailingVariant, ...]
    images: Count
    seconds_about: Count
    dry_run: Literal[True] = True


def estimate(request: SweepRequest, networks: list[Network]) -> SweepPlan:
    """Return the plan of a sweep."""
    images = count_images(request.images) if request.images is not None else 0
    if request.limit is not None:
        images = min(images, request.limit)
    seconds = 0.0
    planned: list[Variant] = []
    failing: list[tuple[Variant, str]] = []
    for network in networks:
        if network.plan is not None:
            seconds += plans.estimate(network.plan).cpu_seconds_about
        seconds += sum(images * (_DECODE_S + _inference_s(file)) for file in network.files)
        seconds += sum(_stopwatch_s(request, v) for v in network.variants if not v.estimated)
        failing += network.refused
        if network.error is None:
            planned += network.variants
        else:
            failing += [(variant, network.error.message) for variant in network.variants]
    return SweepPlan(
        tuple(PlannedVariant(v.name, v.device, v.threads) for v in planned),
        tuple(FailingVariant(v.name, v.device, v.threads, reason) for v, reason in failing),
        images,
        round(seconds),
    )


def _inference_s(variant: Variant) -> float:
    if variant.model is None or variant.input_size is None:
        return _INFERENCE_S
    spec = registry.model(variant.model)
    scale = (variant.input_size / spec.default_input_size) ** 2
    return 0.0005 + spec.parameter_count(variant.alpha) / 1e6 * scale * _INFERENCE_S


def _stopwatch_s(request: SweepRequest, variant: Variant) -> float:
    numbers, once = request.settings, _inference_s(variant)
    runs = 2 * numbers.min_rounds * numbers.block_runs
    measuring = min(numbers.cap_seconds, max(numbers.min_seconds, runs * once))
    return _OPENING_S + numbers.warm_up_seconds + measuring
