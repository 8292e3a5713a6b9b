"""EdgeZoo's folders."""

from __future__ import annotations

import os
from pathlib import Path

# The folder of the package `edgezoo`, its links not followed.
PACKAGE = Path(__file__).parents[1]


def cache_home() -> Path:
    """Return EdgeZoo's cache: EDGEZOO_CACHE, else a folder in the user's cache."""
    given = os.environ.get("EDGEZOO_CACHE")
    if given:
        return Path(given).expanduser()
    try:
        import platformdirs
    except ImportError:  # a device has few packages
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "edgezoo"
    return Path(platformdirs.user_cache_path("edgezoo"))
