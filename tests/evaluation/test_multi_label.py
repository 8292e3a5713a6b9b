"""Classes that do not exclude one another: figures, and lists with several classes an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

import edgezoo
from edgezoo.core.errors import DataError
from edgezoo.evaluation.multi_label import measure, truth_of
from tests.support.tiny_onnx import SIDE, save

NAMES = ("red", "green", "blue")


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 5)) < 0.3
    scores = np.round(np.clip(0.4 * truth + rng.normal(0.3, 0.2, truth.shape), 0, 1), 2)
    found = measure(scores.astype(np.float32), truth, 0.5)
    said = scores.astype(np.float32) >= 0.5
    assert found.micro_f1 == pytest.approx(f1_score(truth, said, average="micro"))
    assert found.macro_f1 == pytest.approx(f1_score(truth, said, average="macro"))
    wanted = average_precision_score(truth, scores, average="macro")
    assert found.mean_average_precision == pytest.approx(wanted)


def test_classes_without_images_are_left_out() -> None:
    truth = truth_of([(0,), (), (0, 1)], 3)
    assert truth.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0]]
    found = measure(np.where(truth, 0.9, 0.1).astype(np.float32), truth, 0.5)
    assert found.micro_f1 == found.macro_f1 == found.mean_average_precision == 1


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A file whose three sigmoids say whether an image is red, green, blue; and such images."""
    kernel = 12 * np.eye(3) - 2 * np.ones((3, 3))
    save(tmp_path / "m.onnx", end="Sigmoid", values=3, weights=kernel)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    folder, rows = tmp_path / "images", []
    folder.mkdir()
    for number, right in enumerate(((0,), (1, 2), (0, 2), (1,), ())):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[..., [*right]] = 255
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png {','.join(NAMES[i] for i in right)}")
    (tmp_path / "list.txt").write_text("\n".join(rows))
    return tmp_path


def test_several_classes_an_image(colours: Path) -> None:
    result = edgezoo.evaluate(
        colours / "m.onnx",
        colours / "images",
        ground_truth=colours / "list.txt",
        preprocessing="unit",
        labels=colours / "names.txt",
        threshold=0.6,  # of the black image each class has 0.5
    )
    (entry,) = result.results
    assert entry.multi_label is not None and result.notes
    assert entry.multi_label.mean_average_precision == 1 and entry.multi_label.micro_f1 == 1
    assert entry.top1 == 0.8  # of the black image no class is right
    found = edgezoo.classify(colours / "m.onnx", colours / "images" / "1.png", preprocessing="unit")
    assert found.results[0].above_threshold == (1, 2)


def test_unknown_class_of_several(colours: Path) -> None:
    (colours / "list.txt").write_text("".join(f"{i}.png red,purple\n" for i in range(5)))
    with pytest.raises(DataError, match="purple"):
        edgezoo.evaluate(
            colours / "m.onnx",
            colours / "images",
            ground_truth=colours / "list.txt",
            preprocessing="unit",
            labels=colours / "names.txt",
        )
