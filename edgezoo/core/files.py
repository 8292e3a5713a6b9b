"""Files on disk: their hash, atomic writing, and errors for paths that are not files."""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol

from edgezoo.core.errors import DataError
from edgezoo.core.heartbeat import alive


class Readable(Protocol):
    """A file on disk, or a member of a tar file."""

    def open(self, mode: Any = ..., /) -> Any:
        """Its bytes."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read; a pipe or a device, which could block for ever, is refused.

    Raises:
        OSError: there is no such file, or it is something else.
    """
    try:
        _require_regular(os.stat(path).st_mode, path)
        # What a stranger replaces by a pipe in between still does not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, "it is not the name of a file", str(path)) from error
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_limited(path: Path, most: int) -> bytes:
    """Read a whole file of at most `most` bytes.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is larger.
    """
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most / 2**20:g} MiB")
    return data


def file_sha256(path: Readable) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    alive()
    with open_regular(path) if isinstance(path, Path) else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def decoded(data: bytes) -> str:
    """Decode a text file: UTF-8, or UTF-16 where a byte order mark says so; the mark is removed.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig")


def require_utf8(path: Path) -> None:
    """Check that a path can be handed to native libraries, which take UTF-8 alone.

    Raises:
        DataError: its name has other bytes.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"The name of {path} is not UTF-8, and runtimes and converters cannot open it.",
            "Rename it.",
        ) from error


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
