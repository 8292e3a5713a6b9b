"""A scale and an offset of each channel become one operation, and nothing else does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgezoo.exporters._onnx_norms import join_norms

COUNT = 5
DRAW = np.random.default_rng(0)
SCALE, OFFSET = DRAW.normal(size=(2, COUNT, 1, 1)).astype(np.float32)


def graph_of(
    scale: NDArray[np.float32], offset: NDArray[np.float32], *more: onnx.NodeProto
) -> onnx.ModelProto:
    """Two scales and offsets with the same constants, and what comes beside them."""
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["first"]),
        helper.make_node("Relu", ["first"], ["positive"]),
        helper.make_node("Mul", ["scale", "positive"], ["again"]),
        helper.make_node("Add", ["offset", "again"], ["y"]),
        *more,
    ]
    constants = [numpy_helper.from_array(values, name)
                 for name, values in (("scale", scale), ("offset", offset))]  # fmt: skip
    names = ["y", *(node.output[0] for node in more)]
    border = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, COUNT, 4, 4])
              for name in ("x", *names)]  # fmt: skip
    graph = helper.make_graph(nodes, "g", border[:1], border[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(model: onnx.ModelProto) -> list[NDArray[np.float32]]:
    """What a graph gives for fixed numbers."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pixels = np.random.default_rng(1).normal(size=(1, COUNT, 4, 4)).astype(np.float32)
    return list(session.run(None, {"x": pixels}))


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operations in order."""
    return [node.op_type for node in model.graph.node]


def test_joined_with_the_same_answers() -> None:
    model = graph_of(SCALE, OFFSET)
    before = answers(model)
    join_norms(model)
    assert kinds(model) == ["BatchNormalization", "Relu", "BatchNormalization"]
    assert [node.output[0] for node in model.graph.node] == ["first", "positive", "y"]
    assert "scale" not in {tensor.name for tensor in model.graph.initializer}
    for mine, theirs in zip(answers(model), before, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        pytest.param(SCALE[:1], OFFSET[:1], id="one number for all channels"),
        pytest.param(np.float32(2), np.float32(1), id="numbers without a shape"),
        pytest.param(SCALE, OFFSET[:1], id="one offset"),
        pytest.param(np.ones((COUNT, 4, 4), np.float32), OFFSET, id="a scale of each position"),
        pytest.param(SCALE.reshape(COUNT, 1)[:4], np.ones((4, 1), np.float32), id="other axis"),
    ],
)
def test_left_alone(scale: NDArray[np.float32], offset: NDArray[np.float32]) -> None:
    model = graph_of(np.asarray(scale), np.asarray(offset))
    before = model.SerializeToString()
    join_norms(model)
    assert model.SerializeToString() == before


def test_a_product_that_is_read_elsewhere_stays() -> None:
    model = graph_of(SCALE, OFFSET, helper.make_node("Relu", ["scaled"], ["z"]))
    before = answers(model)
    join_norms(model)
    assert kinds(model) == ["Mul", "Add", "Relu", "BatchNormalization", "Relu"]
    for mine, theirs in zip(answers(model), before, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


def test_a_product_that_is_an_output_stays() -> None:
    model = graph_of(SCALE, OFFSET)
    model.graph.output.append(
        helper.make_tensor_value_info("scaled", onnx.TensorProto.FLOAT, [1, COUNT, 4, 4])
    )
    join_norms(model)
    assert kinds(model) == ["Mul", "Add", "Relu", "BatchNormalization"]
