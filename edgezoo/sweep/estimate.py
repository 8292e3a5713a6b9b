"""What a sweep would do and about how long it would take."""

from __future__ import annotations

from typing import Any

from edgezoo.core import registry
from edgezoo.images.labelled import count_images
from edgezoo.pipeline import plan as plans
from edgezoo.sweep.grid import Network, SweepRequest, Variant

# Of one x86-64 machine: a picture decoded, and a million parameters at the default input size.
_DECODE_S, _INFERENCE_S = 0.003, 0.002
_OPENING_S = 2.0


def estimate(request: SweepRequest, networks: list[Network]) -> dict[str, Any]:
    """The plan of a sweep.

    Returns:
        {"variants": [...], "failing": [...], "seconds_about", "images"}; the time is that of a
        sweep from nothing, a rough fit to one machine.
    """
    images = count_images(request.images) if request.images is not None else 0
    if request.limit is not None:
        images = min(images, request.limit)
    seconds = 0.0
    for network in networks:
        if network.plan is not None:
            seconds += plans.estimate(network.plan).cpu_seconds_about
        for file in network.files:
            seconds += images * (_DECODE_S + _inference_s(file))
        seconds += sum(_stopwatch_s(request, v) for v in network.variants if not v.estimated)
    return {
        "variants": [_name(v) for n in networks if n.error is None for v in n.variants],
        "failing": [
            {**_name(variant), "reason": reason}
            for network in networks
            for variant, reason in (
                *network.refused,
                *((v, network.error.message) for v in network.variants if network.error),
            )
        ],
        "images": images,
        "seconds_about": round(seconds),
    }


def _name(variant: Variant) -> dict[str, Any]:
    return {"name": variant.name, "device": variant.device, "threads": variant.threads}


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
