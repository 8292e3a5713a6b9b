"""Where EdgeZoo keeps what it may need again."""

from __future__ import annotations

import os
from pathlib import Path

# The folder of the package `edgezoo`, its links not followed.
PACKAGE = Path(__file__).parents[1]


def cache_home() -> Path:
    """EdgeZoo's own folder: EDGEZOO_CACHE, else the user's cache folder."""
    given = os.environ.get("EDGEZOO_CACHE")
    if given:
        return Path(given).expanduser()
    try:
        import platformdirs
    except ImportError:  # a device has few packages
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "edgezoo"
    return Path(platformdirs.user_cache_path("edgezoo"))
