"""`edgezoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, recommendation, split
from edgezoo.core import escapes, typed_json
from edgezoo.core.errors import UsageError, counted, did_you_mean
from edgezoo.core.escapes import shell
from edgezoo.results.manifest import SUFFIX

if TYPE_CHECKING:
    from edgezoo.reporting.report_files import ManifestReport, ReportResult

KINDS = ("html", "csv", "md", "json", "junit")
MANIFEST_KINDS = ("card", "sbom")
MOST_TEXTS = 50


@click.command("report", short_help="Make a report of results stores, or of a manifest.")
@click.argument("stores", nargs=-1, required=True, type=PATH, metavar="RESULTS|MANIFEST...")
@click.option(
    "--as",
    "kinds",
    multiple=True,
    metavar="LIST",
    help="html (default), csv, md, json, junit; of a manifest card (default), sbom; several by "
    "commas.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="DIR",
    help="Where to write; default: the last store, or next to each manifest.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 6 where the second store is worse.")
@click.option(
    "--equal-within",
    "equal_within_points",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Differences of top-1 between two stores that do not matter, in percentage points.",
)
@click.option("--allow-poor", is_flag=True, help="Let latencies with poor trust on the front.")
@common
def COMMAND(
    stores: tuple[Path, ...],
    kinds: tuple[str, ...],
    output: Path | None,
    fail_on_regression: bool,
    equal_within_points: float,
    allow_poor: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Make a report of results stores; of two, also compare the second with the first.

    Of a manifest, make a model card, and a CycloneDX bill of what made its files.

    \b
    Examples:
      edgezoo report results/
      edgezoo report results/ --as html,csv,md
      edgezoo report before/ after/ --as md,junit --fail-on-regression
      edgezoo report exported/mobilenet_0.5_160.manifest.json --as card,sbom
    """
    from edgezoo.reporting.report_files import write, write_of_manifests

    of_manifests = all(path.name.endswith(SUFFIX) for path in stores)
    known = MANIFEST_KINDS if of_manifests else KINDS
    wanted = split(kinds) or known[:1]
    for kind in (kind for kind in wanted if kind not in known):
        raise UsageError(f"There is no report as {kind!r}.", did_you_mean(kind, known))
    if fail_on_regression and (of_manifests or len(stores) != 2):
        raise UsageError("--fail-on-regression needs two stores.", "Give the older one first.")
    if of_manifests:
        _show_paths(write_of_manifests(stores, wanted, output), as_json, stores[0])
        return 0
    result = write(
        stores,
        wanted,
        output or stores[-1],
        equal_within_points=equal_within_points,
        allow_poor=allow_poor,
    )
    for text in result.damaged:
        _console.warn(text)
    if as_json:
        _console.print_json(typed_json.encode(result))
    else:
        _show(result, stores[-1])
    worse = result.comparison and result.comparison.regressions
    return 6 if fail_on_regression and worse else 0


def _show_paths(result: ManifestReport, as_json: bool, first: Path) -> None:
    if as_json:
        _console.print_json(typed_json.encode(result))
        return
    for path in result.reports:
        _console.say(path)
    _console.next_command(f"edgezoo verify {shell(first)}")


def _show(result: ReportResult, store: Path) -> None:
    variants = counted(result.variants, "variant")
    machines = counted(len(result.machines), "machine")
    _console.say(f"{variants} on {machines}, {result.failed} failed.")
    comparison = result.comparison
    if comparison is not None:
        _show_texts("Regressions", comparison.regressions)
        _show_texts("Improvements", comparison.improvements)
        _show_texts("Cannot tell, the trust is poor", comparison.warnings)
        _show_texts("Cannot tell, neither a change nor equality is proved", comparison.unsure)
        _show_texts("Not compared", comparison.not_compared)
    for path in result.reports:
        _console.say(path)
    _console.next_command(recommendation(store, result.with_accuracy > 0))


def _show_texts(heading: str, texts: tuple[str, ...]) -> None:
    more = len(texts) - MOST_TEXTS
    left_out = [f"and {more} more, in the reports"] if more > 0 else []
    _console.say(f"{heading}: {len(texts)}")
    for text in (*texts[:MOST_TEXTS], *left_out):
        _console.say(f"  {escapes.cut(text)}")
