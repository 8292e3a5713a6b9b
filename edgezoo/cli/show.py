"""`edgezoo show`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.networks import catalogue


@click.command("show")
@click.argument("model")
@common
def COMMAND(model: str, as_json: bool, debug: bool) -> None:
    """Show what is known about MODEL.

    \b
    Examples:
      edgezoo show mobilenet
      edgezoo show densenet121 --json
    """
    facts = catalogue.describe(model)
    if as_json:
        _console.print_json(facts)
        return
    rows = [
        ("parameters", f"{facts['parameters']:,}"),
        ("multiply-adds", f"{facts['multiply_adds'] / 1e6:,.0f} M"),
        ("depth", facts["depth"]),
        ("float32 weights", f"{facts['size_mb']:g} MB"),
        ("files (estimated)", _sizes(facts["file_bytes_about"])),
        (
            "top-1, top-5 (published)",
            f"{_console.percent(facts['top1'])}, {_console.percent(facts['top5'])}",
        ),
        ("input size", f"{facts['default_input_size']} px (at least {facts['min_input_size']})"),
        ("preprocessing", f"{facts['preprocessing']}; {facts['resize']['filter']}"),
        ("ImageNet weights", "here" if facts["weights_here"] else _origin(facts["weights"])),
        ("widths with ImageNet weights", _numbers(facts["alphas_with_imagenet_weights"])),
        ("formats", ", ".join(facts["formats"])),
        ("precisions", ", ".join(facts["precisions"])),
        ("weights licence", facts["weights_licence"]),
        ("paper", facts["paper"]),
    ]
    _console.table(facts["model"], ("", ""), rows)
    _console.next_command(f"edgezoo export {facts['model']} --int8")


def _sizes(about: dict[str, int]) -> str:
    return ", ".join(f"{name} {count / 1e6:.1f} MB" for name, count in about.items())


def _origin(weights: dict[str, str]) -> str:
    """Where weights would come from."""
    if "package" in weights:
        return f"not here; in the package {weights['package']}"
    return "not here; fetched when needed"


def _numbers(values: list[float] | None) -> str | None:
    return ", ".join(f"{value:g}" for value in values) if values else None
