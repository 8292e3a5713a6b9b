"""Run another program that shows signs of life, and end it with this process."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from edgezoo.core.heartbeat import alive

_SET_PARENT_DEATH_SIGNAL = 1  # of prctl


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended: its lines, and the end of its messages."""

    code: int
    lines: tuple[str, ...]
    messages: str


def run(command: Sequence[str]) -> Ended:
    """Run a program; each line that it prints is a sign of life."""
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            preexec_fn=_end_with_parent,
        ) as child:
            lines = []
            for line in child.stdout or ():
                alive()
                lines.append(line.rstrip("\n"))
        messages.seek(0)
        text = messages.read().decode(errors="replace").strip()
    return Ended(child.returncode, tuple(lines), text)


def _end_with_parent() -> None:
    """Let Linux end this process with the one that started it, which a timer may kill."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
