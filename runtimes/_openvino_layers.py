"""The 8-bit layers of an OpenVINO file, as its CPU plugin runs them on x86.

Which neighbours its kernels (oneDNN) add in 16 bits was determined with weights that are 127 in two
places and 0 elsewhere (OpenVINO 2026.4, AVX2); tests/inspection/test_portability.py repeats it.
Signed activations are first shifted to unsigned ones, so the same bound holds for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.protocols import IntegerLayer, LayerKind, Pairs
from edgezoo.formats import operators

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Operations that keep quantized values, so that the quantizer may be before them.
_PASSING = ("MaxPool", "Relu", "Clamp", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad")
_BETWEEN = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose")
_DEPTHWISE = "its kernel adds in 32 bits"


def integer_layers(model: Any) -> tuple[IntegerLayer, ...]:
    """Return an `openvino.Model`'s layers with integer weights after a FakeQuantize, in order."""
    ops = [op for op in model.get_ordered_ops() if op.get_type_name() in operators.OPENVINO]
    return tuple(layer for layer in map(_layer, ops) if layer is not None)


def _layer(op: Any) -> IntegerLayer | None:
    quantizer = op.input_value(0).get_node()
    while quantizer.get_type_name() in _PASSING:
        quantizer = quantizer.input_value(0).get_node()
    weights = _integers(op.input_value(1).get_node())
    if quantizer.get_type_name() != "FakeQuantize" or weights is None:
        return None
    kind, pairs, ordered = _ordered(op, weights)
    if ordered is None:
        return None
    exact = _DEPTHWISE if kind == "depthwise" else None
    dtype = "int8" if _lowest(quantizer) < 0 else "uint8"
    return IntegerLayer(_readable(op), kind, ordered, "int8", dtype, pairs, exact)


def _readable(op: Any) -> str:
    """Return a tensor name of the layer or of its bias: operations only have numbers."""
    readers = [target.get_node() for target in op.output(0).get_target_inputs()]
    for node in (op, *(reader for reader in readers if reader.get_type_name() == "Add")):
        for found in sorted(node.output(0).get_names()):
            return str(found).removesuffix("/linear")
    return str(op.get_friendly_name())


def _ordered(op: Any, weights: NDArray[Any]) -> tuple[LayerKind, Pairs, NDArray[Any] | None]:
    """Return kind, pairing, and the weights as (output channels, positions, input channels)."""
    import numpy as np

    if op.get_type_name() == "MatMul":
        rows = weights if op.get_attributes()["transpose_b"] else weights.T
        return "dense", "flat", rows[:, None, :] if rows.ndim == 2 else None
    grouped = op.get_type_name() == "GroupConvolution"
    if weights.ndim != (5 if grouped else 4):
        return "conv", "flat", None
    depthwise = grouped and weights.shape[1] == weights.shape[2] == 1
    kernels = weights.reshape(-1, *weights.shape[-3:])
    ordered = np.moveaxis(kernels, 1, -1).reshape(len(kernels), -1, kernels.shape[1])
    return "depthwise" if depthwise else "conv", "flat" if grouped else "pixel", ordered


def _integers(node: Any) -> NDArray[Any] | None:
    """Return the weights as signed integers; None if they are not integers."""
    import numpy as np

    shift = None
    while node.get_type_name() in _BETWEEN:
        if node.get_type_name() == "Subtract":
            shift = node.input_value(1).get_node()
        elif node.get_type_name() in ("Reshape", "Transpose"):
            return None
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    if node.get_element_type().get_type_name() not in ("i8", "u8"):
        return None
    # 16 bits, since values minus a zero point can leave the range of 8 bits.
    values = np.array(node.data).astype(np.int16)
    if shift is not None:
        while shift.get_type_name() == "Convert":
            shift = shift.input_value(0).get_node()
        values = values - np.array(shift.data).astype(np.int16)
    return values


def _lowest(quantizer: Any) -> float:
    node = quantizer.input_value(3).get_node()
    return float(node.data.min()) if node.get_type_name() == "Constant" else 0.0
