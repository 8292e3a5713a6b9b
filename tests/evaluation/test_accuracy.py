"""Labelled folders as people have them, and the interval around a share."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.errors import DataError
from edgezoo.core.input_options import InputOptions
from edgezoo.evaluation.accuracy import evaluate
from edgezoo.evaluation.drop import share_interval
from edgezoo.evaluation.ranks import best_classes, rank
from edgezoo.images.imagenet_classes import classes
from edgezoo.images.labelled import find_labelled
from edgezoo.images.preprocessing import load_pixels
from tests.conftest import Exported, Trained, environment

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


def write_kit(folder: Path, lines: str, classes: tuple[int, ...] = (50, 60, 70, 80)) -> Path:
    """The development kit's list, and its order: classes by Keras' index."""
    import numpy as np
    from scipy.io import savemat

    entries = [(i + 1, WNIDS[index]) for i, index in enumerate(classes)]
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O")]
    savemat(folder / "meta.mat", {"synsets": np.array(entries, kinds)})
    truth = folder / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text(lines)
    return truth


def test_list_of_the_development_kit(tmp_path: Path) -> None:
    folder = _flat(tmp_path / "val")
    write_kit(tmp_path, "2\n1\n4\n3\n")
    assert list(_labels(folder).values()) == [60, 50, 80, 70]


@pytest.mark.parametrize("wrong", ["0", "5", "999999999"])
def test_list_of_the_development_kit_out_of_range(tmp_path: Path, wrong: str) -> None:
    folder = _flat(tmp_path / "val")
    write_kit(tmp_path, f"2\n1\n\n{wrong}\n3\n")
    with pytest.raises(DataError, match=rf"class {wrong} in line 4; .* counts from 1 to 4\."):
        _labels(folder)


def test_damaged_order_of_the_development_kit(tmp_path: Path) -> None:
    folder = _flat(tmp_path / "val")
    write_kit(tmp_path, "2\n1\n4\n3\n")
    (tmp_path / "meta.mat").write_bytes(b"MATLAB" * 40)
    with pytest.raises(DataError, match=r"meta\.mat"):
        _labels(folder)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(DataError, match=r"val\.txt, .*, is empty\."):
        _labels(_flat(tmp_path / "val"))


OWN = replace(CONTRACT, classes=3, labels=("cat", "dog", "polar bear"))


@pytest.mark.parametrize(
    ("word", "index"), [("dog", 1), ("polar bear", 2), ("0", 0), ("polar bear ", 2)]
)
def test_flat_list_for_a_network_of_ones_own(tmp_path: Path, word: str, index: int) -> None:
    folder = _flat(tmp_path / "val", 1)
    (tmp_path / "val.txt").write_text(f"{FILES[0]}.JPEG {word}\n")
    assert find_labelled(folder, OWN).labels == (index,)


@pytest.mark.parametrize("word", ["700", "3", WNIDS[2], "cow"])
def test_flat_list_of_other_classes(tmp_path: Path, word: str) -> None:
    folder = _flat(tmp_path / "val", 1)
    (tmp_path / "val.txt").write_text(f"{FILES[0]}.JPEG {word}\n")
    with pytest.raises(DataError, match=word) as caught:
        find_labelled(folder, OWN)
    assert "0 to 2" in caught.value.hint and "wnid" not in caught.value.hint
    write_kit(tmp_path, "1\n")
    with pytest.raises(DataError, match="1000 classes of ImageNet, and the model has 3"):
        find_labelled(folder, OWN)


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
    with pytest.raises(DataError, match="--ground-truth"):
        _labels(_flat(tmp_path / "val"))
    with pytest.raises(DataError, match="no folder"):
        _labels(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        _labels(tmp_path / "empty")


# Scoring


def test_limit_and_unreadable_images(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    whole = evaluate([file], trained.test, limit=40).results[0]
    assert whole.images == 40 and whole.unreadable == 0
    assert whole.agreement_top1 is None and whole.reference is None
    assert whole.top1_ci95 == share_interval(round(whole.top1 * 40), 40)
    folder = _flat(tmp_path / "few" / WNIDS[0], 19, "a{:02}.jpg")
    (folder / "bad.jpg").write_bytes(b"not an image")
    some = evaluate([file], folder.parent).results[0]
    assert (some.images, some.unreadable) == (19, 1)
    for i in range(3):
        (folder / f"bad{i}.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="4 of 23"):
        evaluate([file], folder.parent)


def test_progress_counts_every_image(exported: Exported, trained: Trained) -> None:
    ticks: list[int] = []
    evaluate([exported.path("onnx", "int8")], trained.test, limit=7, progress=ticks.append)
    assert sum(ticks) == 7


# Many images


def test_tar_shards_score_the_same(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "test.tar", "w") as tar:
        tar.add(trained.test, "test")
    file = exported.path("tflite", "int8")
    loose = evaluate([file], trained.test, limit=50).results
    assert evaluate([file], tmp_path / "test.tar", limit=50).results == loose


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_threads_change_nothing(format: str, exported: Exported, trained: Trained) -> None:
    """Sessions side by side give what one gives; by another road than the code's."""
    import numpy as np

    from edgezoo.inference.predict import open_artifact, predict

    file = exported.path(format, "int8")
    one, many = (
        rank(file, lambda c: find_labelled(trained.test, c).paths[:100], jobs=jobs).top
        for jobs in (1, 4)
    )
    artifact, session = open_artifact(file)
    contract = artifact.required_contract()
    with session:
        scores = [
            predict(session, contract, load_pixels(path, contract.input_size)[None])[0]
            for path in find_labelled(trained.test, contract).paths[:100]
        ]
    wanted = np.argsort(-np.stack(scores), axis=1, kind="stable")[:, :5]
    assert (one == wanted).all() and (many == wanted).all()


