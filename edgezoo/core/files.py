"""Files on disk: their hash, atomic writing, and errors for paths that are not files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

from edgezoo.core.errors import DataError
from edgezoo.core.heartbeat import alive


class Readable(Protocol):
    """A file on disk, or a member of a tar file."""

    def open(self, mode: Any = ..., /) -> Any:
        """Its bytes."""


def file_sha256(path: Readable) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    alive()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def not_a_file(path: Path) -> DataError:
    """Return the error for a path that is not a file."""
    if os.path.isdir(path):
        return DataError(f"{path} is a folder, not a file.", "Name a file.")
    if os.path.exists(path):
        return DataError(f"{path} is a device or a pipe, not a file.", "Name a file.")
    return DataError(f"There is no file {path}.", "Check the path.")


def not_a_folder(path: Path, hint: str) -> DataError:
    """Return the error for a path that is not a folder."""
    if os.path.isfile(path):
        return DataError(f"{path} is a file, not a folder.", hint)
    return DataError(f"There is no folder {path}.", hint)


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write next to the path and rename, so that readers see all or nothing.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # a read-only disk refuses that too
            scratch.unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Write next to the path and rename, so that readers see all or nothing.

    Raises:
        DataError: the folder cannot be written or the disk is full.
    """
    try:
        write_bytes_atomically(path, text.encode())
    except OSError as error:
        raise DataError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free some space or choose another folder with --output.",
        ) from error
