"""The exported files on pictures that neither training nor calibration has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FORMATS, Ended, Exported, Trained, run_cli

each_format = pytest.mark.parametrize("format", FORMATS)


@pytest.fixture(scope="module")
def scores(exported: Exported, trained: Trained) -> dict[str, dict[str, Any]]:
    """`edgezoo evaluate` of all nine files; agreement with the float32 TFLite file."""
    paths = [exported.path(e["format"], e["precision"]) for e in exported.facts["artifacts"]]
    ended = run_cli("evaluate", *paths, "--images", trained.test, "--json", "--reference",
                    exported.path("tflite", "float32"))  # fmt: skip
    assert ended.code == 0, ended.stderr
    return {Path(result["artifact"]).name: result for result in ended.json["results"]}


def _score(scores: dict[str, dict[str, Any]], format: str, precision: str) -> dict[str, Any]:
    return scores[f"mobilenet_0.25_32_{precision}{FORMATS[format]}"]


def test_network_has_learned(trained: Trained) -> None:
    """Else nothing below means anything."""
    assert trained.top1 > 0.9


@each_format
def test_float32_equals_keras_on_every_image(
    scores: dict[str, dict[str, Any]], trained: Trained, format: str
) -> None:
    result = _score(scores, format, "float32")
    assert result["images"] == 400
    assert result["agreement_top1"] == 1
    assert result["top1"] == pytest.approx(trained.top1)
    assert result["trained"] is True
    low, high = result["top1_ci95"]
    assert 0.85 < low < result["top1"] < high < 1
    assert result["top5"] >= result["top1"]


@each_format
def test_float16(scores: dict[str, dict[str, Any]], trained: Trained, format: str) -> None:
    result = _score(scores, format, "float16")
    assert result["agreement_top1"] >= 0.995
    assert trained.top1 - result["top1"] <= 0.005


@each_format
def test_int8(scores: dict[str, dict[str, Any]], trained: Trained, format: str) -> None:
    result = _score(scores, format, "int8")
    assert trained.top1 - result["top1"] <= 0.02
    assert result["agreement_top1"] >= 0.95


@each_format
def test_files_shrink(exported: Exported, format: str) -> None:
    """The labels and the contract take about 40 kB of each; the rest follows the precision."""
    sizes = [exported.entry(format, p)["bytes"] for p in ("float32", "float16", "int8")]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.4 * sizes[0]


def test_classify_names_the_digit(exported: Exported, trained: Trained) -> None:
    pictures = [sorted(folder.iterdir())[0] for folder in sorted(trained.test.iterdir())]
    ended = run_cli("classify", exported.path("tflite", "int8"), *pictures, "--json", "--top", "3")
    results = ended.json["results"]
    assert [r["image"] for r in results] == list(map(str, pictures))
    right = sum(r["classes"][0]["index"] == i for i, r in enumerate(results))
    assert right >= 8
    assert results[0]["classes"][0]["label"] in ("tench", "goldfish") or right < 10
    for result in results:
        values = [entry["probability"] for entry in result["classes"]]
        assert len(values) == 3 and values == sorted(values, reverse=True)
        assert 0 <= sum(values) <= 1.02


# verify


def _verify(trained: Trained, *arguments: str | Path) -> Ended:
    return run_cli("verify", *arguments, "--weights", trained.weights, "--images", trained.test,
                   "--count", "100", "--json")  # fmt: skip


def test_verify_of_all_formats(exported: Exported, trained: Trained) -> None:
    ended = _verify(trained, *(exported.path(format, "int8") for format in FORMATS))
    assert ended.code == 0, ended.stderr
    facts = ended.json
    assert facts["passed"] is True and facts["images"] == 100
    assert all(result["agreement_top1"] >= 0.95 for result in facts["results"])
    assert len(facts["pairs"]) == 3
    assert all(pair["agreement_top1"] >= 0.93 for pair in facts["pairs"])


def test_verify_notices_changed_weights(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    """One layer's weights are turned round: the file still opens and answers, wrongly."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(exported.path("onnx", "float32")))
    tensor = next(t for t in model.graph.initializer if t.name == "conv_preds/weights")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1], tensor.name))
    spoilt = tmp_path / "spoilt.onnx"
    onnx.save(model, str(spoilt))
    ended = _verify(trained, spoilt)
    assert ended.code == 6
    (result,) = ended.json["results"]
    assert result["verdict"] == "failed"
    assert any("agreement" in text for text in result["failures"])
    assert "Failed: " in ended.stderr and "spoilt.onnx" in ended.stderr


def test_verify_wants_the_right_weights(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    file = exported.path("tflite", "float32")
    assert "--weights" in run_cli("verify", file).error(5)
    import h5py

    other = tmp_path / "other.h5"
    other.write_bytes(trained.weights.read_bytes())
    with h5py.File(other, "r+") as stream:
        stream.attrs["changed"] = "by hand"
    assert "SHA-256" in run_cli("verify", file, "--weights", other).error(5)


def test_export_below_the_asked_agreement(trained: Trained, output: Path) -> None:
    """The files and the evidence stay; exit 6 and the manifest tell."""
    ended = run_cli("export", *trained.options, "--int8", "--format", "tflite", "--calibration",
                    "synthetic", "--calibration-count", "2", "--min-agreement", "1", "-o", output,
                    "--json")  # fmt: skip
    assert ended.code in (0, 6)
    (entry,) = ended.json["artifacts"]
    agreed = entry["verification"]["agreement_top1"] == 1
    assert (ended.code == 0) == agreed
    assert Path(entry["path"]).is_file()
    manifest = json.loads(Path(ended.json["manifest"]).read_text())
    assert manifest["artifacts"][0]["verification"]["verdict"] == entry["verification"]["verdict"]
    if not agreed:
        assert ended.json["failures"] and "Failed: " in ended.stderr
