"""The files that other people's programs read, and the pictures that they are asked about."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgezoo.images.preprocessing import find_images
from tests.conftest import ROOT, SHARED, made_once, run_cli
from tests.support import needs
from tests.support.client_env import Client, client

SIZE = 160
UNTRAINED_SIZE = 64
UNTRAINED = ("resnet50", "densenet121")


@dataclass(frozen=True)
class Pictures:
    """Pictures as a list of paths in a JSON file, and as pixels stretched to a square by Pillow."""

    listed: Path

    @property
    def paths(self) -> list[str]:
        found: list[str] = json.loads(self.listed.read_text())
        return found

    def stretched(self, size: int) -> NDArray[np.uint8]:
        """uint8 RGB, shape (n, size, size, 3)."""
        return np.stack([_stretched(path, size) for path in self.paths])


def _stretched(path: str, size: int) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        square = opened.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square, np.uint8)


def _listed(folder: Path, paths: list[str]) -> None:
    (folder / "pictures.json").write_text(json.dumps(paths))


@pytest.fixture(scope="session")
def pictures(common: Path) -> Pictures:
    """100 validation pictures, which are square, and two that are not."""

    def make(folder: Path) -> None:
        paths = find_images(SHARED / "imagenet" / "val")
        chosen = paths[:: len(paths) // 100][:100]
        for path in find_images(SHARED / "imagenet" / "calibration"):
            with Image.open(path) as opened:
                if opened.width != opened.height:
                    chosen.append(path)
            if len(chosen) == 102:
                break
        _listed(folder, [str(path) for path in chosen])

    return Pictures(made_once(common / "client-pictures", make) / "pictures.json")


@pytest.fixture(scope="session")
def squares(common: Path, pictures: Pictures) -> Pictures:
    """The same, stretched to what the untrained networks take, as PNG: no client resizes them.

    An untrained network's answers turn over at the least difference between two resize kernels.
    """

    def make(folder: Path) -> None:
        paths = []
        for number, pixels in enumerate(pictures.stretched(UNTRAINED_SIZE)):
            # Named by where the folder will stand: it is still being made elsewhere.
            name = f"{number:03}.png"
            Image.fromarray(pixels).save(folder / name)
            paths.append(str(common / "client-squares" / name))
        _listed(folder, paths)

    return Pictures(made_once(common / "client-squares", make) / "pictures.json")


@pytest.fixture(scope="session")
def float_files(common: Path) -> Path:
    """mobilenet 0.5/160 in float32, all formats."""

    def make(folder: Path) -> None:
        ended = run_cli("export", "mobilenet", "--alpha", "0.5", "--input-size", str(SIZE),
                        "--no-verify", "-o", folder,
                        KERAS_HOME=os.path.relpath(SHARED / "keras", ROOT))  # fmt: skip
        assert ended.code == 0, ended.stderr

    return made_once(common / "client-float", make)


@pytest.fixture(scope="session")
def file_of(float_files: Path, imagenet_int8: Path) -> Callable[[str, str], Path]:
    """`file_of(precision, ".tflite")`: the file of mobilenet 0.5/160."""
    folders = {"float32": float_files, "int8": imagenet_int8 / "files"}
    return lambda precision, suffix: (
        folders[precision] / f"mobilenet_0.5_{SIZE}_{precision}{suffix}"
    )


@pytest.fixture(scope="session")
def untrained(common: Path) -> Callable[[str, str], Path]:
    """`untrained(model, ".tflite")`: float32, random weights, as each family normalises."""

    def make(folder: Path) -> None:
        for model in UNTRAINED:  # one process each: memory piles up
            ended = run_cli("export", model, "--weights", "random", "--input-size",
                            str(UNTRAINED_SIZE), "--format", "tflite,openvino", "--no-verify",
                            "-o", folder)  # fmt: skip
            assert ended.code == 0, ended.stderr

    folder = made_once(common / "client-untrained", make)
    return lambda model, suffix: folder / f"{model}_{UNTRAINED_SIZE}_untrained_float32{suffix}"


@pytest.fixture(scope="session")
def mediapipe(common: Path) -> Client:
    needs.require("libGL.so.1")
    return client("mediapipe", common)


@pytest.fixture(scope="session")
def model_api(common: Path) -> Client:
    return client("model-api", common)


@pytest.fixture(scope="session")
def old(common: Path) -> Client:
    return client("old", common)
