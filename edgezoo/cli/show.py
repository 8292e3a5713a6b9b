"""`edgezoo show`."""

from __future__ import annotations

import click

from edgezoo import console, registry
from edgezoo.cli.options import common


@click.command("show")
@click.argument("model")
@common
def COMMAND(model: str, as_json: bool, debug: bool) -> None:
    """Show what is known about MODEL."""
    facts = registry.describe_model(model)
    if as_json:
        console.print_json(facts)
        return
    rows = [
        ("parameters", f"{facts['parameters']:,}"),
        ("depth", facts["depth"]),
        ("float32 size", f"{facts['size_mb']:g} MB"),
        (
            "top-1, top-5 (published)",
            f"{console.percent(facts['top1'])}, {console.percent(facts['top5'])}",
        ),
        ("input size", f"{facts['default_input_size']} px (at least {facts['min_input_size']})"),
        ("preprocessing", facts["preprocessing"]),
        ("widths with ImageNet weights", _numbers(facts["alphas_with_imagenet_weights"])),
        ("formats", ", ".join(facts["formats"])),
        ("precisions", ", ".join(facts["precisions"])),
        ("weights licence", facts["weights_licence"]),
        ("paper", facts["paper"]),
    ]
    console.table(facts["model"], ("", ""), rows)


def _numbers(values: list[float] | None) -> str | None:
    return ", ".join(f"{value:g}" for value in values) if values else None
