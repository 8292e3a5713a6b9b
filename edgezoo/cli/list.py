"""`edgezoo list`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.core import typed_json
from edgezoo.core.spec import PRECISIONS, Precision
from edgezoo.networks import catalogue


@click.command("list", short_help="List the models of the zoo.")
@click.argument("pattern", required=False)
@click.option(
    "--sort",
    type=click.Choice(catalogue.SORTS),
    default="name",
    show_default=True,
    help="Best accuracy first, otherwise the smallest; a precision sorts by file size.",
)
@click.option(
    "--min-top1",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Published top-1, such as 0.75.",
)
@click.option("--max-parameters", type=float, metavar="MILLIONS")
@click.option(
    "--max-multiply-adds", type=float, metavar="MILLIONS", help="For one image of the default size."
)
@click.option("--max-size", type=float, metavar="MB", help="Estimated file size.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="int8",
    show_default=True,
    help="Of the file for --max-size.",
)
@click.option("--with-weights", is_flag=True, help="Only with ImageNet weights on this machine.")
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
        _console.print_json(typed_json.encode(catalogue.ModelList(tuple(models))))
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
