"""`edgezoo doctor`."""

from __future__ import annotations

import click

from edgezoo.cli import _console
from edgezoo.cli._options import common, remote
from edgezoo.core.errors import counted
from edgezoo.inspection.diagnosis import DoctorResult, diagnose


@click.command("doctor", short_help="Print what this machine has, and what clashes.")
@remote
@common
def COMMAND(on: str | None, as_json: bool, debug: bool) -> None:
    """Print the runtimes, devices and versions of this machine, what clashes, and how to fix it.

    \b
    Examples:
      edgezoo doctor
      edgezoo doctor --on ssh://pi@raspberrypi --json
    """
    with _console.status(on is not None and not debug) as progress:
        progress(f"Looking at {on}")
        result = diagnose(on)
    if as_json:
        _console.print_json(result)
    else:
        _show(result)


def _limits(result: DoctorResult) -> str:
    if not result.not_limited:
        return "limited in memory, time, disk, writes, network and processes"
    return f"NOT limited in {'; '.join(result.not_limited)}"


def _show(result: DoctorResult) -> None:
    machine = result.machine
    _console.table(
        f"{machine.board or machine.cpu}, {counted(machine.cores, 'core')}, {machine.system}",
        ("", ""),
        [
            ("Python", f"{machine.python}, {machine.architecture}, {machine.bits} bits"),
            ("memory", f"{machine.memory_gb} GB, pages of {machine.page_size} bytes"),
            ("CPU features", ", ".join(machine.features) or "none of those that matter"),
            ("Keras weights in", result.keras_home),
            ("untrusted files", _limits(result)),
        ],
    )
    rows: list[tuple[object, ...]] = [
        (r.name, r.version or "missing", ", ".join(r.suffixes), ", ".join(r.devices) or "-")
        for r in result.runtimes
    ]
    _console.table("Runtimes", ("runtime", "version", "opens", "devices"), rows)
    if result.coral:
        rows = [(c.bus, c.id, c.state, c.node, "yes" if c.allowed else "no") for c in result.coral]
        columns = ("bus", "id", "state", "device file", "may be opened")
        _console.table("Coral Edge TPU", columns, rows)
    if result.libraries:
        rows = [(library.name, library.serves, library.path) for library in result.libraries]
        _console.table("Libraries for other devices", ("library", "serves", "path"), rows)
    rows = [
        (e.name, "no" if e.missing else "yes", ", ".join(e.missing) or "-")
        for e in result.exporters
    ]
    _console.table("Exporters", ("format", "ready", "missing"), rows)
    _console.ran_on(result.remote)
    for problem in result.problems:
        _console.warn(f"{problem.what} {problem.fix}")
    if not result.problems:
        _console.note("No problems found.")
    _console.next_command("edgezoo list")
