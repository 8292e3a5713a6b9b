"""Labelled folders as people have them, and the interval around a share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from edgezoo.artifact import InputContract, WeightsRecord
from edgezoo.errors import DataError
from edgezoo.evaluation import evaluate
from edgezoo.labelled import find_labelled
from edgezoo.models._imagenet import classes
from edgezoo.statistics import share_interval
from tests.conftest import Exported, Trained

WNIDS = [wnid for wnid, _ in classes()]
LABELS = tuple(name for _, name in classes())
CONTRACT = InputContract(
    "mobilenet", "float32", 32, "tf", WeightsRecord("random", ""), classes=1000, labels=LABELS
)


# The interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # by the formula of Wilson (1927), as Newcombe (1998, table I) prints it
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
        (500, 1000, 0.4691, 0.5309),
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    got = share_interval(successes, n)
    assert got == pytest.approx((low, high), abs=6e-5)
    assert 0 <= got[0] <= successes / n + 1e-12 and successes / n - 1e-12 <= got[1] <= 1


def test_no_image_says_nothing() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)


# Folders


def _flat(folder: Path, count: int = 4, pattern: str = "ILSVRC2012_val_{:08}.JPEG") -> Path:
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / pattern.format(number), "JPEG")
    return folder


def _labels(folder: Path, truth: Path | None = None) -> dict[str, int]:
    found = find_labelled(folder, CONTRACT, truth)
    return {path.name: label for path, label in zip(found.paths, found.labels, strict=True)}


def test_folder_a_class_by_wnid(tmp_path: Path) -> None:
    _flat(tmp_path / WNIDS[7], 2, "a{}.jpg")
    _flat(tmp_path / WNIDS[517], 1, "b{}.jpg")
    assert _labels(tmp_path) == {"a1.jpg": 7, "a2.jpg": 7, "b1.jpg": 517}


def test_folder_a_class_by_label(tmp_path: Path) -> None:
    _flat(tmp_path / "tench", 1, "a{}.jpg")
    assert _labels(tmp_path) == {"a1.jpg": 0}


def test_label_of_two_classes_is_not_guessed(tmp_path: Path) -> None:
    """ "crane" is a bird (134) and a machine (517)."""
    assert [i for i, label in enumerate(LABELS) if label == "crane"] == [134, 517]
    _flat(tmp_path / "crane", 1, "a{}.jpg")
    with pytest.raises(DataError, match="crane"):
        _labels(tmp_path)


def test_folders_that_are_no_classes(tmp_path: Path) -> None:
    for i in range(7):
        _flat(tmp_path / f"kind{i}", 1)
    with pytest.raises(DataError, match="kind0, kind1, kind2, kind3, kind4 …") as caught:
        _labels(tmp_path)
    assert "wnid" in caught.value.hint


FILES = [f"ILSVRC2012_val_{n:08}" for n in range(1, 5)]
WANTED = {f"{name}.JPEG": label for name, label in zip(FILES, (3, 1, 999, 0), strict=True)}


@pytest.mark.parametrize(
    "lines",
    [
        [f"{name}.JPEG {label}" for name, label in zip(FILES, (3, 1, 999, 0), strict=True)],
        [f"{name} {WNIDS[i]}" for name, i in zip(FILES, (3, 1, 999, 0), strict=True)],
        [f"val/{name}.JPEG\t{WNIDS[i]}" for name, i in zip(FILES, (3, 1, 999, 0), strict=True)],
        [f"{name}.JPEG,{i}" for name, i in zip(FILES, (3, 1, 999, 0), strict=True)],
    ],
    ids=["index", "wnid", "path and tab", "comma"],
)
def test_flat_folder_with_a_list(tmp_path: Path, lines: list[str]) -> None:
    folder = _flat(tmp_path / "val")
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(reversed(lines)) + "\n")
    assert _labels(folder, truth) == WANTED


@pytest.mark.parametrize("place", ["val", "."])
def test_kaggle_list_is_found(tmp_path: Path, place: str) -> None:
    """ImageId, then a wnid and four numbers a box; several boxes in a line."""
    folder = _flat(tmp_path / "val")
    rows = ["ImageId,PredictionString"]
    rows += [
        f"{name},{WNIDS[i]} 85 1 499 272 {WNIDS[i]} 131 0 499 254 "
        for name, i in zip(FILES, (3, 1, 999, 0), strict=True)
    ]
    (tmp_path / place / "LOC_val_solution.csv").write_text("\n".join(rows))
    assert _labels(folder) == WANTED


def test_list_of_the_development_kit_needs_its_order(tmp_path: Path) -> None:
    """The kit counts classes in an order of its own: taking it for Keras' scores 0.1 %."""
    folder = _flat(tmp_path / "val")
    truth = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("490\n361\n171\n822\n")
    with pytest.raises(DataError, match=r"meta\.mat") as caught:
        _labels(folder)
    assert "wnid" in caught.value.hint


def test_list_of_the_development_kit(tmp_path: Path) -> None:
    import numpy as np
    from scipy.io import savemat

    folder = _flat(tmp_path / "val")
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n4\n3\n")
    kit = [WNIDS[i] for i in (50, 60, 70, 80)]
    entries = [(i + 1, wnid) for i, wnid in enumerate(kit)]
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O")]
    savemat(tmp_path / "meta.mat", {"synsets": np.array(entries, kinds)})
    assert list(_labels(folder).values()) == [60, 50, 80, 70]


def test_list_that_misses_an_image(tmp_path: Path) -> None:
    folder = _flat(tmp_path / "val")
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(f"{name} 1" for name in FILES[:-1]))
    with pytest.raises(DataError, match=FILES[-1]):
        _labels(folder, truth)


@pytest.mark.parametrize("word", ["1000", "-1", "n99999999", "cat"])
def test_list_with_an_unknown_class(tmp_path: Path, word: str) -> None:
    folder = _flat(tmp_path / "val", 1)
    truth = tmp_path / "truth.txt"
    truth.write_text(f"{FILES[0]} {word}\n")
    with pytest.raises(DataError, match=re.escape(word)):
        _labels(folder, truth)


def test_no_list_no_folder_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ground truth"):
        _labels(_flat(tmp_path / "val"))
    with pytest.raises(DataError, match="no folder"):
        _labels(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        _labels(tmp_path / "empty")


# Scoring


def test_limit_and_unreadable_pictures(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    file = exported.path("tflite", "int8")
    whole = evaluate([file], trained.test, limit=40)["results"][0]
    assert whole["images"] == 40 and whole["unreadable"] == 0
    assert whole["agreement_top1"] is None and whole["reference"] is None
    assert whole["top1_ci95"] == list(share_interval(round(whole["top1"] * 40), 40))
    folder = _flat(tmp_path / "few" / WNIDS[0], 19, "a{:02}.jpg")
    (folder / "bad.jpg").write_bytes(b"no picture")
    some = evaluate([file], folder.parent)["results"][0]
    assert (some["images"], some["unreadable"]) == (19, 1)
    for i in range(3):
        (folder / f"bad{i}.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="4 of 23"):
        evaluate([file], folder.parent)


def test_progress_counts_every_picture(exported: Exported, trained: Trained) -> None:
    ticks: list[int] = []
    evaluate([exported.path("onnx", "int8")], trained.test, limit=7, progress=ticks.append)
    assert sum(ticks) == 7
