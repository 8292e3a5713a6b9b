"""The usage examples of Keras Applications in docs/examples run, on untrained weights if asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgezoo.core import registry
from tests.conftest import ROOT, environment

# Script, input size, part of the file's name, what it prints of it.
CASES = [
    ("features_vgg16", 32, "vgg16_notop_32", "(1, 1, 1, 512)"),
    pytest.param("layer_features_vgg19", 32, "vgg19_notop_block4_pool_32", "(1, 2, 2, 512)",
                 marks=pytest.mark.slow),
    pytest.param("classify_resnet50", 32, "resnet50_32", "(passed): [(", marks=pytest.mark.slow),
    pytest.param("custom_input_inceptionv3", 75, "inceptionv3_75", "(passed): [(",
                 marks=pytest.mark.slow),
]  # fmt: skip


def _run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / f"{name}.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
    )  # fmt: skip


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize(("name", "size", "stem", "says"), CASES)
def test_example(name: str, size: int, stem: str, says: str, picture: Path, tmp_path: Path) -> None:
    ended = _run(name, picture, "--weights", "random", "--input-size", str(size), "--format",
                 "tflite", "-o", tmp_path / "made")  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    (path,) = (tmp_path / "made").glob("*.tflite")
    assert path.name.startswith(stem)
    assert f"{path} (passed" in ended.stdout and says in ended.stdout
    assert registry.load_artifact(path).required_contract().input_size == size


@pytest.mark.slow
def test_example_that_fine_tunes(tmp_path: Path) -> None:
    """Two classes that a few pictures tell apart by their brightness."""
    generator = np.random.default_rng(0)
    for number in range(16):
        dark = number % 2
        folder = tmp_path / "data" / ("dark" if dark else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 80, (80, 80, 3), np.uint8) + (0 if dark else 170)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    ended = _run("finetune_inceptionv3", tmp_path / "data", "--weights", "random", "--input-size",
                 "75", "--epochs", "1", "--format", "tflite", "-o", tmp_path / "made")  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    (path,) = (tmp_path / "made").glob("*.tflite")
    contract = registry.load_artifact(path).required_contract()
    assert (contract.classes, contract.labels) == (2, ("dark", "light"))
    assert f"{path} (passed): [(" in ended.stdout


def test_weights_that_are_not_here_end_an_example(picture: Path, tmp_path: Path) -> None:
    """Without being asked, no example falls back to untrained weights."""
    ended = _run("features_vgg16", picture, "--weights", tmp_path / "none.h5", "-o", tmp_path / "m")
    assert ended.returncode != 0
    assert "There is no weights file" in ended.stderr and not (tmp_path / "m").exists()
