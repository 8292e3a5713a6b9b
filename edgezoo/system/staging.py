"""Nothing half-written: files are made in a hidden folder beside their place, then renamed.

    DIR/.edgezoo-NAME/        locked while whoever makes NAME lives
    DIR/.edgezoo-NAME/xxxx/   where it is made; another one each time, so that what a killed
                              process's child still writes does not get into the next attempt

A kill leaves the hidden folder behind, unlocked; whoever works in DIR next removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

_PREFIX = ".edgezoo-"
# Whoever sweeps up, or is just done, holds a lock for milliseconds.
_TRIES, _PAUSE_S = 10, 0.02


@contextlib.contextmanager
def staging(output: Path, name: str) -> Iterator[Path]:
    """A folder inside `output` that is gone afterwards, whatever happens.

    Args:
        output: where the finished files will go; made where it is not there.
        name: what is being made; one process at a time makes it there.

    Raises:
        DataError: the output folder cannot be made or written, or the disk is full.
        UsageError: another process is making it there.
    """
    made = not output.exists()
    place = output / f"{_PREFIX}{name}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        _remove_orphans(output)
        lock = _claimed(place)
    except OSError as error:
        raise DataError(
            f"The output folder {output} cannot be written: {error.strerror}.",
            "Choose another one with --output.",
        ) from error
    if lock is None:
        raise UsageError(
            f"Another process is writing {name} into {output}.",
            "Wait for it, or name another folder with --output.",
        )
    try:
        yield Path(tempfile.mkdtemp(dir=place))
    except OSError as error:
        # numpy tells only how much it could write of what.
        short = "requested and" in str(error)
        reason = os.strerror(errno.ENOSPC) if short else error.strerror or str(error)
        raise DataError(
            f"{error.filename or output / name} cannot be read or written: {reason}.",
            "Free some space or choose another folder with --output.",
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)
        if made:
            with contextlib.suppress(OSError):
                output.rmdir()  # only where nothing came of it


def _claimed(place: Path) -> int | None:
    """Make a folder and lock it; None where another process holds it.

    Raises:
        OSError: it cannot be made.
    """
    gone = None
    for _ in range(_TRIES):
        try:
            place.mkdir(exist_ok=True)
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:  # its last holder removed it just now
            gone = error
        else:
            gone = None
            if _lock(lock) and _still_there(place, lock):
                return lock
            os.close(lock)
        time.sleep(_PAUSE_S)
    if gone is not None:  # nor can it be made, as in /proc
        raise gone
    return None


def _lock(folder: int) -> bool:
    """Whether an open folder could be locked.

    The kernel lets go of the lock when the process ends, however that happens. File systems that
    cannot lock a folder, such as some of networks, do without.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _still_there(place: Path, opened: int) -> bool:
    """Whether an open folder is the one of that name, and not one that was removed meanwhile."""
    try:
        return os.path.samestat(place.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _remove_orphans(output: Path) -> None:
    """Stages of processes that were killed before they could clean up."""
    for place in output.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(opened)


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new array in an .npy file, mapped into memory, with room on the disk for all of it.

    Without that a full disk is found out when a page of the file is first written to, and the
    kernel ends the process (SIGBUS).

    Raises:
        OSError: the disk is full.
    """
    import numpy as np

    mapped = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError:
            del mapped
            path.unlink()
            raise
    return mapped


def publish(steps: Sequence[tuple[Path | None, Path]]) -> None:
    """Move finished files to their place, each in one step and one after the other.

    All of them, also where Ctrl-C or SIGTERM comes in between. What they hold is on the disk
    before the first has its name.

    Args:
        steps: (finished file, its place), on one file system; None in place of the file removes
            what has the place.
    """
    for source, _ in steps:
        if source is not None:
            with source.open("rb") as stream:
                os.fsync(stream.fileno())
    left = deque(steps)

    def go_on() -> None:
        while left:
            source, place = left[0]
            if source is None:
                place.unlink(missing_ok=True)
            elif source.exists():  # not when the interrupt came right behind the rename
                source.replace(place)
            left.popleft()

    try:
        go_on()
    except BaseException:
        go_on()
        raise
