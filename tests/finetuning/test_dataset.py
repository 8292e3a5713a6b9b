"""Pictures for training: found, split, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.core.errors import DataError
from edgezoo.core.spec import Resize
from edgezoo.finetuning import dataset
from edgezoo.images.preprocessing import load_pixels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten images of each of three classes, of all shapes; one lies deeper."""
    generator = np.random.default_rng(0)
    for name in ("bird", "cat", "dog"):
        for i in range(10):
            place = tmp_path / "data" / name / ("deep" if i == 0 else "")
            place.mkdir(parents=True, exist_ok=True)
            height, width = generator.integers(40, 90, 2)
            pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "data"


def store(data: Path, path: Path, **options: Any) -> dataset.StoredPixels:
    apart = options.pop("apart", None)
    return dataset.store(
        dataset.find(data),
        dataset.find(apart, 1, 1) if apart else None,
        options.pop("share", 0.2),
        options.pop("size", 32),
        options.pop("resize", Resize()),
        options.pop("seed", 0),
        path / "pixels.npy",
    )


@pytest.mark.parametrize("resize", [Resize(), Resize(0.875, "bicubic"), Resize(0.8), Resize(1.0)])
@pytest.mark.parametrize("size", [31, 32])
def test_centre_is_what_deployment_sees(
    data: Path, tmp_path: Path, size: int, resize: Resize
) -> None:
    stored = store(data, tmp_path, size=size, resize=resize)
    pixels = np.load(stored.path)
    m, across = stored.margin
    assert m == across == (resize.shorter_side(size) - size) // 2
    for row, name in enumerate(stored.files):
        centre = pixels[row, m : m + size, m : m + size]
        assert np.array_equal(centre, load_pixels(data / name, size, resize)), name


def test_split_covers_each_class_and_repeats(data: Path, tmp_path: Path) -> None:
    first, again, other = (store(data, tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first.parts == again.parts != other.parts
    rows = [row for part in first.parts.values() for row in part]
    assert sorted(rows) == list(range(30))
    counts = {
        part: np.bincount([first.classes[row] for row in rows]).tolist()
        for part, rows in first.parts.items()
    }
    assert counts == {"train": [7] * 3, "validation": [1] * 3, "held_out": [2] * 3}
    assert len(first.prints) == 24


def test_held_out_folder_of_its_own(data: Path, tmp_path: Path) -> None:
    """Nothing is held out of the data, and no image is on both sides."""
    apart = tmp_path / "apart"
    (apart / "dog").mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), np.uint8)
    Image.fromarray(pixels).save(apart / "dog/new.png")
    (apart / "dog/known.png").write_bytes((data / "dog/3.png").read_bytes())
    stored = store(data, tmp_path, apart=apart)
    assert len(stored.parts["train"]) + len(stored.parts["validation"]) == 30
    assert [stored.files[row] for row in stored.parts["held_out"]] == ["dog/new.png"]
    assert stored.classes[stored.parts["held_out"][0]] == 2
    assert stored.repeated == 1
    (apart / "dog/new.png").unlink()
    with pytest.raises(DataError, match="No image is left to score"):
        store(data, tmp_path, apart=apart)


def test_unreadable_and_repeated_files_are_left_out(data: Path, tmp_path: Path) -> None:
    (data / "cat/9.png").write_bytes(b"no picture")
    (data / "cat/again.png").write_bytes((data / "cat/3.png").read_bytes())
    stored = store(data, tmp_path)
    assert (len(stored.unreadable), stored.repeated, len(stored.files)) == (1, 1, 29)
    for i in range(9):
        (data / "cat" / f"bad{i}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not readable images"):
        store(data, tmp_path)


def test_folders_that_are_no_classes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        dataset.find(tmp_path / "absent")
    with pytest.raises(DataError, match="each class needs one"):
        dataset.find(_one_class(tmp_path))
    (data / "loose.png").write_bytes((data / "cat/3.png").read_bytes())
    with pytest.raises(DataError, match="is not in a class folder"):
        dataset.find(data)
    (data / "loose.png").unlink()
    (data / "rare").mkdir()
    (data / "rare/1.png").write_bytes((data / "cat/3.png").read_bytes())
    with pytest.raises(DataError, match="The class rare has 1 image,"):
        dataset.find(data)
    with pytest.raises(DataError, match="has a class dog"):
        dataset.check_same_classes(dataset.find(_two_classes(tmp_path)), dataset.find(data, 1))


def _one_class(tmp_path: Path) -> Path:
    folder = tmp_path / "one/cat"
    folder.mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(folder / f"{i}.png")
    return folder.parent


def _two_classes(tmp_path: Path) -> Path:
    folder = tmp_path / "two"
    for name in ("bird", "cat"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (40, 40), (i, 0, 0)).save(folder / name / f"{i}.png")
    return folder
