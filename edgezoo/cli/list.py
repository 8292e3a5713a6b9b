"""`edgezoo list`."""

from __future__ import annotations

import click

from edgezoo import console, registry
from edgezoo.cli.options import common
from edgezoo.errors import UsageError, did_you_mean


@click.command("list")
@click.argument("pattern", required=False)
@common
def COMMAND(pattern: str | None, as_json: bool, debug: bool) -> None:
    """List the zoo; PATTERN is a part of a name or a pattern such as 'dense*'."""
    from fnmatch import fnmatch

    known = registry.models()
    chosen = [
        spec
        for name, spec in sorted(known.items())
        if pattern is None or fnmatch(name, pattern.lower()) or pattern.lower() in name
    ]
    if not chosen:
        raise UsageError(f"No model matches {pattern!r}.", did_you_mean(str(pattern), list(known)))
    if as_json:
        console.print_json({"models": [registry.describe_model(spec.name) for spec in chosen]})
        return
    rows = [
        (
            spec.name,
            f"{spec.parameters / 1e6:.1f} M",
            spec.depth,
            f"{spec.size_mb:g} MB",
            console.percent(spec.top1),
            console.percent(spec.top5),
            spec.default_input_size,
            spec.min_input_size,
        )
        for spec in chosen
    ]
    console.table(
        "Accuracy as published by Keras, on ImageNet's validation set",
        ("model", "params", "depth", "float32", "top-1", "top-5", "px", "min px"),
        rows,
    )
