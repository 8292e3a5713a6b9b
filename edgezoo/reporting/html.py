"""One self-contained page: it works offline, from a file, and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from edgezoo.core.errors import counted
from edgezoo.core.registry import require_packages
from edgezoo.reporting.rows import Row, failed_name, image_list, machine_name, noise_floors
from edgezoo.reporting.text import MOST_SESSIONS, shortened
from edgezoo.results.store import Record

MOST_REASONS = 20
PACKAGES = ("jinja2", "plotly")


def require() -> None:
    """See whether the page can be made.

    Raises:
        MissingError: jinja2 or plotly is not installed.
    """
    require_packages(PACKAGES, "report", "An HTML report")


def to_html(
    records: Sequence[Record],
    found: Sequence[Row],
    comparison: dict[str, Any] | None = None,
    heading: str = "EdgeZoo report",
) -> str:
    """The page.

    Args:
        records: all that were read, failed ones too.
        found: the rows of those that hold figures.
        comparison: of two stores, see `edgezoo.reporting.comparison`.
        heading: of the page.

    Raises:
        MissingError: jinja2 or plotly is not installed.
    """
    require()
    import jinja2
    from plotly.offline import get_plotlyjs

    here = resources.files("edgezoo.reporting")
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((here / "page.html.j2").read_text())
    page: str = template.render(
        heading=heading,
        counted=counted,
        style=(here / "page.css").read_text(),
        script=(here / "page.js").read_text(),
        plotly=get_plotlyjs(),
        data=_for_script({"rows": list(found)}),
        machines=_machines(records, found),
        most_reasons=MOST_REASONS,
        protocols=_protocols(records),
        failed=_failed(records),
        comparison=comparison,
        images=sorted({name for name in map(image_list, found) if name}),
        untrained=any(row["trained"] is False for row in found),
        estimates=any(row["kind"] == "estimate" for row in found),
    )
    return page


def _for_script(value: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _machines(records: Sequence[Record], found: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Environments by the name of the machine, with what spoke against its figures."""
    machines: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["status"] != "measured":
            continue
        entry = machines.setdefault(
            machine_name(record["environment"]),
            {"environment": record["environment"], "levels": {}, "reasons": {}, "runtimes": {}},
        )
        level = record["trust"]["level"]
        entry["levels"][level] = entry["levels"].get(level, 0) + 1
        entry["runtimes"][record["variant"]["runtime"]] = None
        for reason in record["trust"]["reasons"]:
            entry["reasons"][reason] = entry["reasons"].get(reason, 0) + 1
    for name, entry in machines.items():
        entry["reasons"] = sorted(entry["reasons"].items(), key=lambda item: -item[1])
        floors = noise_floors(row for row in found if row["machine"] == name)
        entry["floors"] = shortened(floors, MOST_SESSIONS)
    return machines


def _failed(records: Sequence[Record]) -> dict[str, list[str]]:
    """Names of the variants that failed, by the reason."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record["status"] == "failed":
            variant, error = record["variant"], record["error"]
            reason = f"{error['step'].capitalize()}: {error['message']}"
            name = f"{failed_name(record)} on {variant['device']}, threads {variant['threads']}"
            found.setdefault(reason, []).append(name)
    return found


def _protocols(records: Sequence[Record]) -> list[dict[str, Any]]:
    different = {
        json.dumps(record["protocol"], sort_keys=True): record["protocol"]
        for record in records
        if record.get("protocol")
    }
    return list(different.values())
