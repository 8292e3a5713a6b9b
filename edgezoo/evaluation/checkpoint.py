"""The checkpoint of a long evaluation, from which an interrupted one continues.

A file in the cache, named by a hash of everything that the ranks depend on. It is rewritten every
few seconds (written next to its place, then renamed), and removed when the evaluation is complete.
A limited process leaves it to its parent (`edgezoo.system.notes`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import typed_json
from edgezoo.core.artifact import InputContract
from edgezoo.core.paths import cache_home
from edgezoo.core.versions import dependencies
from edgezoo.images.shards import Member
from edgezoo.system import notes

EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What ranks depend on, other than the images; `artifact` is the hash of its files."""

    artifact: str
    contract: InputContract
    runtime: str | None
    device: str
    threads: int


def home() -> Path:
    """Return the folder of all checkpoints."""
    return cache_home() / "evaluations"


class Checkpoint:
    """A file for an array of ranks that is completed step by step."""

    def __init__(self, setup: Setup, images: Sequence[Path | Member]) -> None:
        """Name the file; nothing is read or written yet."""
        kept, own = (place / f"{_key(setup, images)}.npy" for place in notes.places(home()))
        self._path, self._own = kept, own
        self._next = time.monotonic() + EVERY_S

    def restore(self, top: NDArray[np.int32]) -> None:
        """Overwrite `top` with the ranks of an earlier run; a damaged file is ignored."""
        notes.remove_expired(self._path.parent)
        with contextlib.suppress(OSError, ValueError, EOFError):
            found = np.load(self._path, allow_pickle=False)
            if found.shape == top.shape and found.dtype == top.dtype:
                top[:] = found

    def save(self, top: NDArray[np.int32], *, now: bool = False) -> None:
        """Write `top` if the last time is some seconds ago.

        Where the cache cannot be written, an interrupted evaluation starts again.
        """
        if not now and time.monotonic() < self._next:
            return
        part = self._own.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.save(stream, top)
            part.replace(self._own)
        self._next = time.monotonic() + EVERY_S

    def remove(self) -> None:
        """Remove the file: the evaluation is complete."""
        with contextlib.suppress(OSError):
            self._own.unlink(missing_ok=True)
            if notes.limited():
                self._own.parent.mkdir(exist_ok=True)
                self._own.touch()  # empty: the parent removes what it keeps


def _key(setup: Setup, images: Sequence[Path | Member]) -> str:
    facts = typed_json.encode([dependencies(), setup])
    words = json.dumps(facts, sort_keys=True)
    state = hashlib.sha256(words.encode())
    stamps: dict[Path, str] = {}  # of tar files, which hold many images
    for image in images:
        if isinstance(image, Member):
            if image.tar not in stamps:
                stamps[image.tar] = _stamp(image.tar)
            words = f"{stamps[image.tar]}\0{image.offset}\0{image.size}\n"
        else:
            words = f"{_stamp(image)}\n"
        state.update(words.encode("utf-8", "surrogateescape"))
    return state.hexdigest()[:32]


def _stamp(path: Path) -> str:
    """Path, size and time of a file: hashing the content would cost as much as decoding it."""
    place = os.path.abspath(path)
    with contextlib.suppress(OSError):
        facts = path.stat()
        return f"{place}\0{facts.st_size}\0{facts.st_mtime_ns}"
    return place
