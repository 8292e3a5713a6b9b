"""What people see: tables, progress and notes. Results go to stdout, all else to stderr.

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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgezoo.core.protocols import RanOn
    from edgezoo.system.remote import Remote

# Key of the click context's meta: "quiet" or "verbose", where the user said so.
LOUDNESS = "edgezoo.loudness"
_WIDTH, _NARROWEST = 80, 8
# C0 and C1 without \t and \n; marks, embeddings, overrides and isolates of direction (UAX #9);
# halves of pairs, which no terminal's encoding has.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( ?[A-Za-z%]{1,2})?")


def print_json(value: dict[str, Any]) -> None:
    """Exactly one JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def printable(text: str) -> str:
    """Text in which nothing tells a terminal what to do: names in files come from strangers.

    Control characters but the newline and the tab, and those that turn the direction of writing,
    become escapes as Python writes them.
    """
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


def say(text: str) -> None:
    """A line for people, on standard output."""
    print(printable(text))


def note(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(printable(text) + "\n")


class _Notes(logging.Handler):
    """Log records as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def follow_log(quiet: bool) -> None:
    """Show what modules log: what is fetched from the network; on a terminal also how far it is."""
    log = logging.getLogger("edgezoo")
    if not log.handlers:
        log.addHandler(_Notes())
    spoken = logging.DEBUG if sys.stderr.isatty() else logging.INFO
    log.setLevel(logging.WARNING if quiet else spoken)


def _loudness() -> str | None:
    import click

    context = click.get_current_context(silent=True)
    return context.meta.get(LOUDNESS) if context else None


def next_command(*commands: str) -> None:
    """What is usually done next, on standard error; nothing with --quiet."""
    if _loudness() == "quiet":
        return
    for number, command in enumerate(commands):
        note(f"{'     ' if number else 'Next:'} {command}")


def ran_on(remote: Remote | None) -> None:
    """Print which device a result comes from, where it was not this machine."""
    if remote is not None:
        runtimes = ", ".join(remote.runtimes.values()) or "no runtime"
        note(f"On {remote.device}: {remote.machine}, Python {remote.python}, {runtimes}.")


def colour() -> bool | None:
    """What click takes: False where NO_COLOR says so (no-color.org), else None: on a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def warn(text: str) -> None:
    """A warning, on standard error; yellow on a terminal."""
    import click

    click.secho(f"Warning: {printable(text)}", fg="yellow", err=True, color=colour())


def note_place(ran_on: RanOn) -> None:
    """Print what a file ran on, where that was not simply the CPU."""
    if ran_on.device == "cpu" and not ran_on.details:
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
    say(title)
    cells = [[_text(value) for value in row] for row in rows]
    lines = [[printable(name) for name in columns], *cells] if any(columns) else cells
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


def _text(value: object) -> str:
    return "-" if value is None else printable(str(value))


def _is_number(text: str) -> bool:
    return text == "-" or _NUMBER.fullmatch(text) is not None


@contextlib.contextmanager
def status(enabled: bool) -> Iterator[Callable[[str], None]]:
    """What is being done now, with a spinner, on a terminal; silent elsewhere.

    With --verbose a line for each step instead, with the seconds since the first.
    """
    if _loudness() == "verbose":
        begun = time.monotonic()
        yield lambda text: note(f"{time.monotonic() - begun:7.1f} s  {text}")
        return
    if not enabled or not sys.stderr.isatty():
        yield lambda text: None
        return
    try:
        from rich.console import Console
    except ImportError:
        yield lambda text: None
        return
    with Console(stderr=True).status("Starting") as spinner:
        yield lambda text: spinner.update(f"{text} …")


@contextlib.contextmanager
def bar(enabled: bool, total: int | None, text: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; silent elsewhere. With --verbose a line before and after."""
    if _loudness() == "verbose":
        with status(True) as say:
            done = [0]
            say(text)
            yield lambda n: done.append(done.pop() + n)
            say(f"{text}: {done[0]}")
        return
    if not enabled or not sys.stderr.isatty():
        yield lambda n: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda n: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=total)
        yield lambda n: progress.advance(task, n)


@contextlib.contextmanager
def share(enabled: bool) -> Iterator[Callable[[str, float], None]]:
    """What is being done, how much of it all is done and how long the rest may take.

    On a terminal; silent elsewhere. Call it with a text and a share from 0 to 1. With --verbose a
    line for each text.
    """
    if _loudness() == "verbose":
        with status(True) as say:
            said = [""]

            def line(text: str, done: float) -> None:
                if text != said[0]:
                    said[0] = text
                    say(f"{100 * done:3.0f} %  {text}")

            yield line
        return
    if not enabled or not sys.stderr.isatty():
        yield lambda text, done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda text, done: note(f"{100 * done:3.0f} % {text}")
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Starting", total=1.0)
        yield lambda text, done: progress.update(task, description=text, completed=done)


def size(count: int) -> str:
    """Bytes in the unit that reads best (powers of ten)."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return (
                f"{count / factor:.2f} {unit}" if unit == "MB" else f"{count / factor:.0f} {unit}"
            )
    return f"{count} B"


def decibels(check: dict[str, Any]) -> str:
    """The SQNR of a verification, in words where it is no number."""
    if check.get("sqnr_db") is not None:
        return f"{check['sqnr_db']:.1f}"
    return "exact" if check["verdict"] == "passed" else "-"


def agreement(check: dict[str, Any]) -> str:
    """What a verification says of classes; of features, the smallest cosine."""
    if check.get("cosine") is not None:
        return f"{check['cosine']:.4f}"
    return percent(check.get("agreement_top1"))


def percent(share: float | None, digits: int = 1) -> str:
    """A share as percent, `-` where there is none."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"
