"""`edgezoo doctor`."""

from __future__ import annotations

import click

from edgezoo import console
from edgezoo.cli.options import common


@click.command("doctor")
@common
def COMMAND(as_json: bool, debug: bool) -> int:
    """Tell what this machine has: runtimes, devices, versions that clash, how to mend it."""
    from edgezoo.diagnosis import diagnose

    facts = diagnose()
    if as_json:
        console.print_json(facts)
        return 0
    machine = facts["machine"]
    console.table(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        ("", ""),
        [
            ("Python", machine["python"]),
            ("memory", f"{machine['memory_gb']} GB"),
            ("CPU features", ", ".join(machine["features"]) or "none of those that matter"),
            ("Keras weights in", facts["keras_home"]),
        ],
    )
    console.table(
        "Runtimes",
        ("runtime", "version", "opens", "devices"),
        [
            (r["name"], r["version"] or "missing", ", ".join(r["suffixes"]),
             ", ".join(r["devices"]) or "-")
            for r in facts["runtimes"]
        ],
    )  # fmt: skip
    console.table(
        "Exporters",
        ("format", "ready", "missing"),
        [
            (e["name"], "yes" if not e["missing"] else "no", ", ".join(e["missing"]) or "-")
            for e in facts["exporters"]
        ],
    )
    for problem in facts["problems"]:
        console.warn(f"{problem['what']} {problem['mend']}")
    if not facts["problems"]:
        console.note("No problems found.")
    return 0
