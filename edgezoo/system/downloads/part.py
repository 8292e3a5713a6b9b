"""A download on its way: a hidden file beside its place, locked, from which a later try goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgezoo.core.errors import DataError

LOG = logging.getLogger("edgezoo.system.downloads")


class Part:
    """What has come of a file so far.

    Attributes:
        path: the staged file.
        size: bytes that are in it.
        total: bytes that the whole file has; None where the server does not say.
        validator: the ETag or date by which a server knows this version; None where it has none.
    """

    def __init__(self, path: Path, stream: BinaryIO, url: str) -> None:
        self.path, self._stream, self._url = path, stream, url
        self._facts = path.with_name(f"{path.name}.json")
        self.size = stream.seek(0, os.SEEK_END)
        self.total: int | None = None
        self.validator: str | None = None
        facts = self._read_facts()
        if facts.get("url") == url:
            self.total, self.validator = facts["total"], facts["validator"]
        if self.validator is None or (self.total is not None and self.size > self.total):
            self.restart(None, None)

    def _read_facts(self) -> dict[str, Any]:
        try:
            facts = json.loads(self._facts.read_text())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and {"total", "validator"} <= facts.keys() else {}

    @property
    def complete(self) -> bool:
        """Whether nothing is left to ask for."""
        return self.total is not None and self.size == self.total

    @property
    def resumable(self) -> bool:
        """Whether a later try can go on from here."""
        return self.size > 0 and self.validator is not None

    def restart(self, validator: str | None, total: int | None) -> None:
        """Empty the file and say which version comes; in this order, so that a kill mixes none."""
        with _storage(self.path):
            self._stream.seek(0)
            self._stream.truncate()
            self.size, self.total, self.validator = 0, total, validator
            if validator is None:
                self._facts.unlink(missing_ok=True)
            else:
                facts = {"url": self._url, "total": total, "validator": validator}
                self._facts.write_text(json.dumps(facts))

    def add(self, data: bytes) -> None:
        """Append bytes."""
        with _storage(self.path):
            self._stream.write(data)
        self.size += len(data)

    def flush(self) -> None:
        """Let readers of the path see all bytes."""
        with _storage(self.path):
            self._stream.flush()

    def settle(self, place: Path) -> None:
        """Rename the whole file into its place."""
        with _storage(place):
            os.fsync(self._stream.fileno())
            self._facts.unlink(missing_ok=True)
            self.path.replace(place)

    def put_away(self) -> None:
        """Keep what a later try can use, and leave nothing else behind."""
        with contextlib.suppress(OSError):
            self._stream.flush()
        if self.resumable:
            return
        self._facts.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def staged(place: Path, url: str) -> Iterator[Part | None]:
    """The staged file of a place, for this process alone.

    Yields:
        None where another process has filled the place meanwhile.
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
            if path.exists():  # otherwise it has become the file
                part.put_away()


def _locked(path: Path) -> BinaryIO:
    """Open the staged file with an exclusive lock; it goes with the process, however that ends."""
    while True:
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("Another process is fetching %s: waiting for it.", path.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        # Whoever held the lock may have renamed or removed that very file.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    """A full or read-only disk in words; errors of the network are OSErrors too, hence here."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Free some space, or see that the folder may be written to.",
        ) from error
