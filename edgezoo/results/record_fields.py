"""What the fields of a record may hold that reports make use of: a stranger may have written it.

The whole of a record is described in docs/schemas/record.json.
"""

from __future__ import annotations

from typing import Any

from edgezoo.core import checks
from edgezoo.core.checks import Check, flag, having, list_of, number, or_none, text, whole

_MOST = 1_000_000
_FIGURE, _NAME = number(-1e15, 1e15), or_none(text)
_FIGURES, _WORDS = list_of(_FIGURE, _MOST), list_of(text, 1000)


def _span(value: Any) -> bool:
    return _FIGURES(value) and len(value) == 2


def _figures(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, or_none(_FIGURE))


def _accuracy(value: Any) -> bool:
    return _ACCURACY(value) and (value["drop"] is None) == (value["drop_ci95"] is None)


_ACCURACY = having(
    {
        "images": whole(1, 2**40),
        "images_hash": _NAME,
        "top1": number(0, 1),
        "top5": number(0, 1),
        "top1_ci95": _span,
        "drop_ci95": or_none(_span),
        **_figures("agreement_top1", "drop"),
    }
)
_LATENCY_MS = having(
    {
        "median": number(1e-9, 1e15),
        "ci95": _span,
        "n": whole(1, 2**40),
        "outliers": whole(0, 2**40),
        **_figures("min", "p5", "p90", "p95", "p99"),
    },
    ("median", "ci95"),
)
_LATENCY = having(
    {
        "latency_ms": _LATENCY_MS,
        "blocks_ms": list_of(_FIGURES, _MOST),
        **_figures("cpu_ms", "cold_start_ms", "peak_rss_mb", "memory_over_runtime_mb"),
    },
    ("latency_ms",),
)
_MACHINE = having(
    {
        "cpu": text,
        "architecture": text,
        "features": _WORDS,
        "system": text,
        "python": text,
        **_figures("cores", "memory_gb"),
    }
)
_VARIANT = having(
    {
        "format": text,
        "device": text,
        "threads": whole(1, 2**20),
        "input_size": or_none(whole(1, 2**20)),
        "alpha": or_none(_FIGURE),
        **dict.fromkeys(("model", "precision", "runtime"), _NAME),
    }
)
_PROTOCOL = (
    "min_rounds",
    "block_runs",
    "min_runs",
    "min_seconds",
    "warm_up_seconds",
    "cap_seconds",
)
_FIELDS: dict[str, Check] = {
    "created": text,
    "file": _NAME,
    "variant": _VARIANT,
    "artifact": having(
        {"path": text, "sha256": text, "bytes": whole(0, 2**60), "trained": or_none(flag)}
    ),
    "accuracy": or_none(_accuracy),
    "latency": _LATENCY,
    "trust": having({"level": text, "reasons": _WORDS}),
    "session": having({"id": text, "noise_floor": number(0, 1e15)}),
    "environment": having(
        {
            "machine_id": text,
            "machine": _MACHINE,
            "usable_cores": _FIGURE,
            "libc": _NAME,
            "edgezoo": text,
            "commit": _NAME,
        }
    ),
    "protocol": or_none(having(dict.fromkeys(_PROTOCOL, _FIGURE))),
    "estimate": having({"source": text}),
    "error": or_none(having({"step": text, "message": text})),
}
_MEASURED = ("created", "artifact", "latency", "trust", "session", "environment")


def fault(record: dict[str, Any]) -> str | None:
    """What is wrong with a record, in words; its kind and status are known already."""
    if record["status"] == "failed":
        needed: tuple[str, ...] = ("error",)
    else:
        needed = (*_MEASURED, "estimate") if record["kind"] == "estimate" else _MEASURED
    missing = [name for name in needed if record.get(name) is None]
    if missing:
        return f"it has no {missing[0]}"
    wrong = checks.fault(record, _FIELDS)
    return f"its {wrong} cannot be" if wrong else None
