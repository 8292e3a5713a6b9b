"""The main job on real weights and photographs, judged by the arbiter outside EdgeZoo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgezoo.inspection.inspect_file import inspect
from tests.conftest import FORMATS, SHARED, environment, run_cli
from tests.support.faults import Spoilt
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.imagenet
each_format = pytest.mark.parametrize("format", FORMATS)
STEM = "mobilenet_0.5_160_int8"


@pytest.fixture
def files(imagenet_int8: Path) -> Path:
    return imagenet_int8


def _score(file: Path) -> dict[str, Any]:
    """What shared/tools/score.py says, in the runtime's default session."""
    ended = subprocess.run(
        [sys.executable, str(SHARED / "tools" / "score.py"), str(file), "0.5", "160"],
        capture_output=True,
        text=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
        timeout=4 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    facts: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return facts


@each_format
def test_int8_keeps_its_accuracy(files: Path, format: str) -> None:
    facts = _score(files / "files" / f"{STEM}{FORMATS[format]}")
    assert facts["images"] == 650
    assert facts["drop"] <= 0.015, facts
    assert facts["agreement"] >= 0.90, facts


@each_format
def test_our_own_figures_are_the_arbiters(files: Path, format: str) -> None:
    path = files / "files" / f"{STEM}{FORMATS[format]}"
    ended = run_cli("evaluate", path, "--images", SHARED / "imagenet" / "val", "--json")
    assert ended.code == 0, ended.stderr
    (result,) = ended.json["results"]
    facts = _score(path)
    assert result["images"] == facts["images"]
    assert result["top1"] == pytest.approx(facts["top1"], abs=0.002)


def test_verification_and_provenance(files: Path) -> None:
    facts = json.loads((files / "export.json").read_text())
    assert len(facts["artifacts"]) == 3
    for entry in facts["artifacts"]:
        assert entry["verification"]["verdict"] == "passed"
        assert entry["contract"]["weights"]["source"] == "imagenet"
        assert entry["contract"]["weights"]["file"] == "mobilenet_5_0_160_tf.h5"
        assert entry["contract"]["calibration"]["count"] == 100
        assert entry["trained"] is True
    peak = max(usage["peak_rss_mb"] for usage in facts["usage"].values())
    assert peak <= 1400


def test_onnx_has_two_transposes_at_most(files: Path) -> None:
    assert inspect(files / "files" / f"{STEM}.onnx").ops.get("Transpose", 0) <= 2


def _explain(file: Path) -> dict[str, Any]:
    ended = run_cli("explain", file, "--images", SHARED / "imagenet" / "val", "--count", "24",
                    "--json", KERAS_HOME=str(SHARED / "keras"))  # fmt: skip
    assert ended.code == 0, ended.stderr
    return ended.json


def test_explain_finds_nothing_wrong(files: Path) -> None:
    facts = _explain(files / "files" / f"{STEM}.xml")
    assert facts["verdict"]["healthy"], facts["verdict"]["text"]
    stages = {stage["name"]: stage for stage in facts["stages"]}
    assert stages["float file"]["sqnr_db"] > 80 > stages["file"]["sqnr_db"] > 20
    assert facts["lost_top1"] is not None and facts["trace_difference"] == 0
    (kernel,) = [c["error_share"] for c in facts["causes"] if c["cause"] == "kernel"]
    assert abs(kernel) < 0.1


def test_explain_names_depthwise_weights_per_tensor(files: Path, tmp_path: Path) -> None:
    """The collapse that users meet with MobileNet, on real weights."""
    file = Spoilt(files / "files" / f"{STEM}.tflite")
    file.quantize_per_tensor()
    facts = _explain(file.save(tmp_path / "spoilt.tflite"))
    verdict = facts["verdict"]
    assert (verdict["cause"], verdict["fault"]) == ("weights", "per-tensor weights")
    assert "conv_dw_" in verdict["layer"]
    assert facts["agreement_top1"] < 0.8
    (weights,) = [c for c in facts["causes"] if c["cause"] == "weights"]
    assert weights["error_share"] > 0.9 and weights["lost_agreement"] > 0.2


CORAL = "mobilenet_v1_0.5_160_quant.tflite"


@pytest.fixture
def coral(shared: Path) -> Path:
    """A TF-slim file with 1001 classes, as Coral publishes it."""
    if not (shared / "coral" / CORAL).exists():
        pytest.skip(f"needs {shared / 'coral' / CORAL}")
    return shared / "coral" / CORAL


def test_file_with_a_background_class(coral: Path, shared: Path) -> None:
    """1001 outputs: the background is dropped, and indices are ImageNet's again."""
    folder = shared / "imagenet" / "val"
    pictures = [p for wnid in sorted(folder.iterdir())[:40] for p in sorted(wnid.iterdir())[:1]]
    ended = run_cli("classify", coral, *pictures, "--preprocessing", "tf", "--labels",
                    shared / "coral" / "imagenet_labels.txt", "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    index = json.loads((shared / "imagenet" / "imagenet_class_index.json").read_text())
    wanted = {wnid: int(number) for number, (wnid, _) in index.items()}
    best = [result["classes"][0] for result in ended.json["results"]]
    right = [b["index"] == wanted[p.parent.name] for b, p in zip(best, pictures, strict=True)]
    assert sum(right) >= 20, "a shift by one class would leave next to none"
    assert all(entry["label"] != "background" for entry in best)
    for entry, path, hit in zip(best, pictures, right, strict=True):
        if hit and path.parent.name == "n01440764":
            assert "tench" in entry["label"]


def test_inspect_of_a_foreign_file(coral: Path) -> None:
    facts = run_cli("inspect", coral, "--json").json
    assert facts["contract"] is None and facts["quantized"] is True
    assert facts["float_ops"] == []
    (taken,), (given,) = facts["inputs"], facts["outputs"]
    assert (taken["shape"], taken["dtype"]) == ([1, 160, 160, 3], "uint8")
    assert (taken["scale"], taken["zero_point"]) == (pytest.approx(1 / 128, rel=0.01), 128)
    assert given["shape"][-1] == 1001
    assert facts["ops"]["CONV_2D"] >= 14


def test_classify_foreign_file_without_words(coral: Path, shared: Path) -> None:
    """Its metadata tells preprocessing and labels; the resize is assumed, and said."""
    picture = next((shared / "imagenet" / "val").rglob("*.jpg"))
    ended = run_cli("classify", coral, picture)
    assert ended.code == 0 and "preprocessing by its TFLite metadata: tf" in ended.stderr
    assert "--resize stretch" in ended.stderr and "class " not in ended.stdout
