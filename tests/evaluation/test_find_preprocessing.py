"""What a file was trained with is found on labelled images, or said to be open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgezoo
from edgezoo.core.errors import UsageError
from tests.conftest import Exported
from tests.support.tiny_onnx import SIDE, save

CLASSES = ("dark", "light", "red")
# A grey image of 128 is between dark and light behind tf. On a larger scale the file is too sure.
KERNEL = np.array([[-1.0, 1.0, 2.5], [-1.0, 1.0, -1.25], [-1.0, 1.0, -1.25]])
MEANS = {"dark": (-60, -60, -60), "light": (60, 60, 60), "red": (90, -60, -60)}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A file of the mode tf, images that are wider than high, and labels."""
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for number in range(30):
            shown = label if number > 2 else CLASSES[CLASSES.index(label) - 1]  # a tenth is wrong
            noise = rng.normal(128, 10, (SIDE, 2 * SIDE, 3)) + MEANS[shown]
            pixels = np.clip(noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(CLASSES))
    return save(tmp_path / "m.onnx", values=3, weights=KERNEL), folder, labels


def test_the_right_one_is_best(files: tuple[Path, Path, Path]) -> None:
    model, images, labels = files
    found = edgezoo.find_preprocessing(model, images, labels=labels)
    assert found.images == 90 and len(found.tried) == 27
    best = found.tried[0]
    assert (best.preprocessing, best.bgr) == ("tf", False) and best.fits and best.top1 == 0.9
    assert best.top1_ci95[0] < 1 and not found.left_out
    fitting = {(entry.preprocessing, entry.bgr) for entry in found.tried if entry.fits}
    assert ("unit", False) not in fitting and ("tf", True) not in fitting
    assert best.options in found.verdict


def test_file_with_a_contract_is_refused(
    exported: Exported, files: tuple[Path, Path, Path]
) -> None:
    with pytest.raises(UsageError, match="carries its own"):
        edgezoo.find_preprocessing(exported.path("onnx", "float32"), files[1])
