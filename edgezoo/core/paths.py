"""EdgeZoo's folders."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgezoo.core.errors import DataError
from edgezoo.core.files import read_limited

# The folder of the package `edgezoo`, its links not followed.
PACKAGE = Path(__file__).parents[1]
# In the root of a cache that EdgeZoo has made. Programs for backups know its first line
# (https://bford.info/cachedir/).
CACHE_MARKER = "CACHEDIR.TAG"
_MARK = b"""Signature: 8a477f597d28d172789f06886806bc55
# Made by EdgeZoo. `edgezoo cache clear` removes the parts of this folder that it knows.
"""


def expanded(word: str | os.PathLike[str]) -> Path:
    """Return a path with "~" replaced by the home folder; it stays where there is none."""
    return Path(os.path.expanduser(word))


def home(instead: str) -> Path:
    """Return the user's home folder.

    Args:
        instead: the environment variable that names another place for what is needed.

    Raises:
        DataError: the user has none.
    """
    found = os.path.expanduser("~")
    if not os.path.isabs(found):
        raise DataError("This user has no home folder.", f"Set HOME or {instead} to a folder.")
    return Path(found)


def cache_home() -> Path:
    """Return EdgeZoo's cache: EDGEZOO_CACHE, else a folder in the user's cache.

    Raises:
        DataError: EDGEZOO_CACHE is not set, and the user has no home folder.
    """
    given = os.environ.get("EDGEZOO_CACHE")
    return expanded(given) if given else _usual_cache()


def _usual_cache() -> Path:
    if not os.environ.get("XDG_CACHE_HOME"):
        home("EDGEZOO_CACHE")  # platformdirs would take a folder called "~"
    try:
        import platformdirs
    except ImportError:  # a device has few packages
        base = os.environ.get("XDG_CACHE_HOME") or home("EDGEZOO_CACHE") / ".cache"
        return Path(base) / "edgezoo"
    return Path(platformdirs.user_cache_path("edgezoo"))


def mark_cache() -> None:
    """Mark a cache that is about to be made as EdgeZoo's; a folder with something in it is not.

    A cache that cannot be written is left to the caller.
    """
    with contextlib.suppress(OSError, DataError):
        folder = cache_home()
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            (folder / CACHE_MARKER).write_bytes(_MARK)


def made_cache(folder: Path) -> bool:
    """Whether a cache is EdgeZoo's own: the usual folder, or one that is marked."""
    with contextlib.suppress(OSError, DataError):
        if folder == _usual_cache():
            return True
    with contextlib.suppress(OSError, ValueError):
        return read_limited(folder / CACHE_MARKER, len(_MARK)) == _MARK
    return False
