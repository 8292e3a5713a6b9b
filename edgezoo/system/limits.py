"""Limits of a process that opens untrusted files: memory, time, disk, and what it may do.

A process limits itself before it opens such a file (`edgezoo.system.sandbox` starts it). The
kernel enforces memory (RLIMIT_DATA counts writable memory, not address space that runtimes only
reserve, see setrlimit(2)), the size of a file, and what the process may do: `landlock` forbids
writes elsewhere, `seccomp` sockets, processes and attributes of files. Time, and what adds up, is
watched from outside (`edgezoo.system.watch`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
# Runtimes and decoders alone need 0.1 to 0.5 GiB, TensorFlow 1 GiB.
_MIN_MEMORY, _MEMORY_PER_BYTE = 4096 * MIB, 16
_MAX_SHARE_OF_MEMORY = 0.75
# A Raspberry Pi opens and runs a file of 20 MB in a second; damaged files take no longer.
_MIN_TIMEOUT, _TIMEOUT_PER_MIB = 25.0, 1.0
# Drivers of other devices compile kernels.
_DEVICE_TIMEOUT = 120.0
# A copy of the file, a bundle of it with C source, and the log.
_MIN_DISK, _DISK_PER_BYTE = 128 * MIB, 12
# Training an epoch, or choosing the roundings of the largest network, on a slow machine.
_WORK_TIMEOUT, _WORK_TIMEOUT_PER_MIB = 3600.0, 20.0
# Pixels of some thousand images, and the intermediates of the largest network.
_WORK_DISK, _WORK_DISK_PER_BYTE = 64 << 30, 64
_DAC_READ_SEARCH = 2  # root may read what it was asked to read, whoever owns it
_CAPABILITIES_VERSION = 0x20080522
_confined = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a process.

    Attributes:
        memory: bytes of writable memory; None for no limit.
        timeout: seconds from one heartbeat to the next, without those in which the process waits
            for a CPU; and as many CPU seconds on each core.
        writes: the process may write anywhere, use the network and start processes.
        disk: bytes that it may write; None for no limit.
        items: parts of the work, such as images: the time in all is `timeout` for each, and for
            ten more.
        device: that it uses.
        programs: it may start other programs, as a compiler does; each has these limits.
    """

    memory: int | None
    timeout: float
    writes: bool = False
    disk: int | None = _MIN_DISK
    items: int = 0
    device: str = "cpu"
    programs: bool = False


def for_files(
    paths: Iterable[Path], *, sessions: int = 1, device: str = "cpu", items: int = 0
) -> Limits:
    """Return the default limits for opening and running files; missing files count as empty.

    `sessions` copies of each file may be open. Devices other than the CPU get a longer timeout.
    """
    size = sum(_size(path) for path in paths)
    memory = _of_the_machine(_MIN_MEMORY + _MEMORY_PER_BYTE * size * sessions)
    timeout = _MIN_TIMEOUT + _TIMEOUT_PER_MIB * size / MIB
    timeout += 0 if device == "cpu" else _DEVICE_TIMEOUT
    disk = _MIN_DISK + _DISK_PER_BYTE * size
    return Limits(memory, timeout, disk=disk, items=items, device=device)


def for_work(paths: Iterable[Path] = (), *, device: str = "cpu", trust: bool = False) -> Limits:
    """Return the limits for long work on files, such as an export or a training.

    Its steps need what the machine has, and hours: the limits keep the machine in use.
    """
    size = sum(_size(path) for path in paths)
    timeout = _WORK_TIMEOUT + _WORK_TIMEOUT_PER_MIB * size / MIB
    disk = _WORK_DISK + _WORK_DISK_PER_BYTE * size
    items = 1 << 30  # epochs, layers, images: not known before
    return Limits(_of_the_machine(), timeout, trust, disk, items, device)


def _of_the_machine(memory: int | None = None) -> int | None:
    """Return at most three quarters of the machine's memory."""
    with contextlib.suppress(OSError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = int(_MAX_SHARE_OF_MEMORY * pages)
        return most if memory is None else min(memory, most)
    return memory


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0


def lacking() -> tuple[str, ...]:
    """Return what this system cannot enforce, in words; nothing on a current Linux."""
    from edgezoo.system import landlock, seccomp

    known, found = landlock.version(), []
    if known < 3:
        found.append("writes to files" if not known else "truncation of files")
    if not seccomp.available():
        found.append("network, processes and attributes of files")
    return tuple(found)


def warning(parts: Iterable[str]) -> str:
    """Return a sentence on what is not enforced here."""
    return (
        f"This system does not limit what untrusted files do to: {'; '.join(parts)}. They need "
        "Linux 6.2 with Landlock and seccomp."
    )


def confined() -> bool:
    """Return whether this process is limited, so that it cannot start another one."""
    return _confined


def confine(limits: Limits, writable: Iterable[Path]) -> None:
    """Limit this process irrevocably, except for writes to the folders in `writable`.

    Call it before the process starts another thread.
    """
    global _confined
    # A core dump would hold the file's content.
    _at_most(resource.RLIMIT_CORE, 0)
    if limits.memory is not None:
        _at_most(resource.RLIMIT_DATA, limits.memory)
    if limits.writes:
        return
    from edgezoo.system import landlock, seccomp

    if limits.disk is not None:
        _at_most(resource.RLIMIT_FSIZE, limits.disk)
    landlock.restrict(writable, limits.device)
    _drop_capabilities()
    _confined = seccomp.restrict(limits.device, limits.programs)


def _at_most(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))


def _drop_capabilities() -> None:
    """Give up root's privileges except for reading: limits do not bind who may lift them."""
    if sys.platform != "linux":
        return
    import ctypes

    kept = 1 << _DAC_READ_SEARCH if os.geteuid() == 0 else 0
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    for wanted in (kept, 0):  # a container's root may not have that one
        rights = struct.pack("=6I", wanted, wanted, 0, 0, 0, 0)
        if ctypes.CDLL(None).capset(header, rights) == 0:
            return
