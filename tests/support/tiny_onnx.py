"""Files of others: ONNX graphs of a few nodes, made by onnx alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 8


def save(
    path: Path,
    *,
    end: str | None = "Softmax",
    values: int = 4,
    shape: Sequence[int | str] = (1, SIDE, SIDE, 3),
    dtype: str = "FLOAT",
    before: float = 1.0,
    output: Sequence[int] | None = None,
    inputs: int = 1,
    outputs: int = 1,
    metadata: Mapping[str, str] | None = None,
    weights: Any = None,
) -> Path:
    """Write means of the image (each channel) times weights, and what makes classes of them.

    Args:
        path: the file.
        end: the last operation; None for sums.
        values: of the output.
        shape, dtype: of the input.
        before: a factor on the pixels.
        output: shape of the output.
        inputs, outputs: how many; the others are copies.
        metadata: properties.
        weights: (channels, values); seeded noise by default.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nchw = shape[1] in (1, 3)
    channels = int(shape[1 if nchw else 3])
    kernel = (
        np.random.default_rng(0).normal(size=(channels, values)) if weights is None else weights
    )
    names = [f"image{i or ''}" for i in range(inputs)]
    axes = [2, 3] if nchw else [1, 2]
    nodes = [
        helper.make_node("Cast", [names[0]], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "factor"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "kernel"], ["sums" if end else "flat"]),
    ]
    if end:
        nodes.append(helper.make_node(end, ["sums"], ["flat"]))
    last = "flat"
    wanted = list(output or (1, values))
    if output is not None:
        nodes.append(helper.make_node("Reshape", ["flat", "shape"], ["shaped"]))
        last = "shaped"
    ends = [f"out{i or ''}" for i in range(outputs)]
    nodes += [helper.make_node("Identity", [last], [name]) for name in ends]
    kept = {
        "kernel": np.asarray(kernel, np.float32),
        "factor": np.float32(before),
        "shape": np.asarray(wanted, np.int64),
    }
    element = getattr(TensorProto, dtype)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, element, list(shape)) for name in names],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, wanted) for name in ends],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in kept.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if metadata:
        onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))
    return path
