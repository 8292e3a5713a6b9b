"""Pipes and devices in place of files: refused at once, in each place where a file is named."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.bundling.place import check_folder
from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError
from edgezoo.core.labels import read_labels
from edgezoo.formats.keras_files import reading
from edgezoo.images import ground_truth_lists, shards
from edgezoo.images.packed import zip_entries
from edgezoo.images.preprocessing import load_pixels
from edgezoo.networks.weights import check_hdf5
from edgezoo.reporting import report_files
from edgezoo.results import manifest
from edgezoo.results.store import read_stores
from edgezoo.sweep.sweep_file import read_toml

READERS: dict[str, Callable[[Path], object]] = {
    "x.jpg": lambda path: load_pixels(path, 32),
    "labels.txt": read_labels,
    "list.txt": lambda path: ground_truth_lists.files(path),
    "x.tar": lambda path: list(shards.members(path, ".cls")),
    "x.zip": lambda path: list(zip_entries(path, 1000)),
    "x.npz": lambda path: sources.choose(str(path), 32, 2, 2, 0),
    "x.npy": lambda path: sources.choose(str(path), 32, 2, 2, 0),
    "x.toml": read_toml,
    "x.manifest.json": manifest.read,
    "x.h5": reading.read,
    "x.keras": reading.read,
    "weights.h5": lambda path: check_hdf5(path, ""),
    **{f"m{end}": registry.load_artifact for end in (".tflite", ".onnx", ".xml", ".keras")},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READERS)
def test_pipe(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(EdgeZooError) as caught:
        READERS[name](tmp_path / name)
    assert caught.value.exit_code == 5 and str(tmp_path) in str(caught.value)


@pytest.mark.timeout(60)
def test_pipes_in_a_store(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    os.mkfifo(tmp_path / "records" / "a.json")
    assert read_stores([tmp_path])[1] == [f"{tmp_path}/records/a.json is damaged."]
    os.mkfifo(tmp_path / "store.json")
    with pytest.raises(EdgeZooError, match=r"store\.json is damaged"):
        report_files.write([tmp_path], ["csv"], tmp_path)


@pytest.mark.timeout(60)
def test_pipe_in_a_folder_of_calibration_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "z.png")
    with pytest.raises(EdgeZooError, match=r"not readable images|pipe"):
        sources.choose(str(tmp_path), 32, 1, 1, 0)


@pytest.mark.timeout(60)
def test_pipe_in_place_of_a_bundles_list(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.json")
    with pytest.raises(EdgeZooError, match="not a bundle"):
        check_folder(tmp_path)


def test_members_of_a_tar_file_that_are_pipes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        entry = tarfile.TarInfo("x.jpg")
        entry.type = tarfile.FIFOTYPE
        tar.addfile(entry)
    assert list(shards.members(tmp_path / "x.tar", ".cls")) == []
