"""Images that calibrated a file are found again, by what they hold and not by their name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgezoo.calibration import fingerprints, sources
from edgezoo.core import typed_json
from edgezoo.core.calibration_metadata import CalibrationMetadata

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for i in range(40):
        Image.new("RGB", (37, 37), (i, 2 * i, 255 - i)).save(root / f"{i}.png")
    return root


def _found(metadata: CalibrationMetadata, paths: list[Path]) -> list[str] | None:
    found = fingerprints.overlapping(metadata, paths, SIZE)
    return None if found is None else [path.name for path in found]


def test_calibration_images_are_found(folder: Path) -> None:
    chosen, held = sources.choose(str(folder), SIZE, 25, 15, seed=0)
    metadata = sources.metadata(chosen, SIZE)
    assert _found(metadata, [folder / name for name in chosen.names]) == list(chosen.names)
    assert _found(metadata, [folder / name for name in held.names]) == []
    assert sources.shared_images(chosen, held) == 0


def test_other_names_hide_nothing(folder: Path, tmp_path: Path) -> None:
    chosen, held = sources.choose(str(folder), SIZE, 25, 15, seed=0)
    (tmp_path / "val").mkdir()
    shutil.copy(folder / chosen.names[3], tmp_path / "val" / "unseen.png")
    shutil.copy(folder / held.names[3], tmp_path / "val" / chosen.names[0])
    paths = sorted((tmp_path / "val").iterdir())
    assert _found(sources.metadata(chosen, SIZE), paths) == ["unseen.png"]


def test_copies_within_one_folder(folder: Path, tmp_path: Path) -> None:
    for i in range(10):
        for copy in "ab":
            shutil.copy(folder / f"{i}.png", tmp_path / f"{i}{copy}.png")
    chosen, held = sources.choose(str(tmp_path), SIZE, 12, 8, seed=0)
    twins = {name[0] for name in chosen.names} & {name[0] for name in held.names}
    assert twins
    assert sources.shared_images(chosen, held) == sum(name[0] in twins for name in held.names)


def test_too_few_images_verify_on_themselves(folder: Path) -> None:
    chosen, held = sources.choose(str(folder), SIZE, 500, 16, seed=0)
    assert sources.shared_images(chosen, held) == len(held.names) == 16


def test_array_is_recognized_by_its_pixels(folder: Path, tmp_path: Path) -> None:
    """The images need no resampling but their crop: 37 px to 32 px."""
    paths = sorted(folder.iterdir())
    pixels = np.stack([np.asarray(Image.open(p).convert("RGB"))[2:34, 2:34] for p in paths[:10]])
    np.savez(tmp_path / "pixels.npz", pixels)
    chosen, held = sources.choose(str(tmp_path / "pixels.npz"), SIZE, 6, 4, seed=0)
    indices = sorted(int(name.split(":")[1]) for name in chosen.names)
    assert _found(sources.metadata(chosen, SIZE), paths) == [paths[i].name for i in indices]
    assert sources.shared_images(chosen, held) == 0


def test_synthetic_images_and_old_files(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    made, _ = sources.choose("synthetic", SIZE, 2, 2, seed=0)
    assert sources.metadata(made, SIZE).fingerprints is None
    assert _found(sources.metadata(made, SIZE), paths) == []
    old = sources.metadata(sources.choose(str(folder), SIZE, 5, 5, seed=0)[0], SIZE)
    assert _found(replace(old, fingerprints=None), paths) is None


def test_unreadable_image_is_no_overlap(folder: Path, tmp_path: Path) -> None:
    metadata = sources.metadata(sources.choose(str(folder), SIZE, 5, 5, seed=0)[0], SIZE)
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    assert metadata.fingerprints is not None
    metadata = replace(metadata, fingerprints=replace(metadata.fingerprints, of="pixels"))
    assert _found(metadata, [tmp_path / "bad.jpg", tmp_path / "none.jpg"]) == []


def test_metadata_stays_small_and_tells_no_order() -> None:
    generator = np.random.default_rng(0)
    prints = [generator.bytes(fingerprints.BYTES) for _ in range(500)]
    packed = fingerprints.pack(prints, "file")
    assert packed == fingerprints.pack(reversed(prints), "file")
    assert packed == fingerprints.pack(prints * 2, "file")
    assert len(json.dumps(typed_json.encode(packed))) < 3500
