"""`edgezoo samples`."""

from __future__ import annotations

import sys
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common, quiet


@click.command("samples", short_help="Fetch public sample images to calibrate on.")
@click.argument("action", type=click.Choice(["fetch", "info"]))
@click.option("--accept-terms", is_flag=True, help="You have read the terms and accept them.")
@quiet
@common
def COMMAND(action: str, accept_terms: bool, quiet: bool, as_json: bool, debug: bool) -> int:
    """Fetch public sample images, one for each ImageNet class, into the cache.

    ACTION is fetch, which goes on where it was interrupted, or info, which looks at what
    is here. The pictures come on ImageNet's terms, not on EdgeZoo's: fetch shows them and
    asks. They calibrate int8 files; for accuracy they are too easy.

    \b
    Examples:
      edgezoo samples info
      edgezoo samples fetch
      edgezoo export mobilenet --int8 --calibration samples
    """
    from edgezoo.images import samples

    if action == "info":
        facts = samples.look()
    else:
        facts = _fetch(accept_terms or _asked(), quiet)
    if as_json:
        _console.print_json(facts)
    else:
        _show(facts)
    if facts["here"] < facts["listed"]:
        _console.next_command("edgezoo samples fetch")
    else:
        _console.next_command("edgezoo export mobilenet --int8 --calibration samples")
    return 0


def _asked() -> bool:
    """Show the terms and ask, where somebody can answer who has not done so before."""
    from edgezoo.images import samples

    if samples.accepted():
        return True
    _console.note(samples.COLLECTION.terms)
    if not sys.stdin.isatty():
        return False
    return click.confirm("Do you accept these terms?", err=True)


def _fetch(accepted: bool, silent: bool) -> dict[str, Any]:
    from edgezoo.images import samples

    count = len(samples.COLLECTION.samples())
    with _console.bar(not silent, count, "Fetching pictures") as progress:
        return samples.fetch(accepted, progress=progress)


def _show(facts: dict[str, Any]) -> None:
    rows = [
        ("here", f"{facts['here']} of {facts['listed']}, {_console.size(facts['bytes'])}"),
        ("folder", facts["folder"]),
        ("from", facts["origin"]),
    ]
    if facts["altered"]:
        rows.append(("altered since", f"{len(facts['altered'])}, fetched again by samples fetch"))
    if "fetched" in facts:
        checked = "hashes of the commit" if facts["checked_by"] == "commit" else "likeness"
        rows.append(("fetched now", f"{facts['fetched']}, checked by {checked}"))
    if facts.get("fetched") and facts["because"]:
        rows.append(("no hashes", facts["because"]))
    _console.table("Sample images", ("", ""), rows)
    _console.note(f"Terms{' (accepted)' if facts['accepted'] else ''}:\n{facts['terms']}")
