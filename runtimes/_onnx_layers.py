"""The 8-bit layers of an ONNX file, as ONNX Runtime runs them on x86.

Which neighbours its kernels add in 16 bits was determined with weights that are 127 in two places
and 0 elsewhere (onnxruntime 1.32, AVX2); tests/inspection/test_portability.py repeats it. The order
is that of MLAS, which stores pixels as NHWC and iterates over (height, width, channel).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgezoo.core.protocols import IntegerLayer, LayerKind
from edgezoo.formats import operators

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

# Operations that compute in integers: the inputs with the weights and with the zero point of the
# activations, which has their type. Without a zero point, activations are uint8.
INTEGER: dict[str, tuple[int, int | None]] = {
    "QLinearConv": (3, 2),
    "QLinearMatMul": (3, 2),
    "QGemm": (3, 2),
    "ConvInteger": (1, 2),
    "MatMulInteger": (1, 2),
    "MatMulIntegerToFloat": (1, 4),
    "DynamicQuantizeMatMul": (1, None),
}
_SIGNED = "signed activations take a kernel that adds in 32 bits"
_UNSIGNED = "uint8 weights take a kernel that adds in 32 bits"
_OTHER = "its kernel adds in 32 bits"


class _Graph:
    """Constants, producers and consumers by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.nodes = model.graph.node
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._to_array = numpy_helper.to_array
        self.producers = {name: node for node in self.nodes for name in node.output}
        self.outputs = {value.name for value in model.graph.output}

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the values of a constant; None for a computed tensor."""
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant":
            values = {entry.name: entry for entry in node.attribute}.get("value")
            return self._to_array(values.t) if values is not None else None
        return self._to_array(self._stored[name]) if name in self._stored else None

    def dequantizer(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that computes a tensor."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def is_quantized_here(self, name: str) -> bool:
        """Return whether a QuantizeLinear computes a tensor."""
        node = self.producers.get(name)
        return node is not None and node.op_type == "QuantizeLinear"

    def integers(self, name: str) -> NDArray[Any] | None:
        """Return the values of a constant, including a float one behind a QuantizeLinear."""
        node = self.producers.get(name)
        if node is None or node.op_type != "QuantizeLinear":
            return self.constant(name)
        values, scale = self.constant(node.input[0]), self.constant(node.input[1])
        zero = self.constant(node.input[2]) if len(node.input) > 2 else None
        options = {entry.name: entry.i for entry in node.attribute}
        if values is None or scale is None or options.get("block_size") or scale.ndim > 1:
            return None
        return _quantize(values, scale, zero, options.get("axis", 1))

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Return the operations that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def dtype(self, node: onnx.NodeProto, place: int | None) -> str:
        """Return the integer type of a zero point; uint8 without one."""
        name = node.input[place] if place is not None and len(node.input) > place else ""
        values = self.constant(name) if name else None
        return str(values.dtype) if values is not None else "uint8"


def _quantize(
    values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int
) -> NDArray[Any] | None:
    """Quantize a constant as QuantizeLinear does; None for types other than 8 bits."""
    import numpy as np

    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if dtype not in (np.int8, np.uint8):
        return None
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = -1
    quantized = np.rint(values / scale.reshape(shape))
    if zero is not None:
        quantized += zero.reshape(shape if zero.size > 1 else [1] * values.ndim)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(quantized, limits.min, limits.max).astype(dtype))


def integer_layers(model: onnx.ModelProto) -> tuple[IntegerLayer, ...]:
    """Return convolutions and dense layers that run on integers, in the file's order."""
    graph = _Graph(model)
    found = (_layer(graph, node) for node in graph.nodes)
    return tuple(layer for layer in found if layer is not None)


