"""HDF5 files: each object is visited once, and what could be visited without end is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError
from edgezoo.formats.keras_files import reading

h5py = pytest.importorskip("h5py")


def _itself(file: Any) -> None:
    file["weights/again"] = file["weights"]


def _the_root(file: Any) -> None:
    file["weights/top"] = file["/"]


def _each_other(file: Any) -> None:
    file["weights/other"] = file.create_group("other")
    file["other/back"] = file["weights"]


def _ladder(file: Any) -> None:
    """Forty steps of two rungs each: a trillion paths."""
    group = file["weights"]
    for _ in range(40):
        below = group.create_group("a")
        group["b"] = below
        group = below


@pytest.mark.parametrize("damage", [_itself, _the_root, _each_other, _ladder])
def test_groups_in_several_places(damage: Callable[[Any], None], tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("weights").create_dataset("kernel", data=[1.0])
        damage(file)
    begun = time.process_time()
    with pytest.raises(DataError, match="is in several places"):
        reading.read(path)
    assert time.process_time() - begun < 1


def test_an_array_in_several_places_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", shape=(2**30,), dtype="f8", chunks=(2**20,))  # 8 GiB of nothing
        for number in range(5):
            file[f"again{number}"] = file["a"]
    assert reading.read(path).weights_only
