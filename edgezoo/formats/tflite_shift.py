"""Adds a constant to the input of a float TFLite network, as its first operation."""

from __future__ import annotations

from typing import Any

from edgezoo.formats import tflite_flatbuffer

SHIFTED = "/shifted"


def add_in_front(model: Any, offset: float) -> None:
    """Let a network take values that are smaller by a constant; the input keeps its name.

    What the network computes with becomes `image/shifted`.
    """
    import numpy as np

    api, graph = tflite_flatbuffer.schema(), model.subgraphs[0]
    inner = int(graph.inputs[0])
    name = tflite_flatbuffer.text(graph.tensors[inner].name)
    outer, constant, buffer = api.TensorT(), api.TensorT(), api.BufferT()
    outer.shape, outer.hasRank, outer.name = graph.tensors[inner].shape, True, name
    outer.type, outer.buffer = api.TensorType.FLOAT32, 0
    buffer.data = np.frombuffer(np.float32(offset).tobytes(), np.uint8)
    model.buffers.append(buffer)
    constant.shape, constant.hasRank, constant.name = [], True, f"{name}/shift"
    constant.type, constant.buffer = api.TensorType.FLOAT32, len(model.buffers) - 1
    graph.tensors += [outer, constant]
    graph.tensors[inner].name = f"{name}{SHIFTED}"
    code = api.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = api.BuiltinOperator.ADD
    code.version = 1
    model.operatorCodes.append(code)
    op = api.OperatorT()
    op.opcodeIndex, op.outputs = len(model.operatorCodes) - 1, [inner]
    op.inputs = [len(graph.tensors) - 2, len(graph.tensors) - 1]
    op.builtinOptionsType, op.builtinOptions = api.BuiltinOptions.AddOptions, api.AddOptionsT()
    graph.operators.insert(0, op)
    graph.inputs = [len(graph.tensors) - 2]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = len(graph.tensors) - 2


def shift_of(model: Any) -> float | None:
    """Return the constant that `add_in_front` added; None for other networks."""
    graph = model.subgraphs[0]
    first = graph.operators[0]
    name = tflite_flatbuffer.text(graph.tensors[first.outputs[0]].name)
    if tflite_flatbuffer.op_name(model, first) != "ADD" or not name.endswith(SHIFTED):
        return None
    values = tflite_flatbuffer.constant(model, graph.tensors[first.inputs[1]])
    return None if values is None else float(values)
