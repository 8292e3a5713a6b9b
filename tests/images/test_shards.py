"""Images in tar files: WebDataset's shards, ILSVRC2012's own tar file, and hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.images import shards
from edgezoo.images.labelled import count_images, find_labelled, finder, lists_behind, wanted_files
from edgezoo.images.preprocessing import load_pixels
from edgezoo.images.shards import Member
from edgezoo.sweep.estimate import estimate
from edgezoo.sweep.grid import SweepRequest, expand
from tests.evaluation.test_accuracy import CONTRACT, WNIDS


def _jpeg(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


def _tar(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for other in others:
            tar.addfile(other)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def _labels(place: Path, truth: Path | None = None) -> dict[str, int]:
    found = find_labelled(place, CONTRACT, truth)
    return {str(path): label for path, label in zip(found.paths, found.labels, strict=True)}


def test_webdataset(tmp_path: Path) -> None:
    """Shards in their order; classes as index, wnid or label; other files of a sample ignored."""
    first = _tar(tmp_path / "val-0.tar", {
        "0001.jpg": _jpeg(1), "0001.cls": b"7\n", "0001.json": b"{}",
        "0002.cls": WNIDS[517].encode(), "0002.jpg": _jpeg(2),
    })  # fmt: skip
    second = _tar(tmp_path / "val-1.tar", {"0001.jpg": _jpeg(3), "0001.cls": b"tench"})
    wanted = {f"{first}:0001.jpg": 7, f"{first}:0002.jpg": 517, f"{second}:0001.jpg": 0}
    assert _labels(tmp_path) == wanted and _labels(second) == {f"{second}:0001.jpg": 0}
    images = find_labelled(tmp_path, CONTRACT).paths
    (tmp_path / "loose.jpg").write_bytes(_jpeg(2))
    assert file_sha256(images[1]) == file_sha256(tmp_path / "loose.jpg")
    same = load_pixels(images[1], 32) == load_pixels(tmp_path / "loose.jpg", 32)
    assert np.all(same)
    assert wanted_files(second, None, 1) == ((second,), None)


def test_finder_lists_a_place_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all files of the same classes, whatever else their contracts say; not for others."""
    tar = _tar(tmp_path / "val.tar", {"1.jpg": _jpeg(1), "1.cls": b"b", "2.jpg": _jpeg(2),
                                      "2.cls": b"a"})  # fmt: skip
    listed = []
    members = shards.members

    def noted(*given: Any) -> Any:
        listed.append(given)
        return members(*given)

    monkeypatch.setattr(shards, "members", noted)
    ab, ba = (replace(CONTRACT, classes=2, labels=labels) for labels in (("a", "b"), ("b", "a")))
    find = finder(tar, None, 1)
    assert find(ab).labels == (1,)
    assert find(replace(ab, precision="float32")) is find(ab)
    assert len(listed) == 1
    assert find(ba).labels == (0,)


def test_folder_a_class_and_flat(tmp_path: Path) -> None:
    sorted_ones = _tar(tmp_path / "a.tar", {f"val/{WNIDS[3]}/x.JPEG": _jpeg(1)})
    assert list(_labels(sorted_ones).values()) == [3]
    names = [f"ILSVRC2012_val_{n:08}.JPEG" for n in (1, 2)]
    flat = _tar(tmp_path / "ILSVRC2012_img_val.tar", {name: _jpeg(1) for name in names})
    with pytest.raises(DataError, match="does not contain the classes"):
        _labels(flat)
    (tmp_path / "val.txt").write_text(f"{names[1]} 4\n{names[0]} 900\n")
    assert list(_labels(flat).values()) == [900, 4], "beside it"
    assert list(_labels(flat, tmp_path / "val.txt").values()) == [900, 4]
    assert wanted_files(flat, None, 1) == ((flat,), tmp_path / "val.txt")
    assert wanted_files(sorted_ones, None, 1) == ((sorted_ones,), None), "needs no list"


def test_list_beside_a_tar_that_is_sorted_in_part(tmp_path: Path) -> None:
    """The list is used as soon as one image lies in no folder; a device must get it then."""
    tar = _tar(tmp_path / "a.tar", {f"{WNIDS[3]}/x.JPEG": _jpeg(1), "y.JPEG": _jpeg(2)})
    (tmp_path / "val.txt").write_text("x 5\ny 6\n")
    assert list(_labels(tar).values()) == [5, 6]
    assert wanted_files(tar, None, None) == ((tar,), tmp_path / "val.txt")
    assert lists_behind(tar) == (tmp_path / "val.txt",)


def test_images_are_counted_in_their_tar_files(tmp_path: Path) -> None:
    _tar(tmp_path / "0.tar", {"1.jpg": b"x", "1.cls": b"1", "2.jpg": b"x", "a/.3.jpg": b"x"})
    _tar(tmp_path / "1.tar", {"1.png": b"x", "LICENSE": b"x"})
    assert (count_images(tmp_path), count_images(tmp_path / "1.tar")) == (3, 1)
    images = tmp_path / "images"
    images.mkdir()
    (images / "1.png").write_bytes(b"x")
    assert count_images(images) == 1
    request = SweepRequest(models=("mobilenet",), weights="random", images=tmp_path / "0.tar")
    assert estimate(request, expand(request)).images == 2


def test_hostile_members(tmp_path: Path) -> None:
    """Names that climb out, links and devices: nothing is written, nothing outside is read."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(_jpeg(9))
    kinds = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
        entry = tarfile.TarInfo("link.jpg")
        entry.type, entry.linkname = kind, str(secret)
        kinds.append(entry)
    names = {"../../up.jpg": b"0", "/etc/passwd.jpg": b"1", "a/../b.jpg": b"2"}
    files = {n: _jpeg(1) for n in names} | {n[:-3] + "cls": c for n, c in names.items()}
    place = tmp_path / "shards" / "evil.tar"
    place.parent.mkdir()
    _tar(place, files, *kinds)
    found = find_labelled(place, CONTRACT)
    assert [path.inner for path in found.paths if isinstance(path, Member)] == list(names)
    assert found.labels == (0, 1, 2)
    assert [load_pixels(path, 32).shape for path in found.paths] == [(32, 32, 3)] * 3
    assert [path.name for path in place.parent.iterdir()] == ["evil.tar"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.jpg": b"x", "a.cls": b"1000"}, "1000"),
        ({"a.jpg": b"x", "a.cls": b"-1"}, "-1"),
        ({"a.jpg": b"x", "a.cls": b"\xff"}, "is not a class"),
        ({"a.jpg": b"x", "b.jpg": b"x", "b.cls": b"1"}, "a.jpg has no .cls"),
        ({"a.txt": b"x"}, "no images"),
    ],
)
def test_wrong_contents(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    with pytest.raises(DataError, match=words):
        _labels(_tar(tmp_path / "a.tar", files))


def test_damaged(tmp_path: Path) -> None:
    whole = _tar(tmp_path / "whole.tar", {"a.jpg": _jpeg(1), "a.cls": b"1"})
    packed = tmp_path / "packed.tar"
    packed.write_bytes(gzip.compress(whole.read_bytes()))
    with pytest.raises(DataError, match=r"packed\.tar") as caught:
        _labels(packed)
    assert "gunzip" in caught.value.hint
    found = find_labelled(whole, CONTRACT)
    whole.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(DataError, match=r"a\.jpg"):
        load_pixels(found.paths[0], 32)
    with pytest.raises(DataError, match="no folder"):
        _labels(tmp_path / "none.tar")
