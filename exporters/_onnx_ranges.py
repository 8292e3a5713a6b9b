"""Completes the ranges of a float ONNX graph for its quantizer.

Ranges are observed in the TFLite intermediate and pass to ONNX by the tensors' names. tf2onnx
splits operations, such as a reciprocal square root, into several, and merges others: tensors of
its own have no counterpart there, and are observed here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from edgezoo.core.recipe import Ranges
from edgezoo.formats import float_parts

if TYPE_CHECKING:
    import onnx

    from edgezoo.core.arrays import Floats

# Operations whose output has the values of their input, and so its range.
_SAME_RANGE = (
    "Transpose",
    "Reshape",
    "Clip",
    "Relu",
    "MaxPool",
    "Squeeze",
    "Flatten",
    "Pad",
    "Unsqueeze",
)


def complete(
    model: onnx.ModelProto, known: Ranges, excluded: Collection[str], inputs: Iterable[Floats]
) -> dict[str, tuple[Any, Any]]:
    """Return a range for every tensor that the quantizer asks for, as float32 arrays.

    Args:
        model: the float network.
        known: ranges by the tensors' names.
        excluded: names of nodes that stay in float.
        inputs: what the network takes, one image each, (1, size, size, 3); read only where
            ranges are missing.
    """
    import numpy as np

    found = _spread(model, known)
    lacking = missing(model, found, excluded)
    if lacking:
        found |= _observe(model, lacking, inputs)
    arrays = {name: np.asarray(pair, np.float32) for name, pair in found.items()}
    return {name: (low, high) for name, (low, high) in arrays.items()}


def float_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the names of nodes that stay in float in an int8 file."""
    constants = {tensor.name for tensor in model.graph.initializer}
    operations = [
        float_parts.Operation(
            node.op_type,
            tuple(name for name in node.input if name and name not in constants),
            tuple(node.output),
        )
        for node in model.graph.node
    ]
    found = float_parts.float_parts(operations, float_parts.ONNX)
    return {model.graph.node[i].name for i in found}


def _spread(model: onnx.ModelProto, known: Ranges) -> Ranges:
    """Give tensors the range of a neighbour that has the same values."""
    found = {name: tuple(pair) for name, pair in known.items()}
    nodes = [node for node in model.graph.node if node.op_type in _SAME_RANGE]
    links = [(node.input[0], node.output[0]) for node in nodes]
    for before, after in links:
        if before in found:
            found.setdefault(after, found[before])
    for before, after in reversed(links):
        # Also before an activation: quantizing to the range behind it clips in its place.
        if after in found:
            found.setdefault(before, found[after])
    return {name: (low, high) for name, (low, high) in found.items()}


def missing(
    model: onnx.ModelProto, known: Collection[str], excluded: Collection[str] = ()
) -> list[str]:
    """Return computed tensors at nodes that are quantized, without a range, in the graph's order.

    Tensors of integers are among them: only running the graph shows their type.
    """
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    kinds = {*QLinearOpsRegistry, *QDQRegistry}
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in kinds and node.name not in excluded:
            found |= dict.fromkeys([*node.input, *node.output])
    return [name for name in found if name and name not in constants and name not in known]


def _observe(model: onnx.ModelProto, names: list[str], inputs: Iterable[Floats]) -> Ranges:
    """Run the float network, and return minimum and maximum of its float tensors."""
    import numpy as np
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    entrance = session.get_inputs()[0].name
    ranges: Ranges = {}
    for image in inputs:
        for name, values in zip(names, session.run(names, {entrance: image}), strict=True):
            if values.dtype != np.float32 or not values.size:
                continue
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges
