"""`edgezoo cache`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.core import escapes
from edgezoo.core.errors import UsageError


@click.command("cache", short_help="Show what the cache holds, or clear it.")
@click.argument("action", type=click.Choice(["info", "clear"]))
@click.argument("parts", nargs=-1, metavar="[PART]...")
@common
def COMMAND(action: str, parts: tuple[str, ...], as_json: bool, debug: bool) -> None:
    """Show what the cache holds (info), or remove all of it or some parts (clear).

    The cache is the folder EDGEZOO_CACHE, by default in the user's cache folder.
    EDGEZOO_CACHE_LIMIT (default 5GB) limits its exported files; 0 disables caching.

    \b
    Examples:
      edgezoo cache info
      edgezoo cache clear
      edgezoo cache clear exports
    """
    from edgezoo.pipeline import export_cache

    if action == "info" and parts:
        raise UsageError("edgezoo cache info takes no PART.", "Leave it out.")
    result = export_cache.clear(parts) if action == "clear" else export_cache.info()
    if as_json:
        _console.print_json(result)
        return
    if result.removed is not None:
        _console.say(f"{_console.size(sum(part.bytes for part in result.removed))} removed.")
    total, limit = _console.size(result.bytes), _console.size(result.limit)
    rows = [(part.name, part.entries, _console.size(part.bytes)) for part in result.parts]
    title = f"{result.path}, {total} (exports: at most {limit})"
    _console.table(title, ("part", "entries", "size"), rows)
    if result.others:
        _console.note(f"Not EdgeZoo's, left alone: {escapes.cut(', '.join(result.others))}.")
    _console.next_command("edgezoo cache clear" if result.parts else "edgezoo list")
