"""`edgezoo list`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import SHARE, common, flag, option
from edgezoo.core.spec import PRECISIONS, Precision
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
@option("--max-size MB", "Estimated file size.", float)
@option("--precision", "Of the file for --max-size.", click.Choice(PRECISIONS), shown="int8")
@flag("--with-weights", "Only with ImageNet weights on this machine.")
@common
def COMMAND(
    pattern: str | None,
    sort: str,
    min_top1: float | None,
    max_parameters: float | None,
    max_multiply_adds: float | None,
    max_size: float | None,
    precision: Precision,
    with_weights: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """List the zoo; PATTERN is part of a name, or a pattern such as 'dense*'.

    \b
    Examples:
      edgezoo list
      edgezoo list "dense*"
      edgezoo list --max-size 6 --min-top1 0.75 --sort top1
    """
    criteria = catalogue.ModelFilter(
        pattern,
        min_top1,
        _times(max_parameters),
        _times(max_multiply_adds),
        _times(max_size),
        precision,
        with_weights,
    )
    models = [catalogue.describe(spec.name) for spec in catalogue.select(criteria, sort)]
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
    _console.table(
        "Published top-1; estimated sizes of float32, float16 and int8 files in MB;\n"
        "here: ImageNet weights are on this machine",
        ("model", "top-1", "params", "mult-adds", "f32", "f16", "int8", "px", "here"),
        rows,
    )
    _console.next_command(f"edgezoo show {models[0].model}")


def _times(millions: float | None) -> float | None:
    return None if millions is None else millions * 1e6
