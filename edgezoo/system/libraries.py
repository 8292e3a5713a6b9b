"""Find shared libraries of the system, also where no other process may be started."""

from __future__ import annotations

import ctypes.util
import os
from pathlib import Path

from edgezoo.system import limits

_CACHE = Path("/etc/ld.so.cache")


def find_library(name: str) -> str | None:
    """Return what loads "libNAME", as `ctypes.util.find_library` does, or None.

    That function asks programs such as ldconfig. A limited process starts none, and looks into the
    dynamic linker's cache, which lists the same names.
    """
    if not limits.confined():
        return ctypes.util.find_library(name)
    file = f"lib{name}.so.1"
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    if any(folder and Path(folder, file).exists() for folder in folders):
        return file
    try:
        listed = f"/{file}\0".encode() in _CACHE.read_bytes()
    except OSError:
        listed = False
    return file if listed else None
