"""Images in zip, compressed tar and parquet files."""

from __future__ import annotations

import json
import struct
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.errors import DataError, MissingError
from edgezoo.finetuning import dataset
from edgezoo.images import packed
from edgezoo.images.labelled import count_images, find_labelled
from edgezoo.images.preprocessing import load_pixels
from tests.images.test_folders import PETS

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Three images of each of three classes, with a folder of another system."""
    random = np.random.default_rng(0)
    for label in PETS.labels:
        for number in range(3):
            path = tmp_path / "pets" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    (tmp_path / "pets/__MACOSX/dog").mkdir(parents=True)
    (tmp_path / "pets/__MACOSX/dog/._0.png").write_bytes(b"x")
    return tmp_path / "pets"


def _zip(loose: Path, path: Path, method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for image in sorted(loose.rglob("*.png")):
            file.write(image, f"pets/{image.relative_to(loose).as_posix()}")
    return path


def _tar(loose: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as file:
        file.add(loose, "pets")
    return path


def _same(place: Path, loose: Path) -> None:
    inside, outside = find_labelled(place, PETS), find_labelled(loose, PETS)
    assert sorted(inside.labels) == sorted(outside.labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for image, label in zip(inside.paths, inside.labels, strict=True):
        same = loose / PETS.labels[label] / image.name
        assert np.array_equal(load_pixels(image, 32), load_pixels(same, 32))


@pytest.mark.parametrize("method", METHODS)
def test_zip(loose: Path, tmp_path: Path, method: int) -> None:
    path = _zip(loose, tmp_path / "pets.ZIP", method)
    _same(path, loose)
    assert count_images(path) == 9
    assert dataset.find(path).labels == tuple(sorted(PETS.labels))
    chosen, held_out = sources.choose(str(path), 32, 4, 2, 0)
    assert (len(chosen.names), chosen.classes, len(held_out.names)) == (4, 3, 2)
    assert chosen.names[0].startswith("pets/")


def test_folder_of_zip_files(loose: Path, tmp_path: Path) -> None:
    place = tmp_path / "shards"
    place.mkdir()
    _zip(loose, place / "0.zip", zipfile.ZIP_DEFLATED)
    _tar(loose, place / "1.tar.gz")
    assert len(find_labelled(place, PETS).paths) == 18


@pytest.mark.parametrize("name", ["pets.tar.gz", "pets.tgz"])
def test_compressed_tar(loose: Path, tmp_path: Path, name: str) -> None:
    path = _tar(loose, tmp_path / name)
    _same(path, loose)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cannot be decompressed"):
        find_labelled(path, PETS)


def test_damaged_and_hostile_zips(loose: Path, tmp_path: Path) -> None:
    whole = _zip(loose, tmp_path / "whole.zip", zipfile.ZIP_DEFLATED).read_bytes()
    path = tmp_path / "pets.zip"
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match="cannot be read as a zip file"):
        find_labelled(path, PETS)
    # The first entry is encrypted, by its flags in the directory.
    place = whole.index(b"PK\1\2") + 8
    path.write_bytes(whole[:place] + struct.pack("<H", 1) + whole[place + 2 :])
    with pytest.raises(DataError, match="encrypted"):
        find_labelled(path, PETS)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("dog/a.png", b"x" * 100)
    with pytest.raises(DataError, match="does not read"):
        find_labelled(path, PETS)
    with pytest.raises(OSError, match="its size"):
        packed.inflated(_deflated(b"x" * 1000), 10)
    with pytest.raises(OSError, match="damaged"):
        packed.inflated(b"\xff\xff", 10)


def _deflated(data: bytes) -> bytes:
    import zlib

    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def test_zip_that_states_another_size(loose: Path, tmp_path: Path) -> None:
    """More than a file states is never unpacked: its images cannot be read."""
    data = bytearray(_zip(loose, tmp_path / "bomb.zip", zipfile.ZIP_DEFLATED).read_bytes())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = struct.pack("<I", 5)
    (tmp_path / "bomb.zip").write_bytes(data)
    first = find_labelled(tmp_path / "bomb.zip", PETS).paths[0]
    with pytest.raises(DataError, match="its size is not the one"):
        load_pixels(first, 32)


def test_parquet_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "val.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(registry, "has_package", lambda name: False)
    with pytest.raises(MissingError, match="pyarrow") as caught:
        find_labelled(tmp_path / "val.parquet", PETS)
    assert "edgezoo[parquet]" in caught.value.hint


def _parquet(loose: Path, path: Path, names: list[str] | None) -> Path:
    arrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow: edgezoo[parquet]")
    import pyarrow.parquet as pq

    rows = [
        ({"bytes": image.read_bytes(), "path": image.name}, PETS.labels.index(image.parent.name))
        for image in sorted(loose.rglob("[0-9].png"))
    ]
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    columns = [arrow.array([image for image, _ in rows], kind), [label for _, label in rows]]
    table = arrow.table(columns, names=["image", "label"])
    if names is not None:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=2)
    return path


@pytest.mark.parametrize("names", [None, ["big cat", "dog", "Guinea Pig"], ["x", "y", "z"]])
def test_parquet(loose: Path, tmp_path: Path, names: list[str] | None) -> None:
    found = find_labelled(_parquet(loose, tmp_path / "val.parquet", names), PETS)
    outside = find_labelled(loose, PETS)
    assert sorted(found.labels) == sorted(outside.labels)
    shapes = {load_pixels(image, 32).shape for image in found.paths}
    assert len(found.paths) == 9 and shapes == {(32, 32, 3)}
    assert bool(found.remarks) is (names == ["x", "y", "z"])


def test_names_in_a_parquet_file_go_before_numbers(loose: Path, tmp_path: Path) -> None:
    """Number 0 is big_cat, whatever the model counts as 0."""
    path = _parquet(loose, tmp_path / "val.parquet", list(PETS.labels))
    other = replace(PETS, labels=("dog", "big_cat", "guinea_pig"))
    assert find_labelled(path, other).labels[:3] == (2, 2, 2), "Guinea pig comes first"
    assert find_labelled(path, other).labels[3:6] == (1, 1, 1)
