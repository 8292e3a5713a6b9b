"""Restrict this process and its children by Linux' Landlock; needs no privileges.

The process may not write, create or remove files outside of given folders, open TCP connections or
send signals to other processes. Restrictions that the kernel lacks are skipped.

Source: https://docs.kernel.org/userspace-api/landlock.html and linux/landlock.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# System calls without a function in glibc: the same numbers on x86, ARM and RISC-V.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES = 38  # of prctl
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE = 1 << 1
# Write, remove (bits 4, 5) and create (6 to 12); rename across folders since version 2, truncate
# since version 3.
_CHANGE = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_MAKE_DEVICE = 1 << 6 | 1 << 11
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15  # since versions 2, 3 and 5
_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract sockets and signals, since version 6

# What drivers open for writing, below /dev.
_NODES = {
    "gpu": ("dri/*", "nvidia*", "nvidia-caps/*", "kfd", "mali*", "kgsl-3d0", "dma_heap/*"),
    "coral": ("apex_*", "bus/usb/*/*"),
}


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Return the version of the kernel's Landlock, 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))


def devices(device: str) -> list[Path]:
    """Return the files of devices that a process may write to: of a GPU or Coral by name."""
    found = [Path("/dev/null")]
    for pattern in _NODES.get(device, ()):
        found += sorted(Path("/dev").glob(pattern))
    return found


def restrict(writable: Iterable[Path], device: str = "cpu") -> bool:
    """Restrict this thread, and threads and processes that it starts, irrevocably.

    Args:
        writable: folders without restrictions; what is no folder opens nothing, least of all a
            folder above it, and a link is not followed.
        device: the process may use this device.

    Returns:
        Whether the kernel restricted the thread.
    """
    known = version()
    if not known:
        return False
    rights = _CHANGE | (_REFER if known >= 2 else 0) | (_TRUNCATE if known >= 3 else 0)
    rights |= _IOCTL if known >= 5 else 0
    rules = _Ruleset(rights, _TCP if known >= 4 else 0, _SCOPES if known >= 6 else 0)
    # Older kernels know only the first fields of the structure.
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    for folder in writable:
        _allow(ruleset, folder, rights & ~_MAKE_DEVICE, os.O_DIRECTORY | os.O_NOFOLLOW)
    for node in devices(device):
        _allow(ruleset, node, rights & (_WRITE_FILE | _TRUNCATE | _IOCTL), os.O_NOFOLLOW)
    # The kernel requires this: a set-user-ID program must not inherit the restrictions.
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return done == 0


def _allow(ruleset: int, place: Path, rights: int, how: int) -> None:
    with contextlib.suppress(OSError):
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC | how)
        beneath = _Beneath(rights, opened)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *arguments))
