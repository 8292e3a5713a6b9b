"""Renders an explanation as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from edgezoo.core import escapes, registry
from edgezoo.core.errors import DataError
from edgezoo.core.files import write_text_atomically
from edgezoo.explanation.explain_result import ExplainResult


def require() -> None:
    """Raise a MissingError if jinja2 or plotly, which render pages, is not installed."""
    registry.require_packages(("jinja2", "plotly"), "report", "A page with plots (--html)")


def write(result: ExplainResult, path: Path) -> None:
    """Write the page of an explanation; DataError if that fails."""
    text = render(result)
    try:
        write_text_atomically(path, text)
    except DataError as error:
        raise DataError(error.message, "Choose another place with --html.") from error


def render(result: ExplainResult) -> str:
    """Return the page as HTML; all texts of the result are escaped."""
    import jinja2
    from plotly.offline import get_plotlyjs

    from edgezoo.explanation import plots

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=escapes.in_template,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"decibels": number, "percent": _percent, "points": points}
    page: str = environment.get_template("page.html.j2").render(
        result=result,
        plots=plots.all_plots(result),
        library=get_plotlyjs(),
        name=result.artifact.name,
    )
    return page


def number(value: float | None, digits: int = 1) -> str:
    """Format a number that may be unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def points(share: float | None) -> str:
    """Format a share in percentage points; a gain has a minus."""
    return "-" if share is None else f"{100 * share + 0:.1f}"
