"""Files on disk: their hash, atomic writing, and errors for paths that are not files."""

from __future__ import annotations

import codecs
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


def decoded(data: bytes) -> str:
    """Decode a text file: UTF-8, or UTF-16 where a byte order mark says so; the mark is removed.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig")


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


def write_text_atomically(path: Path, text: str) -> None:
    """Write next to the path and rename, so that readers see all or nothing.

    Raises:
        DataError: the folder cannot be written or the disk is full.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a read-only disk refuses that too
            scratch.unlink(missing_ok=True)
        raise DataError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free some space or choose another folder with --output.",
        ) from error
