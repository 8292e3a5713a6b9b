"""A partial download: a locked, hidden file next to its destination that a later call resumes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError

LOG = logging.getLogger("edgezoo.system.downloads")


@dataclass(frozen=True, slots=True)
class _Version:
    """The version of a file that a partial download belongs to, as stored next to it."""

    url: str
    total: int | None
    validator: str | None


class Part:
    """A partial download.

    Attributes:
        path: the staged file.
        size: bytes received.
        total: bytes of the whole file; None if the server does not state them.
        validator: the ETag or date that identifies this version to the server; None without one.
    """

    def __init__(self, path: Path, stream: BinaryIO, url: str) -> None:
        self.path, self._stream, self._url = path, stream, url
        self._note = path.with_name(f"{path.name}.json")
        self.size = stream.seek(0, os.SEEK_END)
        self.total: int | None = None
        self.validator: str | None = None
        with contextlib.suppress(OSError, ValueError):  # InvalidValueError is a ValueError
            noted = typed_json.decode(_Version, json.loads(self._note.read_text()))
            if noted.url == url:
                self.total, self.validator = noted.total, noted.validator
        if self.validator is None or (self.total is not None and self.size > self.total):
            self.restart(None, None)

    @property
    def complete(self) -> bool:
        """Whether all bytes have been received."""
        return self.total is not None and self.size == self.total

    @property
    def resumable(self) -> bool:
        """Whether a later call can resume from here."""
        return self.size > 0 and self.validator is not None

    def restart(self, validator: str | None, total: int | None) -> None:
        """Empty the file, then note the new version: in this order a kill cannot mix versions."""
        with _storage(self.path):
            self._stream.seek(0)
            self._stream.truncate()
            self.size, self.total, self.validator = 0, total, validator
            if validator is None:
                self._note.unlink(missing_ok=True)
            else:
                version = typed_json.encode(_Version(self._url, total, validator))
                self._note.write_text(json.dumps(version))

    def add(self, data: bytes) -> None:
        """Append bytes."""
        with _storage(self.path):
            self._stream.write(data)
        self.size += len(data)

    def flush(self) -> None:
        """Make all bytes visible to readers of the path."""
        with _storage(self.path):
            self._stream.flush()

    def settle(self, place: Path) -> None:
        """Rename the complete file to its destination."""
        with _storage(place):
            os.fsync(self._stream.fileno())
            self._note.unlink(missing_ok=True)
            self.path.replace(place)

    def put_away(self) -> None:
        """Keep the part if a later call can resume it, else remove it."""
        with contextlib.suppress(OSError):
            self._stream.flush()
        if self.resumable:
            return
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def staged(place: Path, url: str) -> Iterator[Part | None]:
    """Lock the staged file of a destination for this process.

    Yields:
        The part; None if another process has completed the download meanwhile.
    """
    path = place.with_name(f".{place.name}.edgezoo-part")
    with _storage(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        stream = _locked(path)
    with stream:
        if place.exists():
            path.unlink(missing_ok=True)
            yield None
            return
        part = Part(path, stream, url)
        try:
            yield part
        finally:
            if path.exists():  # otherwise it was renamed to its destination
                part.put_away()


def _locked(path: Path) -> BinaryIO:
    """Open the staged file with an exclusive lock, which the kernel releases with the process."""
    while True:
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("Another process is fetching %s: waiting for it.", path.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        # The last holder of the lock may have renamed or removed the file that was opened.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Report a full or read-only disk; here, because errors of the network are OSErrors, too."""
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}."
        raise DataError(message, "Free some space, or make the folder writable.") from error
