"""Why a file does not open: the cause, not the words in front; damage only where it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgezoo.core import registry
from edgezoo.core.errors import DataError, EdgeZooError, RefusedError, words_of
from edgezoo.core.labels import read_labels
from edgezoo.formats import tflite_flatbuffer
from edgezoo.runtimes import onnxruntime as ort
from tests.conftest import Exported

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'5a' * 32}\nsize 4276352\n"
SIGNATURE = (
    "[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:/src/graph/model.cc:256 "
    "void onnxruntime::f(const std::unordered_map<std::basic_string<char>, int (*)(bool)>&, int) "
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{SIGNATURE}The cause (of it).\n", "The cause (of it)"),
        ("/src/a.cc:12 f(int) x == 1 was false. Not one\n", "Not one"),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a b failed:Parsing failed.",
         "Parsing failed"),
        ("plain words.", "plain words"), ("/src/a.cc:12 half a (signature", "half a (signature"),
    ],
)  # fmt: skip
def test_cause_behind_the_signature(text: str, words: str) -> None:
    assert words_of(RuntimeError(text)) == words


def _model(op: str = "Relu", opset: int = 13, ir: int = 8, domain: str = "") -> Any:
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in ("x", "y")]
    node = helper.make_node(op, ["x"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", sides[:1], sides[1:])
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"ir": 99}, "IR version 99, and this release reads up to", "update onnxruntime"),
        ({"opset": 99}, "opset 99 of ai.onnx, and this release", "onnx.version_converter"),
        ({"op": "Nope"}, "opset 13 has no operation Nope", "Convert the model again"),
        ({"op": "Foo", "domain": "com.acme"}, "com.acme:Foo is not one of", "does not load"),
    ],
)
def test_onnx_that_is_whole(
    tmp_path: Path, changes: dict[str, Any], message: str, hint: str
) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(_model(**changes), str(path))
    with pytest.raises(RefusedError) as caught:
        registry.load_artifact(path)
    assert message in caught.value.message and hint in caught.value.hint
    assert "complete" not in caught.value.hint


def test_onnx_of_which_a_newer_release_is_known() -> None:
    error = RuntimeError(
        f"{SIGNATURE}Unsupported model IR version: 10, max supported IR version: 9"
    )
    found = ort._cause(Path("a.onnx"), error)
    assert isinstance(found, RefusedError) and "reads up to 9" in found.message
    assert found.hint == 'Run: pip install "onnxruntime>=1.18"'
    other = (
        "Opset 9 is under development. Official support for domain com.microsoft is till opset 1."
    )
    assert "pip install" not in ort._cause(Path("a.onnx"), RuntimeError(other)).hint


def _tflite(exported: Exported, path: Path, **fields: object) -> EdgeZooError:
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float32"))
    for name, value in fields.items():
        setattr(model.operatorCodes[0], name, value)
    tflite_flatbuffer.write_model(model, path)
    with pytest.raises(EdgeZooError) as caught:
        registry.runtime_for(path).describe(path)
    return caught.value


def test_tflite_that_is_whole(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    code = tflite_flatbuffer.read_model(exported.path("tflite", "float32")).operatorCodes[0]
    found = _tflite(exported, path, version=99)
    assert isinstance(found, RefusedError) and "it has no version 99 of" in found.message
    custom = {"builtinCode": 32, "deprecatedBuiltinCode": 32, "version": code.version}
    found = _tflite(exported, path, **custom, customCode="MyOp")
    assert isinstance(found, RefusedError) and "MyOp is not one of TFLite's" in found.message
    found = _tflite(exported, path, **custom, customCode="FlexConv2D")
    assert (
        isinstance(found, RefusedError) and "FlexConv2D is an operation of Tensor" in found.message
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('version="11">', 'version="7">', "IR version 7, and OpenVINO reads 10 and 11"),
        ('version="opset1"', 'version="opset99"', "operations of opset99"),
        ('type="SoftMax"', 'type="Nope"', "has no operation Nope"),
    ],
)
def test_openvino_that_is_whole(
    exported: Exported, tmp_path: Path, old: str, new: str, message: str
) -> None:
    source, path = exported.path("openvino", "float32"), tmp_path / "a.xml"
    text = source.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    shutil.copy(source.with_suffix(".bin"), path.with_suffix(".bin"))
    with pytest.raises(RefusedError, match=message):
        registry.load_artifact(path)


def test_openvino_with_a_part_of_its_weights(exported: Exported, tmp_path: Path) -> None:
    source, path = exported.path("openvino", "float32"), tmp_path / "a.xml"
    shutil.copy(source, path)
    path.with_suffix(".bin").write_bytes(source.with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(DataError) as caught:
        registry.load_artifact(path)
    assert "Incorrect weights" in caught.value.message and "complete" in caught.value.hint


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx", "a.xml", "a.keras", "a.h5"])
def test_git_lfs_pointers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(POINTER)
    with pytest.raises(DataError, match="Git LFS pointer") as caught:
        registry.load_artifact(path)
    assert "git lfs pull" in caught.value.hint


def test_git_lfs_pointers_beside_a_file(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    shutil.copy(exported.path("openvino", "float32"), path)
    path.with_suffix(".bin").write_text(POINTER)
    with pytest.raises(DataError, match=r"a\.bin is a Git LFS pointer"):
        registry.load_artifact(path)
    (tmp_path / "labels.txt").write_text(POINTER)
    with pytest.raises(DataError, match="Git LFS pointer"):
        read_labels(tmp_path / "labels.txt")
