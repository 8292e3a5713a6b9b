"""Limits of a process that opens untrusted files: memory, time and writes.

A process limits itself before it opens such a file (`edgezoo.system.sandbox` starts it).
RLIMIT_DATA limits memory: on Linux it counts writable memory, not address space that runtimes only
reserve (setrlimit(2)). The kernel's timer limits time, whatever native code does. Writes, TCP and
signals to others are forbidden where the kernel supports that (`edgezoo.system.landlock`).
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
# Runtimes and decoders alone need 0.1 to 0.5 GiB, TensorFlow 1 GiB.
_MIN_MEMORY, _MEMORY_PER_BYTE = 4096 * MIB, 16
_MAX_SHARE_OF_MEMORY = 0.75
# A Raspberry Pi opens and runs a file of 20 MB in a second; damaged files take no longer.
_MIN_TIMEOUT, _TIMEOUT_PER_MIB = 25.0, 1.0
# Drivers of other devices compile kernels.
_DEVICE_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a process.

    Attributes:
        memory: bytes of writable memory; None for no limit.
        timeout: seconds from one heartbeat to the next.
        writes: the process may write anywhere, use the network and send signals.
    """

    memory: int | None
    timeout: float
    writes: bool = False


def for_files(paths: Iterable[Path], *, sessions: int = 1, device: str = "cpu") -> Limits:
    """Return the default limits for opening and running files; missing files count as empty.

    `sessions` copies of each file may be open. Devices other than the CPU get a longer timeout.
    """
    size = sum(_size(path) for path in paths)
    memory = _MIN_MEMORY + _MEMORY_PER_BYTE * size * sessions
    with contextlib.suppress(OSError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = min(memory, int(_MAX_SHARE_OF_MEMORY * pages))
    timeout = _MIN_TIMEOUT + _TIMEOUT_PER_MIB * size / MIB
    return Limits(memory, timeout + (0 if device == "cpu" else _DEVICE_TIMEOUT))


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0


def confine(limits: Limits, writable: Iterable[Path]) -> None:
    """Limit this process irrevocably, except for writes to the folders in `writable`.

    Call it before the process starts another thread.
    """
    # A core dump would hold the file's content.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        memory = limits.memory if hard == resource.RLIM_INFINITY else min(limits.memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if not limits.writes:
        from edgezoo.system import landlock

        landlock.restrict(writable)
    # The default action of SIGALRM ends the process even while native code holds the interpreter.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    heartbeat.start(limits.timeout)
