"""What the pages made of committed results share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def origin(result: dict[str, Any]) -> str:
    """When, where and by which code a result was made."""
    facts = result["environment"]
    machine = facts["machine"]
    features = ", ".join(machine["features"]) or "no int8 features"
    return (
        f"{facts['date'][:10]}, {machine['cpu']} ({machine['architecture']}, {features}), "
        f"{machine['cores']} cores, Python {facts['python']}, commit {facts['commit'][:10]}."
    )
