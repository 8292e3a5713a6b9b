"""`edgezoo recommend`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common
from edgezoo.core import typed_json
from edgezoo.core.errors import counted
from edgezoo.core.escapes import shell

if TYPE_CHECKING:
    from edgezoo.reporting.budgets import Budgets
    from edgezoo.reporting.recommendation import Preference, RecommendResult
    from edgezoo.reporting.rows import Candidate

PREFERENCES = click.Choice(("accuracy", "latency", "size"))
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """A size such as 300k, 2M or 1.5Mi."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([kMG]i?|)B?", text)
    if found is None:
        raise click.BadParameter(
            f"{text[:40]!r} is not a size; write 300k, 2M or 1.5Mi.", context, option
        )
    return int(float(found[1]) * _UNITS[found[2]])


@click.command("recommend", short_help="Choose the best variant under budgets.")
@click.argument("stores", nargs=-1, required=True, type=PATH, metavar="RESULTS...")
@click.option(
    "--max-latency-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Milliseconds of one inference.",
)
@click.option(
    "--max-bytes",
    callback=_bytes,
    metavar="SIZE",
    help="Bytes of the files: 300k, 2M (powers of 1000), 1.5Mi (of 1024).",
)
@click.option(
    "--max-memory-mb",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="Peak memory of the process, in MB.",
)
@click.option(
    "--min-top1",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Top-1 as a share of the images: 0.6 is 60 %.",
)
@click.option(
    "--max-drop",
    "max_drop_points",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Of top-1 against float32: 1 is one percentage point.",
)
@click.option(
    "--statistic",
    type=click.Choice(("median", "p90", "p95")),
    default="median",
    show_default=True,
    help="The latency that --max-latency-ms bounds.",
)
@click.option(
    "--sure", is_flag=True, help="Whole 95 % intervals must keep the bounds; p90, p95 have none."
)
@click.option("--prefer", type=PREFERENCES, default="accuracy", show_default=True)
@click.option(
    "--equal-within",
    "equal_within_points",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="Differences of top-1 that do not matter, in percentage points: the faster one wins.",
)
@click.option("--allow-poor", is_flag=True, help="Choose among latencies with poor trust, too.")
@click.option("--machine", metavar="TEXT", help="Part of its name, where there are several.")
@click.option(
    "--image-list",
    metavar="HASH",
    help="Beginning of the hash of the images of the accuracies, where there are several lists.",
)
@common
def COMMAND(
    stores: tuple[Path, ...],
    prefer: Preference,
    machine: str | None,
    image_list: str | None,
    equal_within_points: float,
    allow_poor: bool,
    as_json: bool,
    debug: bool,
    **budgets: Any,
) -> int:
    """Choose the best variant of a results store under budgets, and say why.

    Exits with 6 where nothing fits, and prints which bound to loosen.

    \b
    Example:
      edgezoo recommend results/ --max-latency-ms 20 --max-bytes 2M --min-top1 0.6
    """
    from edgezoo.reporting.budgets import Budgets
    from edgezoo.reporting.recommendation import recommend
    from edgezoo.reporting.stored import read

    stored = read(stores, allow_poor)
    for text in stored.damaged:
        _console.warn(text)
    result = recommend(
        stored.rows,
        Budgets(**budgets),
        prefer,
        machine,
        image_list,
        equal_within_points=equal_within_points,
        allow_poor=allow_poor,
    )
    if as_json:
        _console.print_json(typed_json.encode(result))
    elif result.choice is None:
        _show_misses(result, Budgets(**budgets))
    else:
        _show(result, result.choice)
    return 0 if result.choice else 6


def _figures(result: RecommendResult, variant: Candidate) -> tuple[str, str, str]:
    """Return latency, top-1 and size of a variant."""
    value = getattr(variant, f"{result.statistic}_ms")
    latency = "-" if value is None else f"{value:.2f}"
    return latency, _console.percent(variant.top1), _console.size(variant.bytes)


def _unit(result: RecommendResult) -> str:
    return "ms" if result.statistic == "median" else f"{result.statistic} ms"


def _option(bound: str) -> str:
    return f"--{bound.removesuffix('_points').replace('_', '-')}"


def _show_misses(result: RecommendResult, budgets: Budgets) -> None:
    if not result.considered:
        _console.note(
            f"The trust in the latency of all {result.left_out} variants is poor: measure again on "
            "a quiet machine, or give --allow-poor."
        )
        return
    _console.note(f"None of {result.considered} variants keeps all bounds.")
    for name, count in result.misses.items():
        _console.note(f"  {_option(name)}: {count} break it")
    for entry in result.alternatives:
        latency, top1, size = _figures(result, entry.variant)
        what = f"Without {_option(entry.without)}: {entry.variant.name}"
        _console.note(f"{what}, {latency} {_unit(result)}, {size}, top-1 {top1}")
    if result.nearest and not result.alternatives:
        texts = [
            f"{_option(name)} is {_text(getattr(budgets, name))}, and it has {_text(value)}"
            for name, value in result.nearest.misses.items()
        ]
        _console.note(f"Nearest: {result.nearest.variant.name}: {'; '.join(texts)}.")
    _show_left_out(result)


def _text(value: float | None) -> str:
    """Return a figure of a bound with as many digits as matter."""
    return (
        "an unknown figure" if value is None else f"{value:.4g}" if value < 1000 else f"{value:.0f}"
    )


def _show_left_out(result: RecommendResult) -> None:
    if result.left_out:
        variants = counted(result.left_out, "variant")
        _console.note(
            f"Left out: {variants} with poor trust in the latency; --allow-poor takes them."
        )


def _show_next(choice: Candidate) -> None:
    """Print the command that bundles the chosen file, or what to look for where it is not here."""
    from edgezoo.sweep.keys import artifact_sha256

    for path in (Path(choice.store or "") / choice.path, Path(choice.path)):
        if path.is_file() and artifact_sha256(path) == choice.sha256:
            _console.next_command(f"edgezoo bundle {shell(path)} -o bundle.zip")
            return
    _console.note(
        f"The file is {choice.path}, SHA-256 {choice.sha256}. It is not in the store or here: "
        "give its path to edgezoo bundle."
    )
    _console.next_command(f"edgezoo report {shell(choice.store)}")


def _show(result: RecommendResult, choice: Candidate) -> None:
    rows = [
        (word, variant.name, variant.threads, *_figures(result, variant))
        for word, variant in (("choice", choice), ("runner-up", result.runner_up))
        if variant
    ]
    _console.table(choice.machine, ("", "variant", "thr", _unit(result), "top-1", "size"), rows)
    for text in result.why:
        _console.wrapped(text)
    _show_left_out(result)
    _show_next(choice)
