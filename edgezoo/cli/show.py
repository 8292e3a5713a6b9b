"""`edgezoo show`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.core.spec import WeightsPackage
from edgezoo.networks import catalogue


@click.command("show")
@click.argument("model")
@common
def COMMAND(model: str, as_json: bool, debug: bool) -> None:
    """Describe MODEL of the zoo.

    \b
    Examples:
      edgezoo show mobilenet
      edgezoo show densenet121 --json
    """
    found = catalogue.describe(model)
    if as_json:
        _console.print_json(found)
        return
    sizes = [f"{name} {count / 1e6:.1f} MB" for name, count in found.file_bytes_about.items()]
    widths = [f"{width:g}" for width in found.alphas_with_imagenet_weights or ()]
    origin = "not here; downloaded when needed"
    if isinstance(found.weights, WeightsPackage):
        origin = f"not here; in the package {found.weights.package}"
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("multiply-adds", f"{found.multiply_adds / 1e6:,.0f} M"),
        ("depth", found.depth),
        ("float32 weights", f"{found.size_mb:g} MB"),
        ("files (estimated)", ", ".join(sizes)),
        ("top-1, top-5 (published)", ", ".join(map(_console.percent, (found.top1, found.top5)))),
        ("input size", f"{found.default_input_size} px (at least {found.min_input_size})"),
        ("preprocessing", f"{found.preprocessing}; {found.resize.filter}"),
        ("ImageNet weights", "here" if found.weights_here else origin),
        ("widths with ImageNet weights", ", ".join(widths) or None),
        ("formats", ", ".join(found.formats)),
        ("precisions", ", ".join(found.precisions)),
        ("weights licence", found.weights_licence),
        ("paper", found.paper),
    ]
    _console.table(found.model, ("", ""), rows)
    _console.next_command(f"edgezoo export {found.model} --int8")
