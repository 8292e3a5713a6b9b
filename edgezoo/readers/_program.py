"""Run another program that shows signs of life, in the process group and limits of this one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgezoo.core.errors import CrashError
from edgezoo.core.heartbeat import alive

_MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended: its exit code, its lines, and its messages."""

    code: int
    lines: tuple[str, ...]
    messages: str

    @property
    def last_words(self) -> str:
        """The last line of its messages."""
        return (self.messages.splitlines() or ["no reason given"])[-1][:_MAX_MESSAGE].rstrip(".")


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program; each line that it prints is a sign of life.

    Raises:
        CrashError: a signal ended it.
    """
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env=environment,
        ) as child:
            lines = []
            for line in child.stdout or ():
                alive()
                lines.append(line.rstrip("\n"))
        messages.seek(0)
        text = messages.read().decode(errors="replace").strip()
    ended = Ended(child.returncode, tuple(lines), text)
    if ended.code < 0:
        message = f"The process of {command[0]} died (signal {-ended.code})."
        raise CrashError(message, f"Its last words: {ended.last_words}.")
    return ended
