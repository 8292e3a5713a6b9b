"""Write files in a hidden folder next to their destination, then rename them.

    DIR/.edgezoo-NAME/        locked by the process that writes NAME
    DIR/.edgezoo-NAME/xxxx/   the stage; each attempt has its own, so that the child of a killed
                              process does not write into the next attempt

A killed process leaves an unlocked folder; the next process that writes to DIR removes it. A link
in place of that folder, and a folder of another user, are refused: they would lead what is written
elsewhere, or let others change it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, UsageError
from edgezoo.system.scratch import remove_tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

_PREFIX = ".edgezoo-"
# A process that removes orphans, or is finishing, holds a lock for milliseconds.
_TRIES, _PAUSE_S = 10, 0.02


@contextlib.contextmanager
def staging(output: Path, name: str) -> Iterator[Path]:
    """Create a temporary folder inside `output`, and remove it in any case.

    The output folder is created if missing. One process at a time writes `name` there.

    Raises:
        DataError: the output folder cannot be created or written, or the disk is full.
        UsageError: another process is writing it there.
    """
    created = not output.exists()
    place = output / f"{_PREFIX}{name}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        _remove_orphans(output)
        _check_own(place)
        lock = _claimed(place)
    except OSError as error:
        message = f"The output folder {output} cannot be written: {error.strerror}."
        raise DataError(message, "Choose another folder with --output.") from error
    if lock is None:
        message = f"Another process is writing {name} into {output}."
        raise UsageError(message, "Wait for it, or name another folder with --output.")
    try:
        yield Path(tempfile.mkdtemp(dir=place))
    except OSError as error:
        raise _cannot_write(output / name, error) from error
    finally:
        remove_tree(place)
        os.close(lock)
        if created:
            with contextlib.suppress(OSError):
                output.rmdir()  # succeeds only if it is empty


def _cannot_write(target: Path, error: OSError) -> DataError:
    # On a full disk numpy states only how many items it has written: "5 requested and 3 written".
    short = "requested and" in str(error)
    reason = os.strerror(errno.ENOSPC) if short else error.strerror or str(error)
    message = f"{error.filename or target} cannot be read or written: {reason}."
    return DataError(message, "Free some space or choose another folder with --output.")


def _check_own(place: Path) -> None:
    """Refuse what another has put in the place of a stage.

    Raises:
        DataError: it is a link or no folder, or belongs to another user.
    """
    try:
        facts = place.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid():
        return
    what = "belongs to another user" if stat.S_ISDIR(facts.st_mode) else "is no folder"
    if stat.S_ISLNK(facts.st_mode):
        what = "is a link"
    raise DataError(
        f"{place}, where files are written first, {what}.",
        "Remove it, or choose another folder with --output.",
    )


def _claimed(place: Path) -> int | None:
    """Create and lock a folder; return None if another process holds it."""
    gone = None
    for _ in range(_TRIES):
        try:
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=0o700)
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:  # its last holder has just removed it
            gone = error
        else:
            gone = None
            try:
                _check_own(place)
            except DataError:
                os.close(lock)
                raise
            if _lock(lock) and _still_there(place, lock):
                return lock
            os.close(lock)
        time.sleep(_PAUSE_S)
    if gone is not None:  # it cannot be created at all, as in /proc
        raise gone
    return None


def _lock(folder: int) -> bool:
    """Lock an open folder, and return whether no other process holds the lock.

    The kernel releases the lock when the process ends. File systems that cannot lock a folder, such
    as some network file systems, work without a lock.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def _still_there(place: Path, opened: int) -> bool:
    """Return whether an open folder still has that name, and was not removed meanwhile."""
    try:
        return os.path.samestat(place.lstat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _remove_orphans(output: Path) -> None:
    """Remove the stages of killed processes."""
    for place in output.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(opened).st_uid == os.geteuid():
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(place)
            finally:
                os.close(opened)


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Map a new .npy file into memory, with all of its disk space reserved.

    Without the reservation a full disk shows when a page is first written, and the kernel ends the
    process (SIGBUS).

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


def _flush(source: Path) -> None:
    """Flush a finished file to the disk, which nothing but a file may stand for."""
    opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(opened)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise DataError(f"{source.name} is no regular file.", "Check where the files are from.")
        os.fsync(opened)
    finally:
        os.close(opened)


def publish(steps: Sequence[tuple[Path | None, Path]]) -> None:
    """Rename finished files to their destinations, one after the other.

    All files are renamed even if Ctrl-C or SIGTERM interrupts. Their content is flushed to the disk
    before the first rename.

    Args:
        steps: (finished file, destination) on one file system; None instead of the file removes
            the destination.

    Raises:
        DataError: a link or another thing stands in place of a file.
    """
    for source, _ in steps:
        if source is not None:
            _flush(source)
    left = deque(steps)

    def go_on() -> None:
        while left:
            source, place = left[0]
            if source is None:
                place.unlink(missing_ok=True)
            elif source.exists():  # it does not if the interrupt came right after the rename
                source.replace(place)
            left.popleft()

    try:
        go_on()
    except BaseException:
        go_on()
        raise
