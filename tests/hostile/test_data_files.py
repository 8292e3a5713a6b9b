"""Tar files, labels and arrays of pixels."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgezoo.calibration import fingerprints, sources
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.labels import read_labels
from edgezoo.images import shards
from tests.core.test_artifact import CONTRACT


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a.jpg", "a.cls", "ü" * 60 + ".jpg", "b/" * 60 + "c.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"hello"))
    return stream.getvalue()


TAR = _tar()


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_damaged_tar(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Members lie within the file, or there is an error; it never goes on for ever."""
    rng = random.Random(seed)
    data = bytearray(TAR)
    for _ in range(rng.randrange(1, 5)):
        head = rng.randrange(len(data) // 512) * 512
        place = head + rng.choice((0, 124, 125, 135, 156, 157, 345, rng.randrange(512)))
        data[place : place + 1] = rng.choice((b"\x80", b"\xff", b"x", b"L", b"0", b"\0", b"7"))
        data[head + 148 : head + 156] = b" " * 8
        data[head + 148 : head + 156] = b"%06o\0 " % sum(data[head : head + 512])
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        for member, _ in shards.members(path, ".cls"):
            assert member.offset >= 512 and member.size >= 0


def test_tar_that_leads_back(tmp_path: Path) -> None:
    """A size below zero (CVE-2025-8194): old releases of Python read the same header for ever."""
    entry = tarfile.TarInfo("x")
    head = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    head[156:157] = b"g"
    head[124:136] = b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(2, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    (tmp_path / "x.tar").write_bytes(bytes(head) * 4 + bytes(1024))
    with contextlib.suppress(DataError):
        assert len(list(shards.members(tmp_path / "x.tar", ".cls"))) < 10


def test_names_nested_beyond_pythons_stack(tmp_path: Path) -> None:
    entry = bytearray(tarfile.TarInfo("long").tobuf(tarfile.GNU_FORMAT))
    entry[156:157] = b"L"
    entry[148:156] = b" " * 8
    entry[148:156] = b"%06o\0 " % sum(entry)
    (tmp_path / "x.tar").write_bytes(bytes(entry) * 5000 + TAR)
    with pytest.raises(DataError, match=r"x\.tar cannot be read"):
        list(shards.members(tmp_path / "x.tar", ".cls"))


@pytest.mark.parametrize("content", [b"\xff\xfea", b"a\n" * (9 << 20)], ids=["bytes", "large"])
def test_labels(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.txt"):
        read_labels(tmp_path / "labels.txt")


class Armed:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("/tmp/edgezoo-pickle-ran", "w"))


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_pickles(suffix: str, tmp_path: Path) -> None:
    path, marker = tmp_path / f"pixels{suffix}", Path("/tmp/edgezoo-pickle-ran")
    marker.unlink(missing_ok=True)
    armed = np.array([Armed()] * 4, dtype=object)
    if suffix == ".npz":
        np.savez(path, images=armed)
    else:
        np.save(path, armed)
    with pytest.raises(DataError, match="pixels"):
        sources.choose(str(path), 32, 2, 2, 0)
    assert not marker.exists()


def test_archive_of_gigabytes(tmp_path: Path) -> None:
    """Refused by what its directory says, and no more is unpacked than that."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 32, 32, 3)}
    )
    path = tmp_path / "pixels.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", stream.getvalue() + bytes(1 << 20))
    with pytest.raises(DataError, match=r"pixels\.npz"):
        sources.choose(str(path), 32, 2, 2, 0)


@pytest.mark.parametrize(
    "facts", [{}, {"of": "file", "bytes": 0, "sha256": ""}, {"of": 1, "bytes": 5, "sha256": "é"},
              {"of": "file", "bytes": "x", "sha256": "AAAA"}, [1]]
)  # fmt: skip
def test_untrusted_metadata(facts: object) -> None:
    metadata = {"source": "folder", "count": 1, "fingerprints": facts}
    with pytest.raises(DataError, match=r"metadata|calibration\.fingerprints"):
        _overlapping({**CONTRACT.to_json(), "calibration": metadata})


def _overlapping(contract: dict[str, object]) -> None:
    metadata = InputContract.from_json(contract).calibration
    assert metadata is not None
    fingerprints.overlapping(metadata, [], 32)
