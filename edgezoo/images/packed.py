"""Places in zip files, and compressed tar files as plain ones."""

from __future__ import annotations

import atexit
import gzip
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from edgezoo.core.errors import DataError, words_of
from edgezoo.core.files import open_regular
from edgezoo.core.heartbeat import alive

_COMPRESSED = (".gz", ".tgz")
_BLOCK = 16 << 20
_LEFT_FREE = 1 << 30  # bytes of the disk for temporary files
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1


def plain(tar: Path) -> Path:
    """Return a tar file that is not compressed: the file itself, or a temporary copy.

    Raises:
        DataError: it is damaged, or the disk has no room for it.
    """
    if tar.suffix.lower() not in _COMPRESSED:
        return tar
    info = tar.stat()
    return _decompressed(tar.absolute(), info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=16)
def _decompressed(tar: Path, size: int, modified_ns: int) -> Path:
    """Decompress a tar file once a process; `size` and `modified_ns` tell a changed one apart."""
    target = Path(_scratch(), f"{tar.name}-{size}-{modified_ns}.tar")
    room = shutil.disk_usage(target.parent).free - _LEFT_FREE
    written = 0
    try:
        with gzip.open(tar, "rb") as stream, target.open("wb") as output:
            while block := stream.read(_BLOCK):
                alive()
                written += len(block)
                if written > room:
                    raise DataError(
                        f"{tar} does not fit decompressed on the disk of {target.parent.parent}.",
                        "Decompress it elsewhere, and name the .tar file.",
                    )
                output.write(block)
    except (OSError, EOFError, zlib.error) as error:
        target.unlink(missing_ok=True)
        raise DataError(
            f"{tar} cannot be decompressed: {words_of(error)}.", "Check that it is complete."
        ) from error
    except DataError:
        target.unlink(missing_ok=True)
        raise
    return target


@lru_cache(maxsize=1)
def _scratch() -> str:
    """Return a folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="edgezoo-images-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def zip_entries(path: Path, largest: int) -> Iterator[tuple[str, int, int, int | None]]:
    """Yield name, offset, size and inflated size (None if stored) of the files in a zip file.

    Raises:
        DataError: it is damaged or encrypted, or contains a file larger than `largest`.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as opened:
            for entry in opened.infolist():
                if entry.is_dir():
                    continue
                if entry.flag_bits & _ENCRYPTED:
                    raise DataError(f"{path} is encrypted.", "Unpack it, and name the folder.")
                if max(entry.file_size, entry.compress_size) > largest:
                    raise DataError(
                        f"{path} contains {entry.filename}, which is too large for an image."
                    )
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError(
                        f"{path} is compressed in a way that EdgeZoo does not read (method "
                        f"{entry.compress_type} of the zip format).",
                        "Unpack it, and name the folder.",
                    )
                stored = entry.compress_type == zipfile.ZIP_STORED
                inflated = None if stored else entry.file_size
                yield entry.filename, _data_of(stream, entry), entry.compress_size, inflated
    except DataError:
        raise
    except Exception as error:  # zipfile raises many classes for damaged files
        raise DataError(
            f"{path} cannot be read as a zip file: {words_of(error)}.", "Check that it is complete."
        ) from error


def _data_of(stream: object, entry: zipfile.ZipInfo) -> int:
    """Return where the data of an entry starts: behind a header with two parts of any length."""
    stream.seek(entry.header_offset)  # type: ignore[attr-defined]
    head = stream.read(_LOCAL_HEADER.size)  # type: ignore[attr-defined]
    magic, *_, name, extra = _LOCAL_HEADER.unpack(head)
    if magic != b"PK\3\4":
        raise zipfile.BadZipFile("an entry has no header")
    return int(entry.header_offset + _LOCAL_HEADER.size + name + extra)


def inflated(data: bytes, size: int) -> bytes:
    """Inflate the data of a zip entry, to no more than the size that it states.

    Raises:
        OSError: it is damaged.
    """
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = machine.decompress(data, size + 1)
    except zlib.error as error:
        raise OSError(f"damaged: {error}") from error
    if len(found) != size:
        raise OSError("damaged: its size is not the one that it states")
    return found
