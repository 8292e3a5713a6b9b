"""`edgezoo list`."""

from __future__ import annotations

from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import SHARE, common, flag, option
from edgezoo.core.spec import PRECISIONS
from edgezoo.networks import catalogue


@click.command("list", short_help="List the models of the zoo.")
@click.argument("pattern", required=False)
@option(
    "--sort",
    "Best accuracy first, otherwise the smallest; a precision sorts by file size.",
    click.Choice(catalogue.SORTS),
    shown="name",
)
@option("--min-top1 SHARE", "Published top-1, such as 0.75.", SHARE)
@option("--max-parameters MILLIONS", type=float)
@option("--max-multiply-adds MILLIONS", "For one image of the default size.", float)
@option("--max-size MB", "Estimated file size.", float, to="max_bytes")
@option("--precision", "Of the file for --max-size.", click.Choice(PRECISIONS), shown="int8")
@flag("--with-weights", "Only with ImageNet weights on this machine.")
@common
def COMMAND(sort: str, as_json: bool, debug: bool, **criteria: Any) -> None:
    """List the zoo; PATTERN is part of a name, or a pattern such as 'dense*'.

    \b
    Examples:
      edgezoo list
      edgezoo list "dense*"
      edgezoo list --max-size 6 --min-top1 0.75 --sort top1
    """
    for name in ("max_parameters", "max_multiply_adds", "max_bytes"):
        if criteria[name] is not None:
            criteria[name] *= 1e6
    found = catalogue.select(catalogue.ModelFilter(**criteria), sort)
    models = [catalogue.describe(spec.name) for spec in found]
    if as_json:
        _console.print_json(catalogue.ModelList(tuple(models)))
        return
    rows = [
        (
            found.model,
            _console.percent(found.top1),
            f"{found.parameters / 1e6:.1f} M",
            f"{found.multiply_adds / 1e6:.0f} M",
            *(f"{found.file_bytes_about[name] / 1e6:.1f}" for name in PRECISIONS),
            found.default_input_size,
            "yes" if found.weights_here else None,
        )
        for found in models
    ]
    _console.say("Published top-1; estimated sizes of float32, float16 and int8 files in MB;")
    _console.table(
        "here: ImageNet weights are on this machine",
        ("model", "top-1", "params", "mult-adds", "f32", "f16", "int8", "px", "here"),
        rows,
    )
    _console.next_command(f"edgezoo show {models[0].model}")
