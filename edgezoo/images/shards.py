"""Images in tar files, as WebDataset and ILSVRC2012 ship them: listed once, read in place.

Nothing is unpacked: a member is a range of bytes of its tar file, and its name is never used as a
path. In WebDataset (https://github.com/webdataset/webdataset) files of one sample share their name
up to the first dot, such as 000123.jpg and 000123.cls.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from edgezoo.core.errors import DataError
from edgezoo.core.files import open_regular

SUFFIX = ".tar"
# An image of ImageNet has 0.1 MB, its largest 15 MB.
_LARGEST = 256 << 20
_SMALL = 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file, with the part of `Path`'s interface that readers of images need.

    Attributes:
        inner: name in the tar file.
        offset, size: of the bytes in the tar file.
    """

    tar: Path
    inner: str
    offset: int
    size: int

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
        """Folder in the tar file."""
        return PurePosixPath(self.inner).parent

    @property
    def sample(self) -> str:
        """Name that the files of one sample share."""
        return str(self.parent / self.name.partition(".")[0])

    def open(self, mode: str = "rb") -> BytesIO:
        """Return the bytes as a stream.

        Raises:
            OSError: the tar file cannot be read, or is truncated.
        """
        with open_regular(self.tar) as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{self.tar} ends within {self.inner}")
        return BytesIO(data)

    def __str__(self) -> str:
        return f"{self.tar}:{self.inner}"


def find(place: Path) -> list[Path]:
    """Return the tar file itself, or the tar files of a folder, sorted."""
    if place.is_file() and place.suffix == SUFFIX:
        return [place]
    return sorted(path for path in place.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def members(tar: Path, read: str) -> Iterator[tuple[Member, bytes]]:
    """Yield the plain files in a tar file, in its order, without links, devices and folders.

    Args:
        tar: an uncompressed tar file.
        read: suffix of small files to read; the bytes of other files are empty.

    Raises:
        DataError: it is damaged, compressed, or contains a file too large for an image.
    """
    try:
        # Reads headers and skips the data between them.
        with open_regular(tar) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            place = -1
            while (entry := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # do not keep all entries
                # Negative sizes make old releases of tarfile loop (CVE-2025-8194).
                if entry.size < 0 or entry.offset_data <= place:
                    raise tarfile.ReadError("its entries do not follow one another")
                place = entry.offset_data
                if not entry.isreg() or entry.issparse():
                    continue
                if entry.size > _LARGEST:
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
            "Decompress it first, for example with gunzip.",
        ) from error
