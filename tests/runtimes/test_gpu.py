"""`--device gpu`, executed on SwiftShader, and refused where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Ended, Exported, Trained, environment
from tests.docs.test_schemas import check
from tests.support import coral

On = Callable[..., dict[str, Any]]
FLOAT_BOUND = 1e-5  # float32 in another order of sums
# Steps of 1/256. The GPU rounds between the layers in another way than the CPU. So do the CPU's own
# two sets of kernels, which are up to 16 steps apart on these photographs.
INT8_BOUND, INT8_FARTHEST = 4, 16


def test_litert_float(
    exported: Exported, digits: Path, on: On, software_gpu: dict[str, str]
) -> None:
    facts = on(exported.path("tflite", "float32"), digits, "gpu", **software_gpu)
    assert facts["apart"] <= FLOAT_BOUND
    assert facts["sum"] == pytest.approx(1, abs=1e-4)
    place = facts["ran_on"]
    assert (place["device"], place["kind"], place["fully_accelerated"]) == ("gpu", "software", True)
    assert "SwiftShader" in place["name"]


def test_litert_int8(
    exported: Exported, digits: Path, on: On, software_gpu: dict[str, str]
) -> None:
    facts = on(exported.path("tflite", "int8"), digits, "gpu", **software_gpu)
    assert facts["apart"] <= INT8_BOUND
    assert facts["ran_on"]["fully_accelerated"] is True


@pytest.mark.imagenet
def test_litert_on_photographs(
    mobilenet: Exported, photographs: Path, on: On, software_gpu: dict[str, str]
) -> None:
    floating = on(mobilenet.path("tflite", "float32"), photographs, "gpu", **software_gpu)
    assert floating["ran_on"]["fully_accelerated"] is True
    assert floating["apart"] <= FLOAT_BOUND and floating["same_top1"] == 100
    quantized = on(mobilenet.path("tflite", "int8"), photographs, "gpu", **software_gpu)
    assert quantized["ran_on"]["fully_accelerated"] is True
    assert quantized["apart"] <= INT8_FARTHEST
    assert quantized["within_4"] >= 70 and quantized["same_top1"] >= 98


OPEN_BATCH = """
import sys, keras, tensorflow as tf
layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
network = keras.Sequential([keras.Input((8, 8, 3)), *layers])
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(network).convert())
"""


def test_a_file_with_an_open_batch_is_told_so(
    cli: Callable[..., Ended], trained: Trained, tmp_path: Path, software_gpu: dict[str, str]
) -> None:
    """As TensorFlow converts a network of Keras unless told otherwise."""
    path, picture = tmp_path / "open.tflite", next(trained.test.rglob("*.png"))
    subprocess.run(
        [sys.executable, "-c", OPEN_BATCH, str(path)],
        check=True, capture_output=True, env=environment(KERAS_BACKEND="tensorflow"),
    )  # fmt: skip
    options = (path, picture, "--preprocessing", "tf")
    assert cli("classify", *options, "--top", "1").code == 0
    message = cli("classify", *options, "--device", "gpu", **software_gpu).error(5)
    assert "has a dynamic size" in message and "batch of 1" in message


def test_a_file_that_litert_does_not_take_is_no_missing_gpu(
    cli: Callable[..., Ended], trained: Trained, software_gpu: dict[str, str]
) -> None:
    coral.require()
    path = coral.CORAL / "keras_lstm_mnist_ptq.tflite"
    picture = next(trained.test.rglob("*.png"))
    ended = cli("classify", path, picture, "--preprocessing", "tf", "--device", "gpu",
                **software_gpu)  # fmt: skip
    assert "cannot be compiled for the GPU" in ended.error(5)


def test_onnxruntime(
    exported: Exported, digits: Path, on: On, software_gpu: dict[str, str], webgpu_package: Path
) -> None:
    path = f"{webgpu_package}:{ROOT}"
    facts = on(exported.path("onnx", "float32"), digits, "gpu", **software_gpu, PYTHONPATH=path)
    assert facts["apart"] <= FLOAT_BOUND
    place = facts["ran_on"]
    assert (place["device"], place["kind"], place["fully_accelerated"]) == ("gpu", "software", True)
    assert place["details"] == {"provider": "WebGpuExecutionProvider"}


def test_commands_say_what_ran(
    exported: Exported, trained: Trained, cli: Callable[..., Ended], software_gpu: dict[str, str]
) -> None:
    path = exported.path("tflite", "int8")
    picture = next(trained.test.rglob("*.png"))
    facts = cli("classify", path, picture, "--device", "gpu", "--json", **software_gpu).json
    check("classify", facts)
    assert facts["ran_on"]["kind"] == "software"
    ended = cli("evaluate", path, "--images", trained.test, "--limit", "20", "--device", "gpu",
                "--reference", path, "--json", **software_gpu)  # fmt: skip
    (result,) = ended.json["results"]
    check("evaluate", ended.json)
    assert (result["device"], result["ran_on"]["kind"]) == ("gpu", "software")
    assert result["agreement_top1"] >= 0.9
    doctor = cli("doctor", "--json", **software_gpu).json
    assert {r["name"]: r["devices"] for r in doctor["runtimes"]}["litert"] == ["cpu", "gpu"]


def test_a_latency_of_software_is_told_as_such(
    exported: Exported, cli: Callable[..., Ended], software_gpu: dict[str, str]
) -> None:
    ended = cli("benchmark", exported.path("tflite", "float32"), "--device", "gpu",
                "--no-self-check", "--json", **software_gpu)  # fmt: skip
    check("benchmark", ended.json)
    (result,) = ended.json["results"]
    assert (result["ran_on"]["kind"], result["ran_on"]["fully_accelerated"]) == ("software", True)
    assert result["trust"]["level"] == "poor"
    (reason,) = [text for text in result["trust"]["reasons"] if "emulated" in text]
    assert "A CPU emulated the gpu (SwiftShader" in reason


@pytest.mark.parametrize(
    ("format", "words"), [("tflite", "Vulkan"), ("onnx", "onnxruntime"), ("openvino", "Intel")]
)
def test_no_gpu_is_refused(
    exported: Exported, trained: Trained, cli: Callable[..., Ended], no_gpu: dict[str, str],
    format: str, words: str,
) -> None:  # fmt: skip
    picture = next(trained.test.rglob("*.png"))
    path = exported.path(format, "float32")
    message = cli("classify", path, picture, "--device", "gpu", **no_gpu).error(4)
    assert "no device 'gpu' here" in message and words in message


CLAIM = """
import sys
from edgezoo.core.errors import MissingError
from edgezoo.inference.predict import open_artifact
from edgezoo.runtimes import _vulkan
_vulkan.adapters = lambda: (_vulkan.Adapter("claimed", False),)
try:
    open_artifact(sys.argv[1], device="gpu")
except MissingError as error:
    print(error)
"""


def test_silent_fallback_of_onnxruntime_is_refused(
    exported: Exported, no_gpu: dict[str, str], webgpu_package: Path
) -> None:
    """A GPU that Vulkan claims and that does not work: the package would take the CPU."""
    ended = subprocess.run(
        [sys.executable, "-c", CLAIM, str(exported.path("onnx", "float32"))],
        capture_output=True, text=True, check=True,
        env=environment(**no_gpu, PYTHONPATH=f"{webgpu_package}:{ROOT}"),
    )  # fmt: skip
    assert "WebGPU adapter" in ended.stdout
    assert len(ended.stdout.splitlines()) == 1, "no chatter on standard output"
