"""The report as one self-contained page: it works offline and requests nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

from edgezoo.core import escapes, typed_json
from edgezoo.core.errors import counted
from edgezoo.core.registry import require_packages
from edgezoo.measurement.protocol import Settings
from edgezoo.reporting.comparison import StoreComparison
from edgezoo.reporting.comparison_text import by_severity, summary
from edgezoo.reporting.rows import Row, machine_name, noise_floors
from edgezoo.reporting.text import MOST_SESSIONS, shortened
from edgezoo.results.record import Failed, Measured, Record
from edgezoo.system.machine import Environment

MOST_REASONS = 20
MOST_COMPARED = 500
PACKAGES = ("jinja2", "plotly")


def require() -> None:
    """Raise a MissingError where jinja2 or plotly, which make the page, is not installed."""
    require_packages(PACKAGES, "report", "An HTML report")


def to_html(
    records: Sequence[Record],
    found: Sequence[Row],
    comparison: StoreComparison | None = None,
    heading: str = "EdgeZoo report",
    allow_poor: bool = False,
) -> str:
    """Return the page.

    Args:
        records, found: all that were read, failed ones too; the rows of those with figures.
        comparison: of two stores, see `edgezoo.reporting.comparison`.
        heading: of the page.
        allow_poor: let latencies with poor trust stand on the front.

    Raises:
        MissingError: jinja2 or plotly is not installed.
    """
    require()
    import jinja2
    from plotly.offline import get_plotlyjs

    here = resources.files("edgezoo.reporting")
    strict = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    template = jinja2.Environment(autoescape=True, finalize=escapes.in_template, **strict)
    page: str = template.from_string((here / "page.html.j2").read_text()).render(
        heading=heading,
        counted=counted,
        style=(here / "page.css").read_text(),
        script=(here / "page.js").read_text(),
        plotly=get_plotlyjs(),
        data=_for_script(found, allow_poor),
        machines=_machines(records, found),
        most_reasons=MOST_REASONS,
        protocols=_protocols(records),
        failed=_failed(records),
        comparison=comparison,
        compared=by_severity(comparison) if comparison else [],
        summary=summary(comparison) if comparison else "",
        most_compared=MOST_COMPARED,
        images=sorted({row.image_list for row in found if row.image_list}),
        untrained=any(row.trained is False for row in found),
        estimates=any(row.kind == "estimate" for row in found),
    )
    return page


def _for_script(found: Sequence[Row], allow_poor: bool) -> str:
    """Return JSON that cannot end the script element that contains it."""
    facts = {
        "rows": [_shown(typed_json.encode(row)) for row in found],
        "options": {"allow_poor": allow_poor},
    }
    text = json.dumps(facts, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _shown(row: dict[str, object]) -> dict[str, object]:
    """Escape control characters, which a browser passes on to what a user copies."""
    return {
        name: [escapes.in_template(item) for item in value]
        if isinstance(value, list)
        else escapes.in_template(value)
        for name, value in row.items()
    }


@dataclass(slots=True)
class _MachineSummary:
    """A machine, with how often each level of trust, reason and runtime occurs on it."""

    environment: Environment
    levels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    runtimes: Counter[str | None] = field(default_factory=Counter)
    floors: str = ""


def _machines(records: Sequence[Record], found: Sequence[Row]) -> dict[str, _MachineSummary]:
    machines: dict[str, _MachineSummary] = {}
    for record in records:
        if not isinstance(record, Failed):
            name = machine_name(record.environment)
            entry = machines.setdefault(name, _MachineSummary(record.environment))
            entry.levels[record.trust.level] += 1
            entry.runtimes[record.variant.runtime] += 1
            entry.reasons.update(record.trust.reasons)
    for name, entry in machines.items():
        floors = noise_floors(row for row in found if row.machine == name)
        entry.floors = shortened(floors, MOST_SESSIONS)
    return machines


def _failed(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the names of the variants that failed, by the reason."""
    found: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record, Failed):
            variant, error = record.variant, record.error
            name = f"{record.name} on {variant.device}, threads {variant.threads}"
            found.setdefault(f"{error.step.capitalize()}: {error.message}", []).append(name)
    return found


def _protocols(records: Sequence[Record]) -> list[Settings]:
    used = (record.protocol for record in records if isinstance(record, Measured))
    return list(dict.fromkeys(settings for settings in used if settings))
