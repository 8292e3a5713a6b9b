"""Adds operations and tensors to a TFLite graph after its conversion."""

from __future__ import annotations

from typing import Any

from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.core.spec import Normalization
from edgezoo.formats import tflite_flatbuffer

# uint8 to int8 came with version 2 of QUANTIZE, int8 input with version 2 of DEQUANTIZE.
_VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 2}


def normalize_in_front(model: Any, how: Normalization) -> None:
    """Let a float network take pixels: `pixel * scale + offset` with one scale and one offset.

    The input keeps its name; the network's former input becomes `image/normalized`.
    """
    graph = model.subgraphs[0]
    inner = int(graph.inputs[0])
    name = tflite_flatbuffer.text(graph.tensors[inner].name)
    pixels = add_float_twin(graph, inner, name)
    graph.tensors[inner].name = f"{name}/normalized"
    scaled = add_float_twin(graph, inner, f"{name}/scaled")
    scale = add_scalar(model, f"{name}/scale", how.scale[0])
    offset = add_scalar(model, f"{name}/offset", how.offset[0])
    insert(model, "MUL", [pixels, scale], scaled, 0)
    insert(model, "ADD", [scaled, offset], inner, 1)
    move_input(model, pixels)


def move_input(model: Any, index: int) -> None:
    """Make another tensor the network's input, in its signatures too."""
    model.subgraphs[0].inputs = [index]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = index


def move_output(model: Any, index: int) -> None:
    """Make another tensor the network's output, in its signatures too."""
    model.subgraphs[0].outputs = [index]
    for signature in model.signatureDefs or []:
        signature.outputs[0].tensorIndex = index


def add_unsigned_twin(graph: Any, index: int) -> int:
    """Add a uint8 tensor for the same real values as an int8 one; return its index."""
    signed = graph.tensors[index].quantization
    return _add_quantized(graph, index, "uint8", signed.scale[0], signed.zeroPoint[0] + 128)


def add_pixel_twin(graph: Any, index: int, kind: str, scale: float) -> int:
    """Add an 8-bit tensor of pixels with real values (pixel - 128) * scale; return its index."""
    return _add_quantized(graph, index, kind, scale, PIXEL_ZERO if kind == "uint8" else 0)


def _add_quantized(graph: Any, index: int, kind: str, scale: float, zero: int) -> int:
    tensor = _twin(graph, index, kind.upper())
    tensor.quantization = tflite_flatbuffer.schema().QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [float(scale)], [int(zero)]
    return _append(graph, tensor)


def add_float_twin(graph: Any, index: int, name: str = "") -> int:
    """Add a float32 tensor of the same shape; return its index."""
    tensor = _twin(graph, index, "FLOAT32")
    tensor.name = name
    return _append(graph, tensor)


def add_scalar(model: Any, name: str, value: float) -> int:
    """Add a float32 scalar; return its index."""
    import numpy as np

    api = tflite_flatbuffer.schema()
    buffer, tensor = api.BufferT(), api.TensorT()
    buffer.data = np.frombuffer(np.float32(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.hasRank, tensor.name = [], True, name
    tensor.type, tensor.buffer = api.TensorType.FLOAT32, len(model.buffers) - 1
    return _append(model.subgraphs[0], tensor)


def add_shape(model: Any, name: str, values: list[int]) -> int:
    """Add an int32 vector, as RESHAPE takes; return its index."""
    import numpy as np

    api = tflite_flatbuffer.schema()
    buffer, tensor = api.BufferT(), api.TensorT()
    buffer.data = np.frombuffer(np.asarray(values, np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.hasRank, tensor.name = [len(values)], True, name
    tensor.type, tensor.buffer = api.TensorType.INT32, len(model.buffers) - 1
    return _append(model.subgraphs[0], tensor)


def insert(model: Any, kind: str, inputs: list[int], output: int, place: int) -> None:
    """Insert an operation into the main graph."""
    api = tflite_flatbuffer.schema()
    number = getattr(api.BuiltinOperator, kind)
    codes = [c.builtinCode for c in model.operatorCodes]
    if number not in codes:
        code = api.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = _VERSIONS.get(kind, 1)
        model.operatorCodes.append(code)
        codes.append(number)
    op = api.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = codes.index(number), inputs, [output]
    options = f"{kind.capitalize()}Options"  # the schema's names of one word
    if hasattr(api, f"{options}T"):  # activations have no options
        op.builtinOptionsType = getattr(api.BuiltinOptions, options)
        op.builtinOptions = getattr(api, f"{options}T")()
    model.subgraphs[0].operators.insert(place, op)


def _twin(graph: Any, index: int, kind: str) -> Any:
    api = tflite_flatbuffer.schema()
    tensor = api.TensorT()
    tensor.shape, tensor.hasRank = graph.tensors[index].shape, True
    tensor.type = getattr(api.TensorType, kind)
    tensor.buffer = 0
    return tensor


def _append(graph: Any, tensor: Any) -> int:
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
