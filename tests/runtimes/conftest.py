"""A GPU in software, pictures, and a child that runs files on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.images.preprocessing import find_images, load_pixels
from tests.conftest import SHARED, SUPPORT, Exported, Trained, environment, made_once, run_cli
from tests.support import needs

SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json"
WEBGPU = "onnxruntime-webgpu==1.27.0"
On = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def software_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an environment needs for SwiftShader, a Vulkan device that the CPU computes."""
    needs.require(SWIFTSHADER, "libvulkan.so.1")
    return {
        "VK_DRIVER_FILES": SWIFTSHADER,
        "VK_ICD_FILENAMES": SWIFTSHADER,
        "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("xdg")),
    }


@pytest.fixture(scope="session")
def no_gpu() -> dict[str, str]:
    """An environment in which Vulkan finds nothing."""
    return {"VK_DRIVER_FILES": "/nowhere.json", "VK_ICD_FILENAMES": "/nowhere.json"}


@pytest.fixture(scope="session")
def webgpu_package(common: Path) -> Path:
    """A folder with onnxruntime-webgpu, which cannot be installed beside onnxruntime."""
    kept = os.environ.get("EDGEZOO_TEST_CACHE")

    def install(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
                   "--target", str(folder), WEBGPU]  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            needs.give_up(f"{WEBGPU} cannot be installed: {ended.stderr[-300:]}")

    return made_once(Path(kept or common) / "onnxruntime-webgpu", install)


@pytest.fixture(scope="session")
def digits(trained: Trained, common: Path) -> Path:
    """32 px pictures of the trained network's test folder, as an array of uint8 pixels."""

    def make(folder: Path) -> None:
        paths = find_images(trained.test)[:40:2]
        np.save(folder / "digits.npy", np.stack([load_pixels(path, 32) for path in paths]))

    return made_once(common / "digits", make) / "digits.npy"


@pytest.fixture(scope="session")
def photographs(common: Path) -> Path:
    """100 validation pictures at 128 px."""

    def make(folder: Path) -> None:
        paths = find_images(SHARED / "imagenet" / "val")
        chosen = paths[:: len(paths) // 100][:100]
        np.save(folder / "photographs.npy", np.stack([load_pixels(p, 128) for p in chosen]))

    return made_once(common / "photographs", make) / "photographs.npy"


@pytest.fixture(scope="session")
def mobilenet(common: Path) -> Exported:
    """MobileNet 0.25 at 128 px with ImageNet weights: TFLite in float32 and int8."""

    def make(folder: Path) -> None:
        ended = run_cli("export", "mobilenet", "--alpha", "0.25", "--input-size", "128",
                        "--format", "tflite", "--precision", "float32,int8", "--no-verify",
                        "--calibration", SHARED / "imagenet" / "calibration",
                        "--calibration-count", "100", "-o", folder / "files", "--json",
                        KERAS_HOME=str(SHARED / "keras"))  # fmt: skip
        assert ended.code == 0, ended.stderr
        (folder / "export.json").write_text(ended.stdout)

    folder = made_once(common / "mobilenet-128", make)
    return Exported(folder / "files", json.loads((folder / "export.json").read_text()))


@pytest.fixture
def on() -> On:
    """`on(file, pixels, device, runtime, **environment)`: the facts of tests/support/run_on.py."""

    def run(path: Path, pixels: Path, device: str, runtime: str | None = None,
            **env: str) -> dict[str, Any]:  # fmt: skip
        words = [path, pixels, device, *([runtime] if runtime else [])]
        ended = subprocess.run(
            [sys.executable, str(SUPPORT / "run_on.py"), *map(str, words)],
            capture_output=True, text=True, env=environment(**env), check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == "", "native libraries stay quiet"
        facts: dict[str, Any] = json.loads(ended.stdout)
        return facts

    return run
