"""A user's own network where a model's name stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.inference.predict import open_artifact, predict
from tests.conftest import run_cli

NAMES = ("wood", "metal", "stone")


@pytest.fixture
def facts(own_networks: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((own_networks / "facts.json").read_text())
    return found


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(NAMES))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def export(path: Path, output: Path, *options: str | Path, formats: str = "tflite") -> Any:
    return run_cli("export", path, "--format", formats, "-o", output, "--json", *options)


def answers(path: Path, pixels: np.ndarray) -> np.ndarray:
    artifact, session = open_artifact(path)
    with session:
        return predict(session, artifact.required_contract(), pixels)


def test_h5_gives_what_keras_gives(
    own_networks: Path, facts: dict[str, Any], labels: Path, output: Path
) -> None:
    """In ONNX too, where the bias of a dense layer after a flattened 1x1 map was once lost."""
    made = export(own_networks / "plain.h5", output, "--preprocessing", "none", "--labels", labels,
                  formats="tflite,onnx").json  # fmt: skip
    assert made["failures"] == []
    pixels = np.load(own_networks / "pictures.npy")
    for entry in made["artifacts"]:
        found = Path(entry["path"])
        assert found.stem == "plain_32_float32"
        assert np.abs(answers(found, pixels) - facts["answers"]).max() < 1e-5
        contract = open_artifact(found)[0].required_contract()
        assert contract.labels == NAMES and contract.classes == 3
        assert contract.weights.source == "network" and contract.weights.file == "plain.h5"
    checked = run_cli("verify", made["artifacts"][0]["path"], "--weights",
                      own_networks / "plain.h5", "--count", "2", "--json")  # fmt: skip
    assert checked.json["passed"]
    assert "--weights" in run_cli("verify", made["artifacts"][0]["path"]).error(5)
    other = run_cli("verify", made["artifacts"][0]["path"], "--weights",
                    own_networks / "logits.keras")  # fmt: skip
    assert other.code in (3, 5)


def test_saved_model(own_networks: Path, facts: dict[str, Any], output: Path) -> None:
    made = export(own_networks / "plain", output, "--preprocessing", "none").json
    assert made["failures"] == []
    pixels = np.load(own_networks / "pictures.npy")
    found = answers(Path(made["artifacts"][0]["path"]), pixels)
    assert np.abs(found - facts["answers"]).max() < 1e-5


def test_heads_and_inputs(
    own_networks: Path, facts: dict[str, Any], output: Path, tmp_path: Path
) -> None:
    """Probabilities are those of Keras: of logits, one sigmoid, several, grey, a rectangle."""
    pixels = np.load(own_networks / "pictures.npy")
    for name, how, classes in (
        ("logits", ("--preprocessing", "none"), 3),
        ("binary", ("--scale", "1/127.5", "--offset", "-1"), 2),
        ("several", ("--preprocessing", "unit"), 3),
        ("grey", ("--scale", "1/64", "--offset", "-2", "--resize", "fit"), 3),
        ("wide", ("--preprocessing", "torch", "--bgr"), 3),
        ("bytes", ("--preprocessing", "none"), 3),
    ):
        made = export(own_networks / f"{name}.keras", output, *how, formats="tflite,onnx").json
        assert made["failures"] == [], name
        given = pixels.mean(-1, keepdims=True).astype(np.uint8) if name == "grey" else pixels
        given = given[:, :16] if name == "wide" else given
        for entry in made["artifacts"]:
            found = answers(Path(entry["path"]), given)
            assert found.shape == (2, classes)
            assert np.abs(found - facts["heads"][name]).max() < 1e-5, name
        contract = made["artifacts"][0]["contract"]
        assert contract["resize"].get("mode") == ("fit" if name == "grey" else "stretch")
    files = [output / f"binary_32_float32.{suffix}" for suffix in ("onnx", "tflite")]
    ended = run_cli("verify", *files, "--weights", own_networks / "binary.keras", "--count", "4")
    assert ended.code == 0, ended.stderr


def test_number_of_outputs_that_only_building_tells(
    own_networks: Path, labels: Path, output: Path
) -> None:
    """A wrong number of labels is still refused before the export starts."""
    labels.write_text("one\ntwo\n")
    refused = export(own_networks / "nested.keras", output, "--preprocessing", "none", "--labels",
                     labels)  # fmt: skip
    assert "2 labels, and the network has 3 outputs" in refused.error(5)
    assert not output.exists()


def test_armed_files_do_not_go_off(
    own_networks: Path, picture: Path, output: Path, tmp_path: Path
) -> None:
    """The Lambda in them makes a file; with --trust it does, so that they are known to work."""
    marker = tmp_path / "marker"
    for name in ("lambda.h5", "lambda.keras"):
        path = own_networks / name
        for command in (
            ("export", path, "-o", output, "--preprocessing", "none"),
            ("classify", path, picture, "--preprocessing", "none"),
            ("inspect", path),
        ):
            assert "Lambda" in run_cli(*command, EDGEZOO_TEST_MARKER=str(marker)).error(5)
            assert not marker.exists()
    trusted = run_cli("classify", own_networks / "lambda.h5", picture, "--preprocessing", "none",
                      "--trust", EDGEZOO_TEST_MARKER=str(marker))  # fmt: skip
    assert trusted.code == 0, trusted.stderr
    assert marker.exists()


REFUSED: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "no preprocessing": ("plain.keras", (), 2, "--preprocessing"),
    "a word that is none": ("plain.keras", ("--preprocessing", "keras"), 2, "Known: tf"),
    "no logits": (
        "logits.keras", ("--preprocessing", "none", "--head", "softmax"), 3, "ends in linear"),
    "a head that is none": (
        "plain.keras", ("--preprocessing", "none", "--head", "softmx"), 2, "Did you mean softmax"),
    "two kinds of numbers": (
        "plain.keras", ("--preprocessing", "none", "--scale", "1/255"), 2, "numbers of its own"),
    "colours of grey": ("grey.keras", ("--preprocessing", "caffe"), 2, "takes grey"),
    "one number": ("regression.keras", ("--preprocessing", "unit"), 3, "gives one value"),
    "features": ("features.keras", ("--preprocessing", "unit"), 3, "--no-top"),
    "several outputs": ("two_outputs.keras", ("--preprocessing", "none"), 3, "2 outputs"),
    "several signatures": ("signatures", ("--preprocessing", "none"), 3, "2 signatures"),
    "Python in it": ("python", ("--preprocessing", "none"), 5, "EagerPyFunc"),
    "another size": ("plain.keras", ("--preprocessing", "none", "--input-size", "64"), 2, "32 px"),
    "an argument of builders": (
        "plain.keras", ("--preprocessing", "none", "--alpha", "0.5"), 2, "--alpha"),
    "other weights": (
        "plain.keras", ("--preprocessing", "none", "--weights", "random"), 2, "--weights"),
    "no file": ("absent.keras", ("--preprocessing", "none"), 5, "There is no file"),
    "labels of features": (
        "plain.keras", ("--preprocessing", "none", "--no-top", "--labels", "x"), 2, "--labels"),
    "a name with preprocessing": ("mobilenet", ("--preprocessing", "none"), 2, "is known"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, own_networks: Path, output: Path) -> None:
    name, options, code, word = REFUSED[case]
    path = name if name == "mobilenet" else own_networks / name
    ended = run_cli("export", path, "-o", output, *options)
    assert word in ended.error(code)
    assert not output.exists()


def test_wrong_number_of_labels(own_networks: Path, labels: Path, output: Path) -> None:
    labels.write_text("one\ntwo\n")
    for name in ("plain.keras", "plain"):
        ended = run_cli("export", own_networks / name, "-o", output, "--preprocessing", "none",
                        "--labels", labels)  # fmt: skip
        assert "2 labels, and the network has 3 outputs" in ended.error(5)
    ended = run_cli("export", "mobilenet", "--weights", "random", "-o", output, "--labels", labels)
    assert "2 labels, and the network has 1000 outputs" in ended.error(5)


def test_dry_run(own_networks: Path) -> None:
    ended = run_cli("export", own_networks / "plain.keras", "--preprocessing", "none", "--dry-run",
                    "--json")  # fmt: skip
    (plan,) = ended.json["plans"]
    assert plan["model"] == "plain" and plan["weights"] == "network"


def test_list_of_harmless_names_is_keras_own(facts: dict[str, Any]) -> None:
    assert facts["missing_names"] == []
    assert facts["mobilenetv2_code"] == []