class _CutError(Exception):
    pass


def _cut(after: int) -> Callable[[int], None]:
    done = [0]

    def progress(count: int) -> None:
        done[0] += count
        if done[0] >= after:
            raise _CutError

    return progress


def test_interrupted_evaluation_goes_on(
    exported: Exported, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path))
    files = [exported.path("tflite", precision) for precision in ("int8", "float32")]
    whole = evaluate(files, trained.test, limit=100)
    assert not list(tmp_path.rglob("*.npy")), "nothing is kept of what came to its end"
    with pytest.raises(_CutError):
        evaluate(files, trained.test, limit=100, progress=_cut(150))
    assert len(list(tmp_path.rglob("*.npy"))) == 1, "the first file's went by too fast to be kept"
    other = evaluate(files, trained.test, limit=99).results
    assert [entry.resumed for entry in other] == [0, 0], "other images"
    assert evaluate(files[:1], trained.test, limit=100).results[0].resumed == 0
    ticks: list[int] = []
    again = evaluate(files[1:], trained.test, limit=100, progress=ticks.append).results[0]
    assert 32 <= again.resumed == ticks[0] < 100 and sum(ticks) == 100
    assert replace(again, resumed=0) == whole.results[1]
    assert not list(tmp_path.rglob("*.npy"))


def test_killed_evaluation_goes_on(
    exported: Exported, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path))
    file = exported.path("tflite", "int8")
    code = (
        "import os, signal, sys\nfrom edgezoo.evaluation import accuracy, checkpoint\n"
        "checkpoint.EVERY_S = 0\nleft = [4]\n"
        "def progress(count):\n    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "accuracy.evaluate([sys.argv[1]], sys.argv[2], limit=100, progress=progress)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(file), str(trained.test)],
                           env=environment(), capture_output=True, check=False)  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    (kept,) = tmp_path.rglob("*.npy")
    result = evaluate([file], trained.test, limit=100).results[0]
    assert result.resumed >= 32 and not kept.exists()
    wanted = evaluate([file], trained.test, limit=100, resume=False).results[0]
    assert wanted.resumed == 0 and replace(result, resumed=0) == wanted
    with pytest.raises(_CutError):
        evaluate([file], trained.test, limit=100, progress=_cut(50))
    (kept,) = tmp_path.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:300])
    assert evaluate([file], trained.test, limit=100).results[0].resumed == 0, "damaged"


def test_best_classes() -> None:
    """Ties go to the lower index, as everywhere; a file that gives NaN was run all the same."""
    import numpy as np

    scores = np.array([0.1, 0.3, 0.1, 0.3, 0.1, 0.0, 0.1, 0.1], np.float32)
    assert best_classes(scores).tolist() == [1, 3, 0, 2, 4]
    assert best_classes(scores[:2]).tolist() == [1, 0]
    scores[[1, 6]] = np.nan
    assert best_classes(scores).tolist() == [3, 0, 2, 4, 7]
    assert best_classes(np.full(8, np.nan, np.float32)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("batch", ["n", 3])
def test_files_that_take_several_at_once(batch: str | int, tmp_path: Path) -> None:
    """A file of others, whose first axis is free or 3: 40 images give what one by one gives."""
    import numpy as np
    from onnx import TensorProto, helper, save

    take = helper.make_tensor_value_info("in", TensorProto.FLOAT, [batch, 8, 8, 3])
    give = helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 12])
    weights = np.random.default_rng(0).normal(size=(192, 12)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["in"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    graph = helper.make_graph(nodes, "g", [take], [give], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, tmp_path / "m.onnx")
    rng = np.random.default_rng(1)
    paths, wanted = [], []
    for i in range(40):
        pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)  # the crop keeps the middle 8
        paths.append(tmp_path / f"{i:02}.png")
        Image.fromarray(pixels).save(paths[-1])
        scores = load_pixels(paths[-1], 8).astype(np.float32).reshape(-1) @ weights
        wanted.append(np.argsort(-scores)[:5])
    ranks = rank(tmp_path / "m.onnx", lambda c: paths, stated=InputOptions("raw", resize="crop"))
    assert (ranks.top == np.stack(wanted)).all()


def test_memory_does_not_grow(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """Ten times the images, the same memory; pixels kept would be 11 MB, scores 15 MB."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgezoo.system import process\n"
        "from edgezoo.images.preprocessing import find_images\n"
        "from edgezoo.evaluation.ranks import rank\n"
        "images = find_images(Path(sys.argv[2]))[:400] * 9\n"
        "rank(sys.argv[1], lambda c: images[:400])\nbefore = process.peak_rss_mb()\n"
        "rank(sys.argv[1], lambda c: images)\nprint(process.peak_rss_mb() - before)\n"
    )
    file = exported.path("tflite", "int8")
    child = subprocess.run([sys.executable, "-c", code, str(file), str(trained.test)], check=True,
                           env=environment(), capture_output=True, text=True)  # fmt: skip
    assert float(child.stdout) < 5
