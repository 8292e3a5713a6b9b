"""The parent's watch over a limited process: its clock, memory, disk and state.

Nothing here depends on what the process does: it cannot switch off a clock that is not its own.
What is over a limit, and a process that stops itself, is killed with its process group.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from edgezoo.core.heartbeat import COUNTS, PARTLY
from edgezoo.system.limits import Limits
from edgezoo.system.machine import usable_cores

Verdict = Literal["time", "whole time", "memory", "disk", "stopped"]
_EVERY_S = 0.2
_KEPT_EVERY_S = 2.0
_START_S = 120.0  # until Python has started; no file is open before
_SPARE_ITEMS = 10
_MOST_FILES, _DEEPEST = 20_000, 40
_BLOCK = 512  # of st_blocks
# Programs write over what they wrote: a multiple of what may be there at a time.
_WRITTEN_SHARE = 16


class Watch:
    """Watches one process until it ends."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        limits: Limits,
        folders: Sequence[Path],
        pulse: int,
        progress: Callable[[int], None] | None = None,
        keep: Callable[[], None] = lambda: None,
        *,
        clock: bool = True,
    ) -> None:
        """Begin; `keep` is called now and then; without `clock` others limit the time."""
        self._child, self._limits, self._folders, self._pulse = child, limits, folders, pulse
        self._progress, self._reported = progress, 0
        self._keep, self._next = keep, time.monotonic() + _KEPT_EVERY_S
        self._beats, self._clock, self._cores = 0, clock, usable_cores()
        self._begun = self._start = self._used()
        self._before = self._disk() if limits.disk is not None and not limits.writes else 0

    @property
    def partly(self) -> bool:
        """Whether the process said that its system does not enforce all limits."""
        return self._counts()[2] == PARTLY

    def wait(self) -> Verdict | None:
        """Wait until the process ends or must be killed, and return why it must.

        The process is not reaped: its number still is its own.
        """
        with _exits(self._child) as ended:
            while not ended(_EVERY_S):
                self._report()
                if time.monotonic() > self._next:
                    self._keep()
                    self._next = time.monotonic() + _KEPT_EVERY_S
                if (verdict := self._verdict()) is not None:
                    return verdict
        self._report()
        return None

    def _counts(self) -> list[int]:
        found = os.pread(self._pulse, 8 * COUNTS, 0)
        return [int.from_bytes(found[8 * i : 8 * i + 8], "little") for i in range(COUNTS)]

    def _report(self) -> None:
        if self._progress is None:
            return
        count = self._counts()[1]
        if count != self._reported:
            self._progress(count - self._reported)
            self._reported = count

    def _verdict(self) -> Verdict | None:
        if self._clock and _state(self._child.pid) == "T":
            return "stopped"
        if self._clock and (late := self._late()) is not None:
            return late
        if self._limits.memory is not None and _resident(self._child.pid) > self._limits.memory:
            return "memory"
        if self._limits.disk is not None and not self._limits.writes:
            written = _written(self._child.pid) // _WRITTEN_SHARE
            if max(self._disk() - self._before, written) > self._limits.disk:
                return "disk"
        return None

    def _late(self) -> Verdict | None:
        used, timeout = self._used(), self._limits.timeout
        beats = self._counts()[0]
        if beats != self._beats:
            if not self._beats:
                self._begun = used
            self._beats, self._start = beats, used
            return None if used[0] - self._begun[0] < self._whole() else "whole time"
        passed, cpu = (now - then for now, then in zip(used, self._start, strict=True))
        limit = timeout if self._beats else _START_S
        return "time" if passed > limit or cpu > limit * self._cores else None

    def _whole(self) -> float:
        return self._limits.timeout * (_SPARE_ITEMS + self._limits.items)

    def _used(self) -> tuple[float, float]:
        """Return seconds in which the process did not wait for a CPU, and its CPU seconds."""
        return time.monotonic() - _waited(self._child.pid), _cpu(self._child.pid)

    def _disk(self) -> int:
        there = sum(_size(folder) for folder in self._folders)
        return there + _deleted(self._child.pid)


@contextlib.contextmanager
def _exits(child: subprocess.Popen[bytes]) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits some seconds for the end of a process, without reaping it."""
    try:
        opened = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not Linux, or before 5.3
        yield lambda seconds: _exited(child, seconds)
        return
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    try:
        yield lambda seconds: bool(poll.poll(1000 * seconds))
    finally:
        os.close(opened)


def _exited(child: subprocess.Popen[bytes], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)


def _proc(pid: int, name: str) -> str:
    """Return a file of /proc, or nothing: it is gone, or this is not Linux."""
    try:
        with open(f"/proc/{pid}/{name}", encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _state(pid: int) -> str:
    """Return the letter of its state; a debugger's process has another one, "t"."""
    return _proc(pid, "stat").rpartition(")")[2].strip()[:1]


def _waited(pid: int) -> float:
    """Return seconds in which its first thread could have run, but other work had the CPU."""
    words = _proc(pid, "schedstat").split()
    return int(words[1]) / 1e9 if len(words) > 1 else 0.0


def _cpu(pid: int) -> float:
    """Return the CPU seconds of all of its threads."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # the clock of another process, as in glibc
    except OSError:
        return 0.0


def _field(text: str, name: str) -> int:
    return int((text.partition(f"{name}:")[2].split() or ["0"])[0])


def _resident(pid: int) -> int:
    """Return resident bytes that are no file's, shared ones included, which no rlimit counts."""
    text = _proc(pid, "status")
    return 1024 * (_field(text, "RssAnon") + _field(text, "RssShmem"))


def _written(pid: int) -> int:
    """Return the bytes that it has written to disks."""
    text = _proc(pid, "io")
    return _field(text, "\nwrite_bytes") - _field(text, "cancelled_write_bytes")


def _size(folder: Path) -> int:
    """Return the bytes on disk below a folder; what is too much to count is too large."""
    total, count, left = 0, 0, [(str(folder), 0)]
    while left:
        place, depth = left.pop()
        if depth > _DEEPEST:
            return 1 << 62
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                count += 1
                if count > _MOST_FILES:
                    return 1 << 62
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        left.append((entry.path, depth + 1))
    return total


def _deleted(pid: int) -> int:
    """Return the bytes on disk of files that it has open and that have no name any more."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                facts = entry.stat()
                if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                    total += facts.st_blocks * _BLOCK
    return total
