"""Processes, as /proc describes them, and moments at which they stop or die."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Seconds that only end a hang: nothing that works takes so long, however busy the machine is.
PATIENCE = 300.0
_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait for a condition; return whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def children_of(pid: int) -> set[int]:
    """Processes that descend from one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= more
    return found


def state(pid: int) -> str | None:
    """A process's letter in /proc: "T" is stopped, "Z" a zombie; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    return state(pid) not in (None, "Z")


class Changes:
    """Counts this process's changes to files and folders, and can send it a signal before one.

    Counted are renames, removals, new folders, files opened to be written, and calls of `tick`.
    """

    def __init__(self, at: int | None = None, number: int = signal.SIGKILL) -> None:
        """Count from now on; before change `at` this process gets the signal."""
        self.count = 0
        self._at, self._number = at, number
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGING or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)):
            self.tick()

    def tick(self) -> None:
        """Count one more."""
        self.count += 1
        if self.count == self._at:
            os.kill(os.getpid(), self._number)
