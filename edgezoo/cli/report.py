"""`edgezoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, recommendation, split
from edgezoo.core.errors import UsageError, counted, did_you_mean
from edgezoo.results.manifest import SUFFIX

KINDS = ("html", "csv", "md", "json")
MANIFEST_KINDS = ("card", "sbom")


@click.command("report", short_help="Make a report of results stores, or of a manifest.")
@click.argument("stores", nargs=-1, required=True, type=PATH, metavar="RESULTS|MANIFEST...")
@click.option(
    "--as",
    "kinds",
    multiple=True,
    metavar="LIST",
    help="html (default), csv, md, json; of a manifest card (default), sbom; several by commas.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="DIR",
    help="Where to write; default: the last store, or beside each manifest.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 6 where the second store is worse.")
@common
def COMMAND(
    stores: tuple[Path, ...],
    kinds: tuple[str, ...],
    output: Path | None,
    fail_on_regression: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Make a report of results stores; of two, also compare the second with the first.

    Of a manifest, make a model card, and a CycloneDX bill of what made its files.

    \b
    Examples:
      edgezoo report results/
      edgezoo report results/ --as html,csv,md
      edgezoo report before/ after/ --fail-on-regression
      edgezoo report exported/mobilenet_0.5_160.manifest.json --as card,sbom
    """
    from edgezoo.reporting.report_files import write, write_of_manifests

    of_manifests = all(path.name.endswith(SUFFIX) for path in stores)
    known = MANIFEST_KINDS if of_manifests else KINDS
    wanted = split(kinds) or known[:1]
    for kind in wanted:
        if kind not in known:
            raise UsageError(f"There is no report as {kind!r}.", did_you_mean(kind, known))
    if fail_on_regression and (of_manifests or len(stores) != 2):
        raise UsageError("--fail-on-regression needs two stores.", "Give the older one first.")
    if of_manifests:
        _show_paths(write_of_manifests(stores, wanted, output), as_json, stores)
        return 0
    facts = write(stores, wanted, output or stores[-1])
    for text in facts["damaged"]:
        _console.warn(text)
    if as_json:
        _console.print_json(facts)
    else:
        _show(facts, stores[-1])
    worse = facts["comparison"] is not None and facts["comparison"]["regressions"]
    return 6 if fail_on_regression and worse else 0


def _show_paths(facts: dict[str, Any], as_json: bool, manifests: tuple[Path, ...]) -> None:
    if as_json:
        _console.print_json(facts)
        return
    for path in facts["reports"]:
        print(path)
    _console.next_command(f"edgezoo verify {manifests[0]}")


def _show(facts: dict[str, Any], store: Path) -> None:
    variants = counted(facts["variants"], "variant")
    machines = counted(len(facts["machines"]), "machine")
    print(f"{variants} on {machines}, {facts['failed']} failed.")
    if facts["comparison"] is not None:
        for word, heading in (
            ("regressions", "Regressions"),
            ("improvements", "Improvements"),
            ("warnings", "Cannot tell, the trust is poor"),
            ("not_compared", "Not compared"),
        ):
            texts = facts["comparison"][word]
            print(f"{heading}: {len(texts)}")
            for text in texts:
                print(f"  {text}")
    for path in facts["reports"]:
        print(path)
    _console.next_command(recommendation(store, facts["with_accuracy"] > 0))
