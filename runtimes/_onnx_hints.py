"""What an ONNX file without a contract states: its properties, and the operation that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgezoo.core.protocols import Activation, Hints
from edgezoo.runtimes import _stated

_PREFIX = "model_info "
# Operations that leave the meaning of values as it is.
_PASSING = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Transpose"}
_PASSING |= {"QuantizeLinear", "DequantizeLinear", "Dropout"}
_SUMS = {"Gemm", "MatMul", "Conv", "QGemm", "QLinearMatMul", "QLinearConv", "MatMulInteger"}
_ENDS: dict[str, Activation] = {
    "Softmax": "softmax",
    "QLinearSoftmax": "softmax",
    "LogSoftmax": "linear",
    "Sigmoid": "sigmoid",
    "QLinearSigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
}


def hints(properties: Mapping[str, str], model: Any) -> Hints:
    """Return what a file states; `model` is an `onnx.ModelProto`, or None without onnx."""
    prefix = len(_PREFIX)
    info = {key[prefix:]: text for key, text in properties.items() if key.startswith(_PREFIX)}
    how, resize, labels = _stated.of_model_api(info)
    how = how or _stated.of_onnx_images(properties)
    labels = labels or _stated.of_names(properties)
    known = how is not None or resize is not None or bool(labels)
    ends = () if model is None else tuple(_activation(model, o.name) for o in model.graph.output)
    return Hints("ONNX metadata" if known else "", how, resize, labels, ends)


def _activation(model: Any, name: str) -> Activation | None:
    """Return how the values of an output come about."""
    makers = {output: node for node in model.graph.node for output in node.output}
    stored = {tensor.name for tensor in model.graph.initializer}
    for _ in range(len(model.graph.node)):
        node = makers.get(name)
        if node is None:
            return None
        if node.op_type in _ENDS:
            return _ENDS[node.op_type]
        if node.op_type in _SUMS:
            return "linear"
        computed = [i for i in node.input if i and i not in stored]
        added = node.op_type in ("Add", "Sub", "Mul") and len(computed) == 1
        if (node.op_type not in _PASSING and not added) or not computed:
            return "other"
        name = computed[0]
    return None
