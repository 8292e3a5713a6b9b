"""What an OpenVINO file without a contract states: its rt_info, and the operation that ends it."""

from __future__ import annotations

from typing import Any

from edgezoo.core.protocols import Activation, Hints
from edgezoo.runtimes import _stated

_INFO = "model_info"
_KEYS = (
    "labels",
    "resize_type",
    "mean_values",
    "scale_values",
    "reverse_input_channels",
    "embedded_processing",
)
# Operations that leave the meaning of values as it is.
_PASSING = {"Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose", "FakeQuantize"}
_SUMS = {"MatMul", "Convolution", "GroupConvolution"}
_ENDS: dict[str, Activation] = {
    "SoftMax": "softmax",
    "Softmax": "softmax",
    "LogSoftmax": "linear",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
}
_MOST_STEPS = 64


def hints(model: Any) -> Hints:
    """Return what an `openvino.Model` states."""
    facts = {key: _text(model, key) for key in _KEYS if model.has_rt_info([_INFO, key])}
    how, resize, labels = _stated.of_model_api(facts)
    known = how is not None or resize is not None or bool(labels)
    ends = tuple(_activation(result) for result in model.get_results())
    return Hints("OpenVINO's rt_info" if known else "", how, resize, labels, ends)


def _text(model: Any, key: str) -> str:
    return str(model.get_rt_info([_INFO, key]).value)


def _activation(result: Any) -> Activation | None:
    """Return how the values of an output come about."""
    node = result.input_value(0).get_node()
    for _ in range(_MOST_STEPS):
        kind = node.get_type_name()
        if kind in _ENDS:
            return _ENDS[kind]
        if kind in _SUMS:
            return "linear"
        before = [value.get_node() for value in node.input_values()]
        computed = [other for other in before if not _is_constant(other)]
        added = kind in ("Add", "Subtract", "Multiply") and len(computed) == 1
        if not computed or (kind not in _PASSING and not added):
            return "other"
        node = computed[0]
    return None


def _is_constant(node: Any) -> bool:
    """Whether a node is a constant, or one that is stored in another type."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
