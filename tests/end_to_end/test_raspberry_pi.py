"""What runs on a Raspberry Pi, on an emulated one: the same bits where they can be the same.

Emulation computes with the Pi's own kernels; its speed means nothing and is not looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.formats import tflite_flatbuffer
from edgezoo.images.preprocessing import find_images
from tests.conftest import SHARED, SUPPORT, Exported, Trained, environment, run_cli
from tests.support.devices import Pi, make_pi

boards = pytest.mark.parametrize("board", ["pi4", pytest.param("pi5", marks=pytest.mark.slow)])
RAW = SUPPORT / "raw_outputs.py"


@pytest.fixture(scope="module")
def bundle(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pi") / "bundle"
    files = [exported.path("tflite", precision) for precision in ("int8", "float32")]
    assert run_cli("bundle", *files, "-o", folder).code == 0
    return folder


@boards
def test_selftest_of_a_bundle(board: str, pis: dict[str, Pi], bundle: Path) -> None:
    ended = pis[board].run(bundle / "selftest.py", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    facts = ended.json
    assert facts["passed"] and facts["machine"] == "aarch64"
    for model in facts["models"]:
        assert len(model["images"]) == 4
        for entry in model["images"]:
            assert entry["faults"] == [], "the input is the same to the last bit"
            steps = 1 if "int8" in model["file"] else 1e-5
            assert entry["output"]["max_difference"] <= steps


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_evaluate(format: str, pis: dict[str, Pi], exported: Exported, trained: Trained) -> None:
    command = ("evaluate", exported.path(format, "int8"), "--images", trained.test, "--limit",
               "40", "--json")  # fmt: skip
    (there,) = pis["pi4"].edgezoo(*command).json["results"]
    (here,) = run_cli(*command).json["results"]
    assert there["runtime"] == here["runtime"]
    assert there["images"] == here["images"] == 40
    assert abs(there["top1"] - here["top1"]) <= 1 / 40
    assert there["preprocessing"] == here["preprocessing"]


@pytest.mark.slow
def test_classify_and_doctor(pis: dict[str, Pi], exported: Exported, trained: Trained) -> None:
    pictures = sorted(trained.test.rglob("*.png"))[:5]
    command: tuple[str | Path, ...]
    command = ("classify", exported.path("tflite", "int8"), *pictures, "--top", "1", "--json")
    there, here = (run(*command).json["results"] for run in (pis["pi5"].edgezoo, run_cli))
    assert [r["classes"][0]["index"] for r in there] == [r["classes"][0]["index"] for r in here]
    facts = pis["pi5"].edgezoo("doctor", "--json").json
    machine = facts["machine"]
    assert machine["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert (machine["architecture"], machine["features"]) == ("aarch64", ["asimd", "asimddp"])
    assert facts["problems"] == []


# The same bits


def _raw(run: Any, file: Path, count: int, pictures: list[Path]) -> dict[str, list[str]]:
    """Raw outputs by kernels, hex, in the order of the pictures."""
    facts: dict[str, list[str]] = json.loads(run(RAW, file, count, *pictures))
    return facts


def _here(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=True
    ).stdout


def _on(pi: Pi) -> Any:
    def run(*arguments: object) -> str:
        ended = pi.run(*map(str, arguments))
        assert ended.code == 0, ended.stderr
        return ended.stdout

    return run


def without_softmax(file: Path, folder: Path) -> Path:
    """The network up to what its softmax takes, with the contract kept."""
    model = tflite_flatbuffer.read_model(file)
    graph = model.subgraphs[0]
    names = [tflite_flatbuffer.op_name(model, op) for op in graph.operators]
    cut = names.index("SOFTMAX")
    graph.outputs = [graph.operators[cut].inputs[0]]
    graph.operators, model.signatureDefs = graph.operators[:cut], []
    path = folder / f"logits_{file.name}"
    tflite_flatbuffer.write_model(model, path)
    return path


def _array(text: str, dtype: str) -> NDArray[Any]:
    return np.frombuffer(bytes.fromhex(text), dtype)


def test_int8_of_the_digits(
    pis: dict[str, Pi], exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    pictures = sorted(trained.test.rglob("*.png"))[::10]
    file = exported.path("tflite", "int8")
    reference = _raw(_here, file, 40, pictures)["reference"]
    assert len(reference) == 40
    assert len(set(reference)) > 10, "the answers differ from picture to picture"
    assert _raw(_on(pis["pi4"]), file, 40, pictures)["reference"] == reference
    logits = without_softmax(file, tmp_path)
    assert _raw(_on(pis["pi4"]), logits, 0, pictures) == _raw(_here, logits, 0, pictures)


@pytest.mark.slow
@pytest.mark.imagenet
def test_int8_of_a_real_network(pis: dict[str, Pi], imagenet_int8: Path, tmp_path: Path) -> None:
    """MobileNet 0.5 at 160 px, the first 20 of the validation pictures.

    Up to the softmax all bits are the same. TFLite's 8-bit softmax itself has another kernel for
    ARM, which now and then rounds one probability the other way, by one step of 1/256; the
    reference kernels have one for all.
    """
    pictures = find_images(SHARED / "imagenet" / "val")[:20]
    file = imagenet_int8 / "files" / "mobilenet_0.5_160_int8.tflite"
    here, there = _raw(_here, file, 3, pictures), _raw(_on(pis["pi4"]), file, 3, pictures)
    assert there["reference"] == here["reference"] and len(here["reference"]) == 3
    for ours, theirs in zip(here["default"], there["default"], strict=True):
        difference = _array(ours, "uint8").astype(int) - _array(theirs, "uint8")
        assert np.abs(difference).max() <= 1
    logits = without_softmax(file, tmp_path)
    before = _raw(_here, logits, 0, pictures)
    assert len(set(before["default"])) == 20
    assert _raw(_on(pis["pi4"]), logits, 0, pictures) == before
    assert _raw(_on(pis["pi5"]), logits, 0, pictures) == before


@pytest.mark.slow
@pytest.mark.imagenet
def test_int8_onnx_of_a_real_network(pis: dict[str, Pi], imagenet_int8: Path) -> None:
    pictures = find_images(SHARED / "imagenet" / "val")[:20]
    file = imagenet_int8 / "files" / "mobilenet_0.5_160_int8.onnx"
    here, there = _raw(_here, file, 0, pictures), _raw(_on(pis["pi4"]), file, 0, pictures)
    best = [
        [int(_array(text, "float32").argmax()) for text in facts["default"]]
        for facts in (here, there)
    ]
    assert sum(ours == theirs for ours, theirs in zip(*best, strict=True)) >= 19


# 32 bits


@pytest.mark.slow
def test_32_bits_with_tflite_runtime(
    common: Path, bundle: Path, exported: Exported, trained: Trained
) -> None:
    """tflite-runtime 2.14, numpy 1.24, Pillow 9.4: what 32-bit Raspberry Pi OS can have."""
    pi = make_pi(common, "pi2-32bit")["pi2-32bit"]
    ended = pi.run(bundle / "selftest.py", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert {model["runtime"] for model in ended.json["models"]} == {"tflite-runtime"}
    assert ended.json["machine"] == "armv7l"
    pictures = sorted(trained.test.rglob("*.png"))[::40]
    file = exported.path("tflite", "int8")
    reference = _raw(_here, file, 10, pictures)["reference"]
    assert _raw(_on(pi), file, 10, pictures)["reference"] == reference
    facts = pi.edgezoo("doctor", "--json").json
    assert facts["problems"] == [] and facts["machine"]["bits"] == 32
    assert pi.edgezoo("inspect", file, "--json").json["ops"]["CONV_2D"] >= 14
    command = ("evaluate", file, "--images", trained.test, "--limit", "20", "--json")
    (there,), (here,) = (run(*command).json["results"] for run in (pi.edgezoo, run_cli))
    assert there["runtime"] == "tflite-runtime 2.14.0"
    assert abs(there["top1"] - here["top1"]) <= 1 / 20