def _layer(graph: _Graph, node: onnx.NodeProto) -> IntegerLayer | None:
    if node.op_type in INTEGER:
        place, zero = INTEGER[node.op_type]
        name, activations = node.input[place], graph.dtype(node, zero)
    elif node.op_type in operators.ONNX:
        data, kernel = graph.dequantizer(node.input[0]), graph.dequantizer(node.input[1])
        if data is None or kernel is None or not _fuses(graph, node):
            return None
        name, activations = kernel.input[0], graph.dtype(data, 2)
        if activations == "int8" and graph.is_quantized_here(data.input[0]):
            # On x86 the runtime turns such a pair into uint8 (`session.qdqisint8allowed`).
            activations = "uint8"
    else:
        return None
    weights = graph.integers(name)
    if weights is None or not {str(weights.dtype), activations} <= {"int8", "uint8"}:
        return None
    return _describe(node, name, weights, activations)


def _describe(
    node: onnx.NodeProto, name: str, weights: NDArray[Any], activations: str
) -> IntegerLayer | None:
    import numpy as np
    from onnx import helper

    options = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kind: LayerKind = "conv" if "Conv" in node.op_type else "dense"
    if weights.ndim != (4 if kind == "conv" else 2):
        return None
    if kind == "conv":
        group = options.get("group", 1)
        if group > 1 and weights.shape[1] == 1 and len(weights) == group:
            kind = "depthwise"
        ordered = np.moveaxis(weights, 1, -1).reshape(len(weights), -1, weights.shape[1])
    else:
        ordered = (weights if options.get("transB") else weights.T)[:, None, :]
    exact, dtype, shown = None, str(weights.dtype), _readable(name, node)
    if kind == "depthwise" or node.op_type == "ConvInteger":
        exact = _OTHER
    elif activations != "uint8":
        exact = _SIGNED
    elif dtype != "int8":
        exact = _UNSIGNED
    return IntegerLayer(shown, kind, ordered, dtype, activations, "flat", exact)


def _readable(weights: str, node: onnx.NodeProto) -> str:
    """Return the name of a layer: from the name of its weights if possible."""
    for suffix in ("_quantized", "_QuantizeLinear_Output", "_Transposed"):
        weights = weights.removesuffix(suffix)
    found = re.fullmatch(r"(.*)(/weights|\.weight|/kernel)", weights, re.S)
    return str(found[1] if found else node.name or node.output[0])


def _fuses(graph: _Graph, node: onnx.NodeProto) -> bool:
    """Return whether ONNX Runtime fuses a float operation between dequantizers into an integer one.

    A convolution must be quantized again at once, or after an activation that the limits of the
    quantizer make redundant. Matrix products may end in float.
    """
    if node.op_type != "Conv":
        return True
    output = node.output[0]
    while output not in graph.outputs:
        readers = graph.consumers(output)
        if len(readers) != 1:
            return False  # another reader needs the float output
        reader = readers[0]
        if reader.op_type == "QuantizeLinear":
            return True
        if reader.op_type not in ("Relu", "Clip") or not _redundant(graph, reader):
            return False
        output = reader.output[0]
    return False


def _redundant(graph: _Graph, activation: onnx.NodeProto) -> bool:
    """Return whether the quantizer after an activation clips at least as tightly."""
    import numpy as np

    readers = graph.consumers(activation.output[0])
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
        return False
    scale = graph.constant(readers[0].input[1])
    if scale is None or scale.size != 1:
        return False
    limits = np.iinfo(graph.dtype(readers[0], 2))
    stored = graph.constant(readers[0].input[2]) if len(readers[0].input) > 2 else None
    zero = int(stored.item()) if stored is not None else 0
    step = float(scale.item())
    low, high = (limits.min - zero) * step, (limits.max - zero) * step
    if activation.op_type == "Relu":
        return low >= 0
    bounds = [graph.constant(name) if name else None for name in activation.input[1:]]
    least, most = (*bounds, None, None)[:2]
    # Half a step of tolerance: such a limit rounds to the last quantized value.
    below = least is None or least.item() <= low + step / 2
    above = most is None or most.item() >= high - step / 2
    return bool(below and above)
