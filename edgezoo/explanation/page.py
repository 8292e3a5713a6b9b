"""An explanation as one HTML file that needs nothing else: JSON in, HTML out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import DataError
from edgezoo.core.files import write_text_atomically


def require() -> None:
    """Check that a page can be made.

    Raises:
        MissingError: jinja2 or plotly is not installed.
    """
    registry.require_packages(("jinja2", "plotly"), "report", "A page with plots (--html)")


def write(facts: dict[str, Any], path: Path) -> None:
    """Write the page of an explanation.

    Args:
        facts: what `edgezoo explain --json` prints.
        path: the file.

    Raises:
        DataError: it cannot be written.
    """
    text = render(facts)
    try:
        write_text_atomically(path, text)
    except DataError as error:
        raise DataError(error.message, "Choose another place with --html.") from error


def render(facts: dict[str, Any]) -> str:
    """The page as HTML; every word of `facts` is escaped."""
    import jinja2
    from plotly.offline import get_plotlyjs

    from edgezoo.explanation import plots

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"decibels": _decibels, "percent": _percent, "points": _points}
    page: str = environment.get_template("page.html.j2").render(
        facts=facts,
        plots=plots.all_plots(facts),
        library=get_plotlyjs(),
        name=Path(facts["artifact"]).name,
    )
    return page


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _points(value: float | None) -> str:
    """Percentage points; a gain has a minus."""
    return "-" if value is None else f"{100 * value + 0:.1f}"
