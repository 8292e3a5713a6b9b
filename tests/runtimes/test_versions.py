"""The oldest release that loads a file, computed, against what TFLite itself writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core.errors import MissingError
from edgezoo.core.releases import Requirement, minimum_releases, release_numbers
from edgezoo.formats import tflite_flatbuffer
from edgezoo.inspection.inspect_file import inspect
from edgezoo.runtimes import _tflite_versions, litert
from tests.conftest import Ended, Exported, Trained, environment
from tests.docs.test_schemas import check
from tests.support.coral import CORAL, PAIRS, require

CONVERT = """
import sys, numpy as np, keras, tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
network = keras.models.load_model(sys.argv[1], compile=False)
shape = (1, 32, 32, 3)
function = tf.function(lambda x: network(x, training=False)).get_concrete_function(
    tf.TensorSpec(shape, tf.float32))
function = convert_variables_to_constants_v2(function)
for kind in ("float", "dynamic", "int8"):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        draw = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            [draw.uniform(-1, 1, shape).astype(np.float32)] for _ in range(4))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    open(f"{sys.argv[2]}/{kind}.tflite", "wb").write(converter.convert())
"""


def _stored(path: Path) -> str | None:
    text = tflite_flatbuffer.read_metadata(
        tflite_flatbuffer.read_model(path), "min_runtime_version"
    )
    return text.rstrip(b"\0").decode() if text else None


def _computed(path: Path) -> str:
    needs = _tflite_versions.requirements(tflite_flatbuffer.read_model(path))
    return minimum_releases(needs)["tflite"]


@pytest.fixture(scope="module")
def converted(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float.tflite, dynamic.tflite and int8.tflite as TensorFlow's converter writes them."""
    folder = tmp_path_factory.mktemp("converted")
    subprocess.run(
        [sys.executable, "-c", CONVERT, str(trained.keras), str(folder)],
        check=True, capture_output=True, env=environment(TF_CPP_MIN_LOG_LEVEL="3"),
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("kind", ["float", "dynamic", "int8"])
def test_equals_what_the_converter_writes(converted: Path, kind: str) -> None:
    path = converted / f"{kind}.tflite"
    assert _computed(path) == _stored(path)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "split_concat"])
def test_equals_what_stands_in_files_of_google(name: str) -> None:
    require()
    path = CORAL / f"{name}.tflite"
    assert _computed(path) == _stored(path)


def test_float_file_keeps_what_the_converter_wrote(exported: Exported) -> None:
    path = exported.path("tflite", "float32")
    assert inspect(path).minimum_runtime["tflite"] == _stored(path) == _computed(path)


def test_int8_types_count_even_where_versions_were_not_raised(
    exported: Exported, converted: Path
) -> None:
    """Our quantizer leaves CONV_2D at version 1; int8 needs 3, which came with 1.14."""
    ours = exported.path("tflite", "int8")
    declared = {
        c.version for c in tflite_flatbuffer.read_model(ours).operatorCodes if c.builtinCode == 3
    }
    needs = {n.what for n in _tflite_versions.requirements(tflite_flatbuffer.read_model(ours))}
    assert "CONV_2D version 3" in needs and max(declared) <= 3
    assert release_numbers(_computed(ours)) >= release_numbers(_computed(converted / "int8.tflite"))


def test_unknown_operations_are_not_guessed(exported: Exported) -> None:
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float32"))
    for code in model.operatorCodes:
        code.version = 99
    needs = _tflite_versions.requirements(model)
    assert all(need.since == {} for need in needs)
    assert minimum_releases(needs) == {}


def test_newer_than_what_is_known_of_a_package(exported: Exported, tmp_path: Path) -> None:
    """Of TensorFlow 2.18's DEQUANTIZE no release of ai-edge-litert is known to have it."""
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float16"))
    for code in model.operatorCodes:
        code.version = 6 if code.builtinCode == 6 else code.version
    path = tmp_path / "newer.tflite"
    tflite_flatbuffer.write_model(model, path)
    assert "ai-edge-litert" not in inspect(path).minimum_runtime
    facts = inspect(path, runtime="ai-edge-litert==1.0.1").runtime
    assert facts is not None and facts.loads is None
    assert [need.what for need in facts.lacking] == ["DEQUANTIZE version 6"]
    tensorflow = inspect(path, runtime="tensorflow==2.17.0").runtime
    assert tensorflow is not None and tensorflow.loads is False


def test_a_device_that_cannot_read_what_a_file_asks(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tflite-runtime alone: nothing tells versions of operations."""
    monkeypatch.setattr(litert, "_parsed", lambda path: None)
    monkeypatch.setattr("edgezoo.inspection.inspect_file.registry.has_package", lambda name: False)
    with pytest.raises(MissingError, match="requires of a runtime needs ai_edge_litert"):
        inspect(exported.path("tflite", "int8"), runtime="tflite-runtime==2.5")


def test_onnx_and_openvino(exported: Exported) -> None:
    onnx = inspect(exported.path("onnx", "int8")).minimum_runtime
    assert onnx["onnxruntime"] == {"8": "1.10", "9": "1.15", "10": "1.18"}[onnx["ir_version"]]
    openvino = inspect(exported.path("openvino", "int8")).minimum_runtime
    assert release_numbers(openvino["openvino"]) >= (2022, 1, 0), "IR 11"


@pytest.mark.parametrize(
    ("format", "runtime", "code"),
    [
        ("tflite", "tflite-runtime==2.5", 0),
        ("tflite", "tflite-runtime==2.14.0", 0),
        ("tflite", "tensorflow==1.13", 6),
        ("tflite", "ai-edge-litert==1.0.1", 0),
        ("onnx", "onnxruntime==1.9", 6),
        ("onnx", "onnxruntime-gpu==1.20.0", 0),
        ("openvino", "openvino==2021.4", 6),
        ("openvino", "openvino==2026.4.1", 0),
    ],
)
def test_will_it_load_there(
    exported: Exported, cli: Callable[..., Ended], format: str, runtime: str, code: int
) -> None:
    ended = cli("inspect", exported.path(format, "int8"), "--runtime", runtime, "--json")
    assert ended.code == code, ended.stderr
    check("inspect", ended.json)
    facts = ended.json["runtime"]
    assert facts["loads"] is (code == 0)
    assert bool(facts["lacking"]) is (code == 6)
    package, release = runtime.split("==")
    assert (facts["package"], facts["version"]) == (package, release)


def test_names_as_pip_reads_them(exported: Exported) -> None:
    facts = inspect(exported.path("tflite", "int8"), runtime="TFLite_Runtime==2.5.0.post1")
    loading = facts.runtime
    assert loading is not None
    assert (loading.package, loading.version, loading.loads) == ("tflite-runtime", "2.5.0", True)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [("numpy==2.0", "Nothing is known about numpy"), ("onnxruntime", "as pip does"),
     ("tflite-runtime>=2", "as pip does"), ("tflite-runtime==new", "as pip does")],
)  # fmt: skip
def test_wrong_runtime(
    exported: Exported, cli: Callable[..., Ended], runtime: str, words: str
) -> None:
    assert words in cli("inspect", exported.path("tflite", "int8"), "--runtime", runtime).error(2)


def test_release_numbers() -> None:
    assert release_numbers("2.14") == release_numbers("2.14.0") < release_numbers("2.14.4")
    assert release_numbers("1.9") < release_numbers("1.10")
    needs = (Requirement("a", {"x": "1.9", "y": "2"}), Requirement("b", {"x": "1.10"}))
    assert minimum_releases(needs) == {"x": "1.10"}
    assert minimum_releases(()) == {}
