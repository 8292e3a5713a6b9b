"""`edgezoo samples`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common, flag, quiet

if TYPE_CHECKING:
    from edgezoo.images.samples.fetch_samples import SamplesResult


@click.command("samples", short_help="Download public sample images for calibration.")
@click.argument("action", type=click.Choice(["fetch", "info"]))
@flag("--accept-terms", "You have read the terms and accept them.")
@quiet
@common
def COMMAND(action: str, accept_terms: bool, quiet: bool, as_json: bool, debug: bool) -> None:
    """Download public sample images, one for each ImageNet class, into the cache.

    ACTION is fetch, which resumes an interrupted download, or info, which reports what is
    here. The images have ImageNet's terms of use, not EdgeZoo's: fetch shows them and
    asks. Use the images to calibrate int8 files; they are too easy to measure accuracy.

    \b
    Examples:
      edgezoo samples info
      edgezoo samples fetch
      edgezoo export mobilenet --int8 --calibration samples
    """
    from edgezoo.images import samples

    if action == "info":
        found = samples.look()
    else:
        accepted = accept_terms or _ask()
        count = len(samples.COLLECTION.samples())
        with _console.bar(not quiet, count, "Downloading images") as progress:
            found = samples.fetch(accepted, progress=progress)
    if as_json:
        _console.print_json(found)
    else:
        _show(found)
    export = "export mobilenet --int8 --calibration samples"
    follow = "samples fetch" if found.here < found.listed else export
    _console.next_command(f"edgezoo {follow}")


def _ask() -> bool:
    """Show the terms and ask, unless they were accepted before or there is no terminal."""
    from edgezoo.images import samples

    if samples.accepted():
        return True
    _console.paragraphs(samples.COLLECTION.terms)
    if not sys.stdin.isatty():
        return False
    return click.confirm("Do you accept these terms?", err=True)


def _show(found: SamplesResult) -> None:
    rows = [
        ("here", f"{found.here} of {found.listed}, {_console.size(found.bytes)}"),
        ("folder", str(found.folder)),
        ("from", found.origin),
    ]
    if found.altered:
        rows.append(("altered", f"{len(found.altered)}; samples fetch downloads them again"))
    if found.fetched is not None:
        checked = "hashes of the commit" if found.checked_by == "commit" else "likeness"
        rows.append(("downloaded", f"{found.fetched}, checked by {checked}"))
    if found.fetched and found.because:
        rows.append(("no hashes", found.because))
    _console.table("Sample images", ("", ""), rows)
    _console.paragraphs(f"Terms{' (accepted)' if found.accepted else ''}:\n{found.terms}")
