"""What a long evaluation has done, on disk, so that one that is interrupted can go on.

A file in the cache is named by a hash of all that its figures depend on: artifact, contract,
runtime and the list of images with their sizes and times. It is written anew every few seconds,
beside its place and renamed into it, and goes when the evaluation has come to its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.paths import cache_home
from edgezoo.core.typed_json import encode
from edgezoo.core.versions import dependencies
from edgezoo.images.shards import Member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERY_S = 5.0
_FORGOTTEN_S = 30 * 86400


class Kept:
    """A place for an array of integers that grows complete."""

    def __init__(self, facts: dict[str, Any], images: Sequence[Path | Member]) -> None:
        """The place for what comes of `facts` and images; nothing is read or written yet."""
        self._path = cache_home() / "evaluations" / f"{_key(facts, images)}.npy"
        self._next = time.monotonic() + EVERY_S

    def recall(self, top: NDArray[np.int32]) -> None:
        """Overwrite `top` with what an earlier run kept; what is damaged counts for nothing."""
        import numpy as np

        _clear_old(self._path.parent)
        with contextlib.suppress(OSError, ValueError, EOFError):
            found = np.load(self._path, allow_pickle=False)
            if found.shape == top.shape and found.dtype == top.dtype:
                top[:] = found

    def keep(self, top: NDArray[np.int32], *, now: bool = False) -> None:
        """Write `top` if the last time is some seconds ago.

        Where the cache cannot be written, an interrupted evaluation starts anew.
        """
        import numpy as np

        if not now and time.monotonic() < self._next:
            return
        part = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.save(stream, top)
            part.replace(self._path)
        self._next = time.monotonic() + EVERY_S

    def forget(self) -> None:
        """Remove it: the evaluation has come to its end."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _key(facts: dict[str, Any], images: Sequence[Path | Member]) -> str:
    words = json.dumps([encode(dependencies()), facts], sort_keys=True)
    state = hashlib.sha256(words.encode())
    tars: dict[Path, str] = {}
    for image in images:
        if isinstance(image, Member):
            if image.tar not in tars:
                tars[image.tar] = _stamp(image.tar)
            words = f"{tars[image.tar]}\0{image.offset}\0{image.size}\n"
        else:
            words = f"{_stamp(image)}\n"
        state.update(words.encode("utf-8", "surrogateescape"))
    return state.hexdigest()[:32]


def _stamp(path: Path) -> str:
    """A file's place, size and time: another content would change them."""
    place = os.path.abspath(path)
    with contextlib.suppress(OSError):
        facts = path.stat()
        return f"{place}\0{facts.st_size}\0{facts.st_mtime_ns}"
    return place


def _clear_old(folder: Path) -> None:
    """Nobody goes on with what was interrupted long ago."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > _FORGOTTEN_S:
                path.unlink(missing_ok=True)
