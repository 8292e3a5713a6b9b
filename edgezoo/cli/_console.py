"""Output for people: tables, progress and notes. Results go to stdout, the rest to stderr.

rich draws progress, where it is installed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgezoo.core import escapes, typed_json
from edgezoo.core.ran_on import COMPUTED_IN

if TYPE_CHECKING:
    from rich.console import Console

    from edgezoo.core.ran_on import RanOn, Remote
    from edgezoo.evaluation.agreement import Comparison, Verification

# Key of "quiet" or "verbose" in the click context's meta.
VERBOSITY = "edgezoo.verbosity"
_WIDTH, _NARROWEST = 80, 8
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( ?[A-Za-z%]{1,2})?")


def print_json(value: object) -> None:
    """Print a dataclass or a dictionary as one JSON object on standard output."""
    facts = typed_json.encode(value)
    sys.stdout.write(json.dumps(facts, indent=1, default=str, allow_nan=False) + "\n")


def say(text: str) -> None:
    """Print a line on standard output; a name in it can start no line of its own."""
    print(escapes.line(text))


def wrapped(text: str) -> None:
    """Print a sentence on standard output, folded."""
    import click

    print(click.wrap_text(escapes.line(escapes.cut(text)), _WIDTH))


def note(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(escapes.line(text) + "\n")


def paragraphs(text: str) -> None:
    """Print a text of several lines on standard error."""
    sys.stderr.write(escapes.text(text) + "\n")


class _Notes(logging.Handler):
    """Prints log records as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def follow_log(quiet: bool) -> None:
    """Print EdgeZoo's log: downloads, and on a terminal also their progress."""
    log = logging.getLogger("edgezoo")
    if not log.handlers:
        log.addHandler(_Notes())
    level = logging.DEBUG if sys.stderr.isatty() else logging.INFO
    log.setLevel(logging.WARNING if quiet else level)


def _verbosity() -> str | None:
    import click

    context = click.get_current_context(silent=True)
    return context.meta.get(VERBOSITY) if context else None


def verbose() -> bool:
    """Return whether --verbose is set."""
    return _verbosity() == "verbose"


def next_command(*commands: str) -> None:
    """Print likely next commands on standard error, unless --quiet is set."""
    if _verbosity() == "quiet":
        return
    for number, command in enumerate(commands):
        note(f"{'     ' if number else 'Next:'} {command}")


def ran_on(remote: Remote | None) -> None:
    """Print the remote device of a result, if there is one."""
    if remote is not None:
        runtimes = ", ".join(remote.runtimes.values()) or "no runtime"
        note(f"On {remote.device}: {remote.machine}, Python {remote.python}, {runtimes}.")


def colour() -> bool | None:
    """Return click's `color`: False if NO_COLOR is set (no-color.org), else None for automatic."""
    return False if os.environ.get("NO_COLOR") else None


def warn(text: str) -> None:
    """Print a warning on standard error, yellow on a terminal."""
    import click

    click.secho(f"Warning: {escapes.line(text)}", fg="yellow", err=True, color=colour())


def note_place(ran_on: RanOn) -> None:
    """Print the device that a file ran on, unless it is a plain CPU."""
    known = set(ran_on.details) - {COMPUTED_IN}
    if ran_on.device == "cpu" and not known and not ran_on.in_bfloat16:
        return
    words = [ran_on.device, ran_on.name or "", f"({ran_on.kind})"]
    words += [f"{key.replace('_', ' ')} {value}" for key, value in ran_on.details.items()]
    if ran_on.fully_accelerated is False:
        words.append("some operations on the CPU")
    note(f"Ran on {' '.join(word for word in words if word)}.")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, at most as wide as the terminal (80 columns in a pipe).

    Columns of numbers are aligned to the right; the widest column is folded until all fits.
    """
    say(escapes.cut(title))
    cells = [[escapes.cell(value) for value in row] for row in rows]
    lines = [[escapes.cell(name) for name in columns], *cells] if any(columns) else cells
    parts = [(column, column[len(lines) - len(cells) :]) for column in zip(*lines, strict=True)]
    right = [all(map(_is_number, body)) for _, body in parts]
    widths = [max(map(len, column)) for column, _ in parts]
    most = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    while sum(widths) + 2 * (len(widths) - 1) > most and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    for line in lines:
        folded = [
            textwrap.wrap(text, width) or [""] for text, width in zip(line, widths, strict=True)
        ]
        for texts in itertools.zip_longest(*folded, fillvalue=""):
            padded = map(_padded, texts, widths, right)
            print("  ".join(padded).rstrip())


def _padded(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _is_number(text: str) -> bool:
    return text == "-" or _NUMBER.fullmatch(text) is not None


def _rich(enabled: bool) -> Console | None:
    """Return rich's console for standard error, if that is a terminal and rich is installed."""
    if not enabled or not sys.stderr.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(stderr=True)


def _for_rich(text: str) -> str:
    """Escape a step for rich, which takes [words] for markup."""
    from rich.markup import escape

    return str(escape(escapes.line(text)))


@contextlib.contextmanager
def status(enabled: bool) -> Iterator[Callable[[str], None]]:
    """Show the current step with a spinner on a terminal, and nothing elsewhere.

    With --verbose, print a line for each step, with the seconds since the start.
    """
    if _verbosity() == "verbose":
        begun = time.monotonic()
        yield lambda text: note(f"{time.monotonic() - begun:7.1f} s  {text}")
    elif console := _rich(enabled):
        with console.status("Starting") as spinner:
            yield lambda text: spinner.update(f"{_for_rich(text)} …")
    else:
        yield lambda text: None


@contextlib.contextmanager
def bar(enabled: bool, total: int | None, text: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; with --verbose, print a line before and after."""
    if _verbosity() == "verbose":
        with status(True) as step:
            done = [0]
            step(text)
            yield lambda n: done.append(done.pop() + n)
            step(f"{text}: {done[0]}")
    elif console := _rich(enabled):
        from rich.progress import Progress

        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(_for_rich(text), total=total)
            yield lambda n: progress.advance(task, n)
    else:
        yield lambda n: None


@contextlib.contextmanager
def share(enabled: bool) -> Iterator[Callable[[str, float], None]]:
    """Show the current step, the share that is done and the remaining time on a terminal.

    Call it with a text and a share from 0 to 1. With --verbose, print a line for each new text.
    """
    if _verbosity() == "verbose":
        with status(True) as step:
            last = ""

            def line(text: str, done: float) -> None:
                nonlocal last
                if text != last:
                    last = text
                    step(f"{100 * done:3.0f} %  {text}")

            yield line
    elif console := _rich(enabled):
        from rich.progress import Progress

        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Starting", total=1.0)
            yield lambda text, done: progress.update(
                task, description=_for_rich(text), completed=done
            )
    elif enabled and sys.stderr.isatty():
        yield lambda text, done: note(f"{100 * done:3.0f} % {text}")
    else:
        yield lambda text, done: None


def size(count: int) -> str:
    """Format bytes with a decimal unit."""
    if count >= 1e6:
        return f"{count / 1e6:.2f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1e3 else f"{count} B"


def decibels(check: Verification | Comparison) -> str:
    """Format the SQNR of a verification; it is None if there is no difference."""
    if check.sqnr_db is not None:
        return f"{check.sqnr_db:.1f}"
    return "exact" if check.verdict == "passed" else "-"


def agreement(check: Verification | Comparison) -> str:
    """Format the top-1 agreement of a verification; for features, the smallest cosine."""
    return f"{check.cosine:.4f}" if check.cosine is not None else percent(check.agreement_top1)


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share as percent, None as `-`."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"
