"""`edgezoo doctor`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common, remote
from edgezoo.core.errors import counted


@click.command("doctor", short_help="Tell what this machine has, and what clashes.")
@remote
@common
def COMMAND(on: str | None, as_json: bool, debug: bool) -> int:
    """Tell what this machine has: runtimes, devices, versions that clash, how to mend it.

    \b
    Examples:
      edgezoo doctor
      edgezoo doctor --on ssh://pi@raspberrypi --json
    """
    from edgezoo.inspection.diagnosis import diagnose

    with _console.status(on is not None and not debug) as progress:
        progress(f"Looking at {on}")
        facts = diagnose(on)
    if as_json:
        _console.print_json(facts)
        return 0
    machine = facts["machine"]
    cores = counted(machine["cores"], "core")
    _console.table(
        f"{machine['board'] or machine['cpu']}, {cores}, {machine['system']}",
        ("", ""),
        [
            ("Python", f"{machine['python']}, {machine['architecture']}, {machine['bits']} bits"),
            ("memory", f"{machine['memory_gb']} GB, pages of {machine['page_size']} bytes"),
            ("CPU features", ", ".join(machine["features"]) or "none of those that matter"),
            ("Keras weights in", facts["keras_home"]),
        ],
    )
    _console.table(
        "Runtimes",
        ("runtime", "version", "opens", "devices"),
        [
            (
                r["name"],
                r["version"] or "missing",
                ", ".join(r["suffixes"]),
                ", ".join(r["devices"]) or "-",
            )
            for r in facts["runtimes"]
        ],
    )
    if facts["coral"]:
        _console.table(
            "Coral Edge TPU",
            ("bus", "id", "state", "device file", "may be opened"),
            [
                (c["bus"], c["id"], c["state"], c["node"], "yes" if c["allowed"] else "no")
                for c in facts["coral"]
            ],
        )
    if facts["libraries"]:
        _console.table(
            "Libraries for other devices than the CPU",
            ("library", "serves", "path"),
            [(e["name"], e["serves"], e["path"]) for e in facts["libraries"]],
        )
    _console.table(
        "Exporters",
        ("format", "ready", "missing"),
        [
            (e["name"], "yes" if not e["missing"] else "no", ", ".join(e["missing"]) or "-")
            for e in facts["exporters"]
        ],
    )
    _console.ran_on(facts)
    for problem in facts["problems"]:
        _console.warn(f"{problem['what']} {problem['mend']}")
    if not facts["problems"]:
        _console.note("No problems found.")
    _console.next_command("edgezoo list")
    return 0
