"""ONNX files that name other files, go round in circles or ask for terabytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgezoo.core import registry
from edgezoo.core.errors import DataError
from edgezoo.runtimes._onnx_external import external_files
from tests.conftest import run_cli

SIZE = 8


def _network(stored: TensorProto, **shape: Any) -> onnx.ModelProto:
    """A picture times one stored factor, pooled: three classes."""
    nodes = [
        helper.make_node("Mul", ["image", stored.name], ["scaled"]),
        helper.make_node("GlobalAveragePool", ["scaled"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [image], [scores], [stored])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _external(location: str) -> TensorProto:
    stored = numpy_helper.from_array(np.ones(1, np.float32), "factor")
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value=location)
    stored.external_data.add(key="length", value="4")
    return stored


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "link", "sub/../../secret", "*/_ORT_MEM_ADDR_/*", ""]
)
def test_tensors_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.ones(1, np.float32).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    os.symlink(tmp_path / "secret", folder / "link")
    path = _saved(_network(_external(location)), folder)
    runtime = registry.runtimes()["onnxruntime"]
    for look in (registry.load_artifact, runtime.describe, runtime.files, runtime.integer_kernels):
        with pytest.raises(DataError, match="not a file in its folder"):
            look(path)


def test_tensors_in_the_folder_belong_to_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "factor.bin").write_bytes(np.full(1, 2, np.float32).tobytes())
    found = registry.load_artifact(_saved(_network(_external("factor.bin")), tmp_path))
    assert [file.name for file in found.files] == ["m.onnx", "factor.bin"]
    before = found.sha256()
    (tmp_path / "factor.bin").write_bytes(np.full(1, 3, np.float32).tobytes())
    assert found.sha256() != before


def _in_attribute(stored: TensorProto) -> onnx.ModelProto:
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    model.graph.node.append(helper.make_node("Constant", [], ["other"], value=stored))
    return model


def _in_branch(stored: TensorProto) -> onnx.ModelProto:
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    branch = helper.make_graph([], "b", [], [], [stored])
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch))
    return model


def _in_function(stored: TensorProto) -> onnx.ModelProto:
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    node = helper.make_node("Constant", [], ["y"], value=stored)
    model.functions.append(
        helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 17)])
    )
    return model


def _sparse(stored: TensorProto) -> onnx.ModelProto:
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    model.graph.sparse_initializer.add().values.CopyFrom(stored)
    return model


@pytest.mark.parametrize("hide", [_in_attribute, _in_branch, _in_function, _sparse])
def test_every_place_of_a_tensor_is_looked_at(
    hide: Callable[[TensorProto], onnx.ModelProto], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="passwd"):
        external_files(_saved(hide(_external("/etc/passwd")), tmp_path))


@settings(max_examples=150)
@given(data=st.data())
def test_any_bytes_are_names_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Damage of a real message, and bytes of no sense at all."""
    whole = _network(_external("weights.bin")).SerializeToString()
    place = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(max_size=12))
    damaged = data.draw(st.sampled_from([whole[:place] + new + whole[place + len(new) :], new]))
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(damaged)
    with contextlib.suppress(DataError):
        assert isinstance(external_files(path), tuple)


def _field(number: int, content: bytes) -> bytes:
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def test_depth_has_an_end(tmp_path: Path) -> None:
    """Graphs in attributes of nodes of graphs: 7 is a model's graph."""
    inner = b""
    for _ in range(40):
        inner = _field(1, _field(5, _field(6, inner)))
    (tmp_path / "m.onnx").write_bytes(_field(7, inner))
    with pytest.raises(DataError, match="nested too deep"):
        external_files(tmp_path / "m.onnx")


def test_terabytes_and_circles(tmp_path: Path) -> None:
    """Both end in one sentence of the command."""
    shape = numpy_helper.from_array(np.array([1, 3, 10**6, 10**6]), "shape")
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, []))
    picture = tmp_path / "p.png"
    Image.new("RGB", (SIZE, SIZE)).save(picture)
    ended = run_cli("classify", _saved(model, tmp_path), picture, "--preprocessing", "none",
                    "--output-name", "scores")  # fmt: skip
    assert "allocate memory" in ended.error(5)
    model = _network(numpy_helper.from_array(np.ones(1, np.float32), "factor"))
    model.graph.node[0].input[0] = "pooled"
    assert "m.onnx" in run_cli("inspect", _saved(model, tmp_path)).error(5)
