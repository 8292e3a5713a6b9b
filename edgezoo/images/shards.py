"""Images in tar, zip and parquet files, as data sets are shipped: listed once, read in place.

A member is a range of bytes of its file, and its name is never used as a path. Only a compressed
tar file, in which no place can be found, is decompressed, to a temporary file. In WebDataset
(https://github.com/webdataset/webdataset) files of one sample share their name up to the first
dot, such as 000123.jpg and 000123.cls.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from edgezoo.core import lfs
from edgezoo.core.errors import DataError
from edgezoo.core.files import open_regular
from edgezoo.images import packed

PARQUET = ".parquet"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip", PARQUET)
# An image of ImageNet has 0.1 MB, its largest 15 MB.
LARGEST = 256 << 20
_SMALL = 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar or zip file, with the part of `Path`'s interface that readers need.

    Attributes:
        tar: the file that contains it.
        inner: name in that file.
        offset, size: of the bytes in that file, a compressed tar file as it is decompressed; in a
            parquet file the numbers of the row and of its group.
        unpacked: size after inflating, in a zip file; None where it is stored as it is.
    """

    tar: Path
    inner: str
    offset: int
    size: int
    unpacked: int | None = None

    @property
    def name(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.inner).name

    @property
    def stem(self) -> str:
        """Last part of the name, without the suffix."""
        return PurePosixPath(self.inner).stem

    @property
    def suffix(self) -> str:
        """Suffix of the name, with the dot."""
        return PurePosixPath(self.inner).suffix

    @property
    def parent(self) -> PurePosixPath:
        """Folder in the file."""
        return PurePosixPath(self.inner).parent

    @property
    def sample(self) -> str:
        """Name that the files of one sample share."""
        return str(self.parent / self.name.partition(".")[0])

    def open(self, mode: str = "rb") -> BytesIO:
        """Return the bytes as a stream.

        Raises:
            OSError: the file cannot be read, or is truncated.
        """
        if self.tar.suffix.lower() == PARQUET:
            from edgezoo.images import parquet_files

            return parquet_files.open_row(self.tar, self.offset, self.size)
        with open_regular(packed.plain(self.tar)) as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{self.tar} ends within {self.inner}")
        if self.unpacked is not None:
            data = packed.inflated(data, self.unpacked)
        return BytesIO(data)

    def __str__(self) -> str:
        return f"{self.tar}:{self.inner}"


def is_shard(path: Path) -> bool:
    """Return whether a file contains images, by its name."""
    return path.name.lower().endswith(SUFFIXES)


def find(place: Path) -> list[Path]:
    """Return the tar, zip or parquet files of a folder, sorted."""
    found = (path for path in place.iterdir() if is_shard(path) and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def members(shard: Path, read: str) -> Iterator[tuple[Member, bytes]]:
    """Yield the plain files in a tar, zip or parquet file, in its order.

    Args:
        shard: the file.
        read: suffix of small files to read; the bytes of other files are empty.

    Raises:
        DataError: it is damaged, or contains a file too large for an image.
        MissingError: the package that reads it is not installed.
    """
    lfs.require_content(shard)
    suffix = shard.suffix.lower()
    if suffix == PARQUET:
        from edgezoo.images import parquet_files

        return parquet_files.members(shard, read)
    return _in_zip(shard, read) if suffix == ".zip" else _in_tar(shard, read)


def _in_zip(shard: Path, read: str) -> Iterator[tuple[Member, bytes]]:
    for name, offset, size, unpacked in packed.zip_entries(shard, LARGEST):
        member = Member(shard, name, offset, size, unpacked)
        length = size if unpacked is None else unpacked
        small = member.suffix == read and length <= _SMALL
        yield member, member.open().read() if small else b""


def _in_tar(tar: Path, read: str) -> Iterator[tuple[Member, bytes]]:
    """Yield the plain files in a tar file, without links, devices and folders."""
    try:
        # Reads headers and skips the data between them.
        plain = packed.plain(tar)
        with open_regular(plain) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            place = -1
            while (entry := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # do not keep all entries
                # Negative sizes make old releases of tarfile loop (CVE-2025-8194).
                if entry.size < 0 or entry.offset_data <= place:
                    raise tarfile.ReadError("its entries do not follow one another")
                place = entry.offset_data
                if not entry.isreg() or entry.issparse():
                    continue
                if entry.size > LARGEST:
                    raise DataError(
                        f"{tar} contains {entry.name}, which is too large for an image."
                    )
                member = Member(tar, entry.name, entry.offset_data, entry.size)
                small = member.suffix == read and entry.size <= _SMALL
                inside = opened.extractfile(entry) if small else None
                yield member, inside.read() if inside else b""
    except DataError:
        raise
    except Exception as error:  # tarfile raises many classes for damaged headers
        raise DataError(
            f"{tar} cannot be read as a tar file: {error}.",
            "Decompress it first, for example with gunzip, or name it .tar.gz.",
        ) from error
