"""What a process that opens files of strangers may use: memory, time, writes.

A process limits itself before it looks at such a file (`edgezoo.system.sandbox` starts it). Memory
is limited by RLIMIT_DATA, which on Linux counts what can be written to and leaves out address space
that runtimes only reserve (setrlimit(2)). Time is limited by the kernel's own timer, which ends the
process whatever native code does. Writes, TCP and signals to others are forbidden where the kernel
can (`edgezoo.system.landlock`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core import heartbeat

MIB = 2**20
# Runtimes and decoders alone take 0.1 to 0.5 GiB, TensorFlow 1.
_LEAST_MEMORY, _MEMORY_A_BYTE = 4096 * MIB, 16
# Of the machine's memory.
_MOST_MEMORY = 0.75
# A file of 20 MB is opened and run once in a second on a Raspberry Pi; damaged ones take no longer.
_LEAST_TIMEOUT, _TIMEOUT_A_MIB = 25.0, 1.0
# Drivers of other devices compile kernels.
_DEVICE_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a process.

    Attributes:
        memory: bytes that it may hold and write to; None for any.
        timeout: seconds that it may take from one sign of life to the next.
        writes: it may write anywhere, use the network and send signals.
    """

    memory: int | None
    timeout: float
    writes: bool = False


def for_files(paths: Iterable[Path], *, sessions: int = 1, device: str = "cpu") -> Limits:
    """What opening and running files may take.

    Args:
        paths: the files; ones that are not there count for nothing.
        sessions: how many copies of each may be open.
        device: others than the CPU have drivers that take their time.
    """
    size = sum(_size(path) for path in paths)
    memory = _LEAST_MEMORY + _MEMORY_A_BYTE * size * sessions
    with contextlib.suppress(OSError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = min(memory, int(_MOST_MEMORY * pages))
    timeout = _LEAST_TIMEOUT + _TIMEOUT_A_MIB * size / MIB
    return Limits(memory, timeout + (0 if device == "cpu" else _DEVICE_TIMEOUT))


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0


def confine(limits: Limits, writable: Iterable[Path]) -> None:
    """Limit this process, for good. Call it before any other thread is there.

    Args:
        limits: what it may use.
        writable: folders that it may write in all the same.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        memory = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if not limits.writes:
        from edgezoo.system import landlock

        landlock.restrict(writable)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    heartbeat.start(limits.timeout)
