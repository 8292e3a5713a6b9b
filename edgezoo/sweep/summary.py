"""What `edgezoo benchmark --json` prints of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgezoo.store import Record
from edgezoo.sweep.run import Outcome


def to_json(outcome: Outcome, output: Path) -> dict[str, Any]:
    """Results in the form that files measured without a store have, too."""
    good = [record for record in outcome.records if record["status"] == "measured"]
    return {
        "results": [_result(record, output) for record in good],
        "failed": [
            {"name": _name(record), "variant": record["variant"], "error": record["error"]}
            for record in outcome.records
            if record["status"] == "failed"
        ],
        "done_before": outcome.done_before,
        "sessions": list(outcome.sessions),
        "store": str(output),
        "report": None,
    }


def _result(record: Record, output: Path) -> dict[str, Any]:
    artifact, variant = record["artifact"], record["variant"]
    inside = output / artifact["path"]
    latency = {name: value for name, value in record["latency"].items() if name != "blocks_ms"}
    return {
        "artifact": str(inside) if inside.is_file() else artifact["path"],
        **{name: artifact[name] for name in ("sha256", "bytes", "trained")},
        **variant,
        **latency,
        "accuracy": record["accuracy"],
        "trust": record["trust"],
    }


def _name(record: Record) -> str:
    variant = record["variant"]
    words = ("model", "alpha", "input_size", "precision", "format", "device")
    told = [str(variant[word]) for word in words if variant[word] is not None]
    return "_".join((*told, f"t{variant['threads']}"))
