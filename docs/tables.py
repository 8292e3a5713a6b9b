"""Helpers for the pages that are generated from committed results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def label(name: str) -> str:
    """A name of the committed results in the terms of the documents."""
    return name.replace("by hand", "libraries").replace(" border", " input/output")


def origin(result: dict[str, Any]) -> str:
    """Date, machine, Python and commit of a result."""
    facts = result["environment"]
    machine = facts["machine"]
    features = ", ".join(machine["features"]) or "no int8 features"
    return (
        f"{facts['date'][:10]}, {machine['cpu']} ({machine['architecture']}, {features}), "
        f"{machine['cores']} cores, Python {facts['python']}, commit {facts['commit'][:10]}."
    )
