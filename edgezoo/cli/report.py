"""`edgezoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo import console
from edgezoo.cli.options import PATH, common, split
from edgezoo.errors import UsageError, did_you_mean

KINDS = ("html", "csv", "md", "json")


@click.command("report", short_help="Make a report of results stores.")
@click.argument("stores", nargs=-1, required=True, type=PATH, metavar="RESULTS...")
@click.option(
    "--as", "kinds", multiple=True, default=("html",), metavar="LIST",
    help="html (default), csv, md, json; several by commas.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=PATH, metavar="DIR", help="Where to write; default: the last store."
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

    \b
    Examples:
      edgezoo report results/
      edgezoo report results/ --as html,csv,md
      edgezoo report before/ after/ --fail-on-regression
    """
    from edgezoo.reporting.files import write

    wanted = split(kinds)
    for kind in wanted:
        if kind not in KINDS:
            raise UsageError(f"There is no report as {kind!r}.", did_you_mean(kind, KINDS))
    if fail_on_regression and len(stores) != 2:
        raise UsageError("--fail-on-regression needs two stores.", "Give the older one first.")
    facts = write(stores, wanted, output or stores[-1])
    for text in facts["damaged"]:
        console.warn(text)
    if as_json:
        console.print_json(facts)
    else:
        _show(facts)
    worse = facts["comparison"] is not None and facts["comparison"]["regressions"]
    return 6 if fail_on_regression and worse else 0


def _show(facts: dict[str, Any]) -> None:
    machines = len(facts["machines"])
    print(f"{facts['variants']} variants on {machines} {'machine' if machines == 1 else 'machines'}"
          f", {facts['failed']} failed.")  # fmt: skip
    if facts["comparison"] is not None:
        for word in ("regressions", "improvements", "not_compared"):
            texts = facts["comparison"][word]
            print(f"{word.replace('_', ' ').capitalize()}: {len(texts)}")
            for text in texts:
                print(f"  {text}")
    for path in facts["reports"]:
        print(path)
    console.next_command("edgezoo recommend RESULTS --max-latency-ms 10")
