"""The report as one self-contained page: it works offline and requests nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from importlib import resources

from edgezoo.core import escapes
from edgezoo.core.errors import counted
from edgezoo.core.registry import require_packages
from edgezoo.reporting.comparison import StoreComparison
from edgezoo.reporting.comparison_text import by_severity, summary
from edgezoo.reporting.page_data import chosen, for_script
from edgezoo.reporting.rows import Row, noise_floors
from edgezoo.reporting.stored import Stored, collected
from edgezoo.reporting.text import MOST_SESSIONS, shortened
from edgezoo.results.record import Failed, Record

MOST_REASONS = 20
MOST_COMPARED = 500
PACKAGES = ("jinja2", "plotly")


def require() -> None:
    """Raise a MissingError where jinja2 or plotly, which make the page, is not installed."""
    require_packages(PACKAGES, "report", "An HTML report")


def to_html(
    records: Iterable[Record],
    comparison: StoreComparison | None = None,
    heading: str = "EdgeZoo report",
    allow_poor: bool = False,
) -> str:
    """Return the page of records; see `page`."""
    return page(collected(records, allow_poor), comparison, heading, allow_poor)


def page(
    stored: Stored,
    comparison: StoreComparison | None = None,
    heading: str = "EdgeZoo report",
    allow_poor: bool = False,
) -> str:
    """Return the page.

    Args:
        stored: all that was read, failed ones too.
        comparison: of two stores, see `edgezoo.reporting.comparison`.
        heading: of the page.
        allow_poor: let latencies with poor trust stand on the front.

    Raises:
        MissingError: jinja2 or plotly is not installed.
    """
    found, shown = stored.rows, chosen(stored.rows)
    require()
    import jinja2
    from plotly.offline import get_plotlyjs

    here = resources.files("edgezoo.reporting")
    strict = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    template = jinja2.Environment(autoescape=True, finalize=escapes.in_template, **strict)
    rendered: str = template.from_string((here / "page.html.j2").read_text()).render(
        heading=heading,
        counted=counted,
        style=(here / "page.css").read_text(),
        script=(here / "page.js").read_text(),
        plotly=get_plotlyjs(),
        data=for_script(shown, {"allow_poor": allow_poor}),
        left_out=len(found) - len(shown),
        shown=len(shown),
        machines=stored.machines,
        floors=_floors(stored),
        most_reasons=MOST_REASONS,
        protocols=list(stored.protocols),
        failed=_failed(stored.failed),
        comparison=comparison,
        compared=by_severity(comparison) if comparison else [],
        summary=summary(comparison) if comparison else "",
        most_compared=MOST_COMPARED,
        images=sorted({row.image_list for row in found if row.image_list}),
        untrained=any(row.trained is False for row in found),
        estimates=any(row.kind == "estimate" for row in found),
    )
    return rendered


def _floors(stored: Stored) -> dict[str, str]:
    """Return the noise floors of the sessions on each machine."""
    own: dict[str, list[Row]] = defaultdict(list)
    for row in stored.rows:
        own[row.machine].append(row)
    return {name: shortened(noise_floors(rows), MOST_SESSIONS) for name, rows in own.items()}


def _failed(records: Iterable[Failed]) -> dict[str, list[str]]:
    """Return the names of the variants that failed, by the reason."""
    found: dict[str, list[str]] = {}
    for record in records:
        variant, error = record.variant, record.error
        name = f"{record.name} on {variant.device}, threads {variant.threads}"
        found.setdefault(f"{error.step.capitalize()}: {error.message}", []).append(name)
    return found
