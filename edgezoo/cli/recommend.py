"""`edgezoo recommend`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """A size such as 300k, 2M or 1.5Mi."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]i?|)B?", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write 300k, 2M or 1.5Mi.", context, option)
    return int(float(found[1]) * _UNITS[found[2]])


@click.command("recommend", short_help="Choose the best variant under budgets.")
@click.argument("stores", nargs=-1, required=True, type=PATH, metavar="RESULTS...")
@click.option("--max-latency-ms", type=click.FloatRange(0, min_open=True), metavar="MS")
@click.option("--max-bytes", callback=_bytes, metavar="SIZE", help="Of the files: 300k, 2M, 1.5Mi.")
@click.option("--max-memory-mb", type=click.FloatRange(0, min_open=True), metavar="MB")
@click.option("--min-top1", type=click.FloatRange(0, 1), metavar="SHARE", help="0.6 is 60 %.")
@click.option(
    "--max-drop", type=click.FloatRange(0, 1), metavar="SHARE", help="Of top-1 against float32."
)
@click.option(
    "--statistic",
    type=click.Choice(("median", "p90", "p95")),
    default="median",
    show_default=True,
    help="Which latency must keep to its bound.",
)
@click.option(
    "--sure", is_flag=True, help="Whole 95 % intervals must keep to the bounds; p90, p95 have none."
)
@click.option(
    "--prefer",
    type=click.Choice(("accuracy", "latency", "size")),
    default="accuracy",
    show_default=True,
)
@click.option("--machine", metavar="TEXT", help="Part of its name, where there are several.")
@click.option(
    "--image-list",
    metavar="HASH",
    help="Beginning of the hash of the images of the accuracies, where there are several lists.",
)
@common
def COMMAND(
    stores: tuple[Path, ...],
    prefer: str,
    machine: str | None,
    image_list: str | None,
    as_json: bool,
    debug: bool,
    **budgets: Any,
) -> int:
    """Choose the best variant of a results store under budgets, and say why.

    Exits with 6 where nothing fits, and tells which bound to loosen.

    \b
    Example:
      edgezoo recommend results/ --max-latency-ms 20 --max-bytes 2M --min-top1 0.6
    """
    from edgezoo.reporting.recommendation import Budgets, recommend
    from edgezoo.reporting.rows import rows
    from edgezoo.results.store import read_stores

    parts, damaged = read_stores(stores)
    for text in damaged:
        _console.warn(text)
    records = [record for records in parts for record in records]
    facts = recommend(rows(records), Budgets(**budgets), prefer, machine, image_list)
    if as_json:
        _console.print_json(facts)
    else:
        _show(facts)
    return 0 if facts["choice"] else 6


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _show(facts: dict[str, Any]) -> None:
    figure = f"{facts['statistic']}_ms"
    heading = "ms" if facts["statistic"] == "median" else f"{facts['statistic']} ms"
    if facts["choice"] is None:
        _console.note(f"None of {facts['considered']} variants keeps to all bounds.")
        for name, count in facts["misses"].items():
            _console.note(f"  --{name.replace('_', '-')}: {count} break it")
        for entry in facts["alternatives"]:
            variant = entry["variant"]
            _console.note(
                f"Without --{entry['without'].replace('_', '-')}: {variant['name']}, "
                f"{_ms(variant[figure])} {heading}, {_console.size(variant['bytes'])}, "
                f"top-1 {_console.percent(variant['top1'])}"
            )
        return
    entries = [("choice", facts["choice"]), ("runner-up", facts["runner_up"])]
    rows = [
        (
            word,
            entry["name"],
            entry["threads"],
            _ms(entry[figure]),
            _console.percent(entry["top1"]),
            _console.size(entry["bytes"]),
        )
        for word, entry in entries
        if entry
    ]
    _console.table(entries[0][1]["machine"], ("", "variant", "thr", heading, "top-1", "size"), rows)
    for text in facts["why"]:
        click.echo(click.wrap_text(text, 80))
    _console.next_command("edgezoo bundle ARTIFACT -o bundle.zip (with the chosen file)")
