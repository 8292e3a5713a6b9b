"""Temporary folders that do not outlive their process, even if it is killed.

    TMPDIR/edgezoo-run-PID-xxxx/    locked by the process PID

A killed process leaves its folder without a lock; the next process that needs one removes it. Only
the user's own folders of processes that are gone are removed, and no link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "edgezoo-run-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-\w+")
_swept: set[str] = set()


@contextlib.contextmanager
def scratch(place: Path | None = None) -> Iterator[Path]:
    """Create a folder that only this user may enter, and remove it in any case.

    Args:
        place: the folder to create it in; None for the system's.
    """
    base = str(place or tempfile.gettempdir())
    if base not in _swept:
        _swept.add(base)
        _remove_orphans(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # some network file systems lock no folders
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(lock)


def remove_tree(folder: Path) -> None:
    """Remove a folder that a process may have filled with anything, as far as possible."""
    for _ in range(3):
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except RecursionError:  # Python 3.12 and earlier, on a thousand levels
            _flatten(folder)
        if not folder.exists():
            return
        _open_up(folder)


def _flatten(folder: Path) -> None:
    """Move folders at any depth into the first, level by level."""
    number, left = 0, [folder]
    while left:
        place = left.pop()
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in list(entries):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        number += 1
                        moved = folder / f".{number}"
                        os.rename(entry.path, moved)
                        left.append(moved)


def _open_up(folder: Path) -> None:
    """Give this user the rights to remove what is in a folder."""
    left = [str(folder)]
    while left:
        place = left.pop()
        with contextlib.suppress(OSError):
            os.chmod(place, stat.S_IRWXU)
            with os.scandir(place) as entries:
                left += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _remove_orphans(base: str) -> None:
    """Remove the folders of killed processes."""
    names: list[str] = []
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    for name in names:
        found = _NAME.fullmatch(name)
        if found and not _runs(int(found[1])):
            with contextlib.suppress(OSError):
                _remove_unlocked(Path(base, name))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _remove_unlocked(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            return
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_tree(folder)
    finally:
        os.close(opened)
