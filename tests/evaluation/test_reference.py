"""`edgezoo evaluate --reference`: the drop on the same images, and images it must not use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.evaluation import drop
from edgezoo.evaluation.accuracy import evaluate
from edgezoo.images.imagenet_classes import classes
from tests.conftest import Exported, Trained, run_cli
from tests.docs.test_schemas import check
from tests.support.foreign import strip_contract


@pytest.fixture(scope="module")
def spoilt(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float32 ONNX file with noise in its last layer: some answers turn over."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(exported.path("onnx", "float32")))
    tensor = next(t for t in model.graph.initializer if "conv_preds" in t.name and len(t.dims) == 4)
    weights = numpy_helper.to_array(tensor)
    noise = np.random.default_rng(0).normal(size=weights.shape) * weights.std()
    tensor.CopyFrom(numpy_helper.from_array((weights + 6 * noise).astype("f4"), tensor.name))
    path = tmp_path_factory.mktemp("spoilt") / "spoilt.onnx"
    onnx.save(model, str(path))
    return path


def test_drop_is_that_of_the_same_images(
    exported: Exported, trained: Trained, spoilt: Path
) -> None:
    reference = exported.path("onnx", "float32")
    result = evaluate([reference, spoilt], trained.test, reference=reference)
    check("evaluate", typed_json.encode(result))
    same, worse = result.results
    assert (same.drop_points, same.verdict, same.images_needed) == (0, "equal", None)
    assert worse.drop_points is not None and worse.drop_points_ci95 is not None
    assert worse.drop_points == pytest.approx(100 * (same.top1 - worse.top1))
    low, high = worse.drop_points_ci95
    assert worse.drop_points > 2 and low < worse.drop_points < high
    expected = drop.judge(low / 100, high / 100, 0.01, True)
    assert worse.verdict == expected == "worse"
    assert worse.overlap == 0 and worse.reference == reference


def test_gain_is_suspicious(exported: Exported, trained: Trained, spoilt: Path) -> None:
    """The same weights hash inside: quantization cannot have taught the network anything."""
    result = evaluate([exported.path("onnx", "float32")], trained.test, reference=spoilt)
    assert result.results[0].verdict == "suspicious gain"


def test_few_images_cannot_tell(exported: Exported, trained: Trained) -> None:
    options: dict[str, Any] = {"reference": exported.path("tflite", "float32"), "limit": 20}
    file = exported.path("tflite", "int8")
    (result,) = evaluate([file], trained.test, **options).results
    assert result.verdict == "cannot tell"
    assert result.images_needed is not None and result.images_needed > 20
    (result,) = evaluate([file], trained.test, equal_within_points=50, **options).results
    assert result.verdict == "equal"


def test_table_and_bound(exported: Exported, trained: Trained, spoilt: Path) -> None:
    reference = exported.path("onnx", "float32")
    asked = ("evaluate", spoilt, reference, "--images", trained.test, "--reference", reference,
             "--max-drop", "1.5")  # fmt: skip
    ended = run_cli(*asked)
    assert ended.code == 6
    assert "worse" in ended.stdout and "equal within 1" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    line, hint = ended.stderr.splitlines()
    assert line.startswith("Failed: ") and "spoilt.onnx" in line and "1.5" in line
    assert hint.startswith("Next: edgezoo explain ")
    ended = run_cli(*asked, "--json")
    check("evaluate", ended.json)
    assert ended.code == 6 and len(ended.json["failures"]) == 1
    assert ended.json["max_drop_points"] == 1.5
    assert "--reference" in run_cli("evaluate", spoilt, "--images", trained.test, "--max-drop",
                                    "1").error(2)  # fmt: skip


def test_bound_needs_a_reference(exported: Exported, trained: Trained) -> None:
    with pytest.raises(UsageError, match="drop from"):
        evaluate([exported.path("tflite", "int8")], trained.test, max_drop_points=1)


# Images that calibrated a file


@pytest.fixture(scope="module")
def mixed(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images a class that nothing has seen, and some of the calibration, renamed."""
    folder = tmp_path_factory.mktemp("mixed")
    for wnid in trained.test.iterdir():
        (folder / wnid.name).mkdir()
        for path in sorted(wnid.iterdir())[:30]:
            shutil.copy(path, folder / wnid.name)
        for i, path in enumerate(sorted((trained.calibration / wnid.name).iterdir())[:40]):
            shutil.copy(path, folder / wnid.name / f"new{i}.png")
    return folder


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_calibration_images_are_refused(exported: Exported, mixed: Path, format: str) -> None:
    file = exported.path(format, "int8")
    with pytest.raises(RefusedError, match=r"\d+ of \d+ images calibrated") as caught:
        evaluate([file], mixed)
    assert "--allow-overlap" in caught.value.hint
    with pytest.raises(RefusedError):
        evaluate([exported.path(format, "float32")], mixed, reference=file)
    float_file = exported.path(format, "float32")
    assert evaluate([float_file], mixed, limit=5).results[0].overlap == 0


