"""Notes of interrupted work that a limited process leaves, and its parent keeps.

The process writes each note to its own folder, under a plain name; the parent reads it as data and
moves it into a folder that belongs to the files at work. So a file can change no notes on others.
An empty note removes an earlier one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from edgezoo.core.files import write_bytes_atomically
from edgezoo.core.paths import mark_cache
from edgezoo.system import answer

FOLDER = "notes"  # in the folder of a limited process
_NAME = re.compile(r"[0-9a-f]{32}\.npy")
# Of notes, also of those being written. Others are a user's, where EDGEZOO_CACHE names his folder.
_FOLDER = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"\.?[0-9a-f]{32}\.(npy|\d+)(\.\d+)?")
_MOST, _MOST_BYTES = 64, 64 << 20
_EXPIRED_S = 30 * 86400
_places: tuple[Path, Path] | None = None


def places(usual: Path) -> tuple[Path, Path]:
    """Return the folders that this process reads notes from, and writes them to."""
    return _places or (usual, usual)


def set_places(kept: Path, own: Path) -> None:
    """Read notes from the folder `kept`, and write to `own`, in a limited process."""
    global _places
    _places = kept, own


def limited() -> bool:
    """Return whether another process keeps this one's notes."""
    return _places is not None


def folder_for(usual: Path, files: Iterable[Path]) -> Path:
    """Return the folder of notes on these files, by their place, size and time."""
    state = hashlib.sha256()
    for file in files:
        state.update(os.fsencode(os.path.abspath(file)) + b"\0")
        with contextlib.suppress(OSError):
            facts = os.stat(file)
            state.update(f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}\0".encode())
    return usual / state.hexdigest()[:32]


def keep(own: Path, kept: Path) -> None:
    """Move the notes of a limited process into their folder; what is none is left out.

    A folder that cannot be written keeps nothing: an interrupted work then starts again.
    """
    names: list[str] = []
    with contextlib.suppress(OSError), os.scandir(own) as entries:
        names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)][:_MOST]
    for name in names:
        with contextlib.suppress(OSError, answer.NoAnswerError):
            content = answer.read(own / name, _MOST_BYTES)
            if content:
                mark_cache()
                kept.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_bytes_atomically(kept / name, content)
            else:
                (kept / name).unlink(missing_ok=True)
            os.unlink(own / name)
    with contextlib.suppress(OSError):
        kept.rmdir()  # succeeds only if it is empty


def remove_expired(folder: Path) -> None:
    """Remove notes that nobody has continued for a month, and folders without any."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    if _FOLDER.fullmatch(path.name):
                        remove_expired(path)
                        path.rmdir()
                elif _OURS.fullmatch(path.name) and _is_expired(path):
                    path.unlink(missing_ok=True)


def _is_expired(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > _EXPIRED_S
