"""What stands in a record (docs/schemas/record.json)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgezoo.core.errors import EdgeZooError
from edgezoo.results.store import Record
from edgezoo.sweep.grid import Variant

_LATENCY = (
    "latency_ms",
    "cpu_ms",
    "cold_start_ms",
    "cold_start",
    "apart_ms",
    "peak_rss_mb",
    "memory_over_runtime_mb",
    "warm_up",
    "backend",
    "ran_on",
)
_ACCURACY = (
    "images",
    "unreadable",
    "top1",
    "top5",
    "top1_ci95",
    "top5_ci95",
    "agreement_top1",
    "drop",
    "drop_ci95",
    "verdict",
    "preprocessing",
)


def measured(
    variant: Variant,
    result: dict[str, Any],
    blocks: list[list[float]],
    session: dict[str, Any],
    evidence: dict[str, Any],
) -> Record:
    """A variant that was measured.

    Args:
        variant: what was asked for; what it leaves open is filled in from `result`.
        result: of the session, see `edgezoo.measurement.session.Session.results`.
        blocks: milliseconds of every run, a list a block.
        session: what all variants of the session share, with an "id".
        evidence: "verification" of the export and "accuracy", or None.
    """
    asked = _variant(variant)
    told = {name: result[name] for name in asked if asked[name] is None}
    return {
        "kind": "measurement",
        "status": "measured",
        "created": _now(),
        "file": _file(variant),
        "variant": {**asked, **told, "runtime": result["runtime"]},
        "artifact": {
            "path": result["artifact"],
            "sha256": result["sha256"],
            "bytes": result["bytes"],
            "trained": result["trained"],
            "verification": evidence["verification"],
        },
        "accuracy": evidence["accuracy"],
        "latency": {
            **{name: result[name] for name in _LATENCY},
            "blocks_ms": [[round(ms, 4) for ms in block] for block in blocks],
        },
        "trust": result["trust"],
        "session": {name: session[name] for name in ("id", "self_check", "noise_floor")},
        "protocol": session["protocol"],
        "environment": session["environment"],
        "error": None,
    }


def estimated(
    variant: Variant,
    facts: dict[str, Any],
    artifact: dict[str, Any],
    evidence: dict[str, Any],
    environment: dict[str, Any],
) -> Record:
    """What a compiler expects of a file: it has no spread, and no trust stamp but this one.

    Args:
        variant: with the target as its device.
        facts: of `compilation.estimate`.
        artifact: "path", "sha256", "bytes" and "trained".
        evidence: see `measured`.
        environment: of the machine that the compiler ran on; the figures do not depend on it.
    """
    own = {name: value for name, value in facts.items() if name not in ("artifact", "target")}
    reason = f"{facts['source']}: computed by a model of the hardware, not measured."
    median = facts["inference_ms"]
    return {
        "kind": "estimate",
        "status": "measured",
        "created": _now(),
        "file": _file(variant),
        "variant": {**_variant(variant), "runtime": facts["source"]},
        "artifact": {**artifact, "verification": evidence["verification"]},
        "accuracy": evidence["accuracy"],
        "latency": {"latency_ms": {"median": median, "ci95": [median, median]}},
        "estimate": own,
        "trust": {"level": "caution", "reasons": [reason], "host": None},
        "session": {"id": "estimate", "self_check": None, "noise_floor": 0.0},
        "environment": environment,
        "error": None,
    }


def failed(variant: Variant, error: EdgeZooError, step: str) -> Record:
    """A variant that could not be made, scored, measured or estimated.

    What a broken file holds is unknown; its name says which variant failed.
    """
    return {
        "kind": "estimate" if variant.estimated else "measurement",
        "status": "failed",
        "created": _now(),
        "file": _file(variant),
        "variant": {**_variant(variant), "runtime": None},
        "error": {
            "class": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
            "step": step,
        },
    }


def accuracy(entry: dict[str, Any], images: str | None) -> dict[str, Any]:
    """What is kept of an entry of `edgezoo evaluate --json`."""
    return {
        **{name: entry[name] for name in _ACCURACY},
        "reference": Path(entry["reference"]).name if entry["reference"] else None,
        "images_hash": images,
        "outcomes_sha256": entry.get("outcomes_sha256"),
    }


def _file(variant: Variant) -> str | None:
    """Its name alone: a store tells nothing of the folders of a machine."""
    return None if variant.path is None else variant.path.name


def _variant(variant: Variant) -> dict[str, Any]:
    return {
        "model": variant.model,
        "alpha": variant.alpha,
        "input_size": variant.input_size,
        "precision": variant.precision,
        "format": variant.format,
        "device": variant.device,
        "threads": variant.threads,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