def test_allowed_overlap_is_told(exported: Exported, trained: Trained, mixed: Path) -> None:
    file = exported.path("tflite", "int8")
    asked = ("evaluate", file, "--images", mixed)
    message = run_cli(*asked).error(3)
    ended = run_cli(*asked, "--allow-overlap", "--json")
    assert ended.code == 0
    check("evaluate", ended.json)
    (result,) = ended.json["results"]
    assert message.startswith(f"{result['overlap']} of {result['images']} images calibrated")
    assert f"{result['overlap']} of the images calibrated" in ended.stderr
    # All 128 calibration images among those that were copied, and no other.
    names = sum(path.name.startswith("new") for path in mixed.rglob("*.png"))
    assert 50 < result["overlap"] <= min(128, names)
    assert evaluate([file], trained.test, limit=5).results[0].overlap == 0


def test_third_party_file_records_no_images(
    exported: Exported, mixed: Path, tmp_path: Path
) -> None:
    file = strip_contract(exported.path("tflite", "int8"), tmp_path)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(name for _, name in classes()))
    (result,) = evaluate([file], mixed, preprocessing="tf", labels=labels, limit=5).results
    assert result.overlap is None


# Files of others


@pytest.fixture(scope="module")
def third_party(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strip_contract(exported.path("tflite", "int8"), tmp_path_factory.mktemp("third_party"))


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "labels.txt"
    path.write_text("\n".join(name for _, name in classes()))
    return path


def test_a_third_party_file_is_compared_with_one_of_edgezoo(
    exported: Exported, trained: Trained, third_party: Path, names: Path
) -> None:
    """Preprocessing and labels apply only to the file without a contract."""
    reference, own = exported.path("tflite", "float32"), exported.path("tflite", "int8")
    options: dict[str, Any] = {
        "preprocessing": "tf",
        "resize": "crop",
        "labels": names,
        "limit": 60,
    }
    mine, theirs = evaluate(
        [own, third_party], trained.test, reference=reference, **options
    ).results
    assert mine.top1 == theirs.top1 and mine.drop_points == theirs.drop_points is not None
    (turned,) = evaluate([own], trained.test, reference=third_party, **options).results
    assert turned.agreement_top1 == 1
    # The option reaches the third-party file: its input has no room for these values.
    options["preprocessing"] = "raw"
    with pytest.raises(RefusedError, match="clips 99% of the pixel values with raw"):
        evaluate([third_party], trained.test, reference=reference, **options)


@pytest.mark.parametrize("option", ["--preprocessing", "--labels"])
def test_what_no_file_needs_is_refused(
    exported: Exported, trained: Trained, names: Path, option: str
) -> None:
    """Even a labels file that is not there was let pass."""
    own, reference = exported.path("tflite", "int8"), exported.path("tflite", "float32")
    value = "tf" if option == "--preprocessing" else names.with_name("none.txt")
    asked = ("evaluate", own, "--images", trained.test, "--reference", reference, option, value)
    message = run_cli(*asked).error(2)
    assert f"Leave {option} out" in message and str(own) in message and str(reference) in message
    image = next(trained.test.rglob("*.png"))
    assert f"Leave {option} out" in run_cli("classify", own, image, option, value).error(2)


def test_options_that_would_do_nothing(exported: Exported, trained: Trained) -> None:
    asked = ("evaluate", exported.path("tflite", "int8"), "--images", trained.test)
    assert "--reference" in run_cli(*asked, "--equal-within", "1").error(2)
    on = ("--on", "ssh://nobody@127.0.0.1:1")
    assert "--max-memory has no effect" in run_cli(*asked, *on, "--max-memory", "1").error(2)
    image = next(trained.test.rglob("*.png"))
    ended = run_cli("classify", asked[1], image, *on, "--max-seconds", "9")
    assert "--max-seconds has no effect" in ended.error(2)


def test_unreadable_files_are_told(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    for wnid in trained.test.iterdir():
        (folder / wnid.name).mkdir(parents=True)
        for path in sorted(wnid.iterdir())[:3]:
            shutil.copy(path, folder / wnid.name)
    (folder / wnid.name / "bad.jpg").write_bytes(b"not an image")
    (folder / wnid.name / "worse.jpg").write_bytes(b"")
    files = (exported.path("tflite", "int8"), exported.path("onnx", "int8"))
    ended = run_cli("evaluate", *files, "--images", folder)
    assert ended.code == 0
    warnings = [line for line in ended.stderr.splitlines() if line.startswith("Warning: ")]
    (told,) = warnings
    left_out = f"Warning: 2 files in {folder} could not be read as images and were left out: "
    assert told.startswith(left_out)
    assert f"{wnid.name}/bad.jpg (it is none of" in told
    assert told.endswith(f"{wnid.name}/worse.jpg (it is empty).")
