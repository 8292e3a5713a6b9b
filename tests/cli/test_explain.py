"""`edgezoo explain` as a user meets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.cli.explain import _print
from tests.conftest import Exported, Trained, run_cli
from tests.explanation.test_page import explained
from tests.support.faults import Spoilt
from tests.support.foreign import strip_contract


def test_beside_the_keras_network(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """All stages, with right classes, a page, and figures that other commands confirm."""
    file = exported.path("onnx", "int8")
    page = tmp_path / "page.html"
    ended = run_cli("explain", file, "--weights", trained.weights, "--images", trained.test,
                    "--count", "48", "--html", page, "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    facts = ended.json
    assert facts["verdict"]["healthy"] and facts["reference"] == "keras"
    stages = {stage["name"]: stage for stage in facts["stages"]}
    assert list(stages) == ["source", "float file", "base", "weights", "activations", "both",
                            "file"]  # fmt: skip
    assert stages["float file"]["sqnr_db"] > 90, "the float file is the Keras network"
    # Between Keras and the simulated network is the half pixel level at padded borders.
    assert stages["base"]["sqnr_db"] > 40 > stages["file"]["sqnr_db"] > 25
    assert stages["source"]["top1"] == pytest.approx(trained.top1, abs=0.1)
    assert facts["unlabelled"] is None
    lost = sum(cause["lost_top1"] for cause in facts["causes"])
    assert lost == pytest.approx(facts["lost_top1"])
    assert page.read_text().count("conv_pw_13_relu") >= 2
    assert facts["page"] == str(page)


def test_table_fits_and_names_the_fault(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    file = Spoilt(exported.path("tflite", "int8"))
    file.flip_bits("conv_pw_6_relu")
    path = file.save(tmp_path / "spoilt.tflite")
    reference = exported.path("tflite", "float32")
    ended = run_cli("explain", path, "--float", reference, "--images", trained.test)
    assert ended.code == 0, ended.stderr
    assert max(map(len, ended.stdout.splitlines())) <= 80
    said = " ".join(ended.stdout.split())
    assert said.startswith("A weight tensor is corrupt (conv_pw_6_relu): ")
    assert "kernel" in said and "error/step" in said


def test_file_that_resizes_by_itself(trained: Trained, tmp_path: Path) -> None:
    """It takes pictures of any size; its float file and its first layer do not."""
    made = run_cli("export", *trained.options, "--int8", "--format", "onnx", "--effort", "fast",
                   "--embed-resize", "--no-verify", "-o", tmp_path, "--json")  # fmt: skip
    (entry,) = made.json["artifacts"]
    ended = run_cli("explain", entry["path"], "--weights", trained.weights, "--images",
                    trained.calibration, "--count", "24", "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    facts = ended.json
    assert facts["findings"] == [] and facts["input"]["distance"] < 0.1
    assert 0 < facts["overlap"] <= 24
    assert f"{facts['overlap']} of 24 images calibrated" in ended.stderr


@pytest.mark.parametrize(("lost", "said"), [(0.25, False), (0.27, True)])
def test_two_ways_to_count_are_told_apart(
    lost: float, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line takes the first of equal classes, the table shares them."""
    _print(replace(explained(), lost_agreement=lost))
    output = capsys.readouterr().out
    assert ("equal best classes of the file share an image" in output) == said
    assert max(map(len, output.splitlines())) <= 80


def test_float_file_is_refused(exported: Exported) -> None:
    message = run_cli("explain", exported.path("tflite", "float32")).error(3)
    assert "not quantized" in message and "edgezoo verify" in message


def test_keras_file_is_refused(trained: Trained) -> None:
    assert "keras" in run_cli("explain", trained.keras).error(3)


def test_weights_are_asked_for(exported: Exported) -> None:
    assert "--weights" in run_cli("explain", exported.path("onnx", "int8")).error(5)


@pytest.mark.parametrize(
    ("format", "precision"), [("onnx", "float32"), ("tflite", "int8"), ("tflite", "float16")]
)
def test_unfit_float_file(format: str, precision: str, exported: Exported) -> None:
    other = exported.path(format, precision)
    message = run_cli("explain", exported.path("onnx", "int8"), "--float", other).error(2)
    assert str(other) in message and "float32 .tflite" in message


def test_file_of_another_tool(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """What is missing is said; told, it is explained, and the wrong words are found out."""
    foreign = strip_contract(exported.path("tflite", "int8"), tmp_path)
    reference = exported.path("tflite", "float32")
    message = run_cli("explain", foreign).error(5)
    assert "--preprocessing" in message and "--float" in message
    options = ("--float", reference, "--images", trained.test, "--count", "16", "--json")
    told = run_cli("explain", foreign, "--preprocessing", "tf", *options)
    assert told.code == 0, told.stderr
    assert told.json["verdict"]["healthy"], told.json["verdict"]["text"]
    wrong = run_cli("explain", foreign, "--preprocessing", "torch", *options)
    assert wrong.code == 3 and "Give --preprocessing tf" in wrong.json["error"]["hint"]
