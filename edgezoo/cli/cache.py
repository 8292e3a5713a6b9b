"""`edgezoo cache`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common
from edgezoo.core.errors import UsageError


@click.command("cache", short_help="Tell what the cache holds, or clear it.")
@click.argument("action", type=click.Choice(["info", "clear"]))
@click.argument("parts", nargs=-1, metavar="[PART]...")
@common
def COMMAND(action: str, parts: tuple[str, ...], as_json: bool, debug: bool) -> None:
    """Tell what the cache holds (info), or remove all of it or some parts (clear).

    It lies in EDGEZOO_CACHE, else in the user's cache folder. Exported files stay within
    EDGEZOO_CACHE_LIMIT (5GB); 0 keeps none.

    \b
    Examples:
      edgezoo cache info
      edgezoo cache clear
      edgezoo cache clear exports
    """
    from edgezoo.pipeline import export_cache

    if action == "info" and parts:
        raise UsageError("edgezoo cache info takes no part.", "Leave it out.")
    facts = export_cache.clear(parts) if action == "clear" else export_cache.info()
    if as_json:
        _console.print_json(facts)
        return
    if action == "clear":
        freed = sum(part["bytes"] for part in facts["removed"])
        print(f"{_console.size(freed)} removed.")
    limit = _console.size(facts["limit"])
    _console.table(
        f"{facts['path']}, {_console.size(facts['bytes'])} (exports: at most {limit})",
        ("part", "entries", "size"),
        [(part["name"], part["entries"], _console.size(part["bytes"])) for part in facts["parts"]],
    )
    _console.next_command("edgezoo cache clear" if facts["parts"] else "edgezoo list")
