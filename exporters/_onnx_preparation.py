"""Rewrites a TFLite graph so that tf2onnx converts all of it, and keeps the names of its layers.

It works on the copy that only tf2onnx reads. What it adds computes the same.
"""

from __future__ import annotations

import math
from typing import Any

from edgezoo.exporters import _tflite_graph as edit
from edgezoo.formats import tflite_flatbuffer

# Fused activations that tf2onnx reads, and the operations that compute those that are taken out.
_UNFUSED = {"RELU": "RELU", "RELU_N1_TO_1": "RELU_N1_TO_1", "RELU6": "RELU6", "TANH": "TANH"}
_KNOWN_FUSED = ("NONE", "RELU", "RELU6", "TANH")


def prepare(model: Any) -> bool:
    """Rewrite the main graph in place; return whether anything was changed."""
    graph, changed = model.subgraphs[0], False
    for op in list(graph.operators):
        fused = _fused(op)
        dense = tflite_flatbuffer.op_name(model, op) == "FULLY_CONNECTED"
        if dense and len(graph.tensors[op.outputs[0]].shape) != 2:
            _flatten_dense(model, op, fused)
            changed = True
        elif fused not in _KNOWN_FUSED and fused in _UNFUSED:
            _set_activation(model, op, _between(graph, op, graph.tensors[op.outputs[0]].shape))
            changed = True
    return changed


def _fused(op: Any) -> str:
    """Return the name of the activation that is fused into an operation."""
    number = getattr(op.builtinOptions, "fusedActivationFunction", 0)
    kinds = vars(tflite_flatbuffer.schema().ActivationFunctionType).items()
    return str(next(name for name, value in kinds if value == number))


def _between(graph: Any, op: Any, shape: Any) -> tuple[int, str, int]:
    """Let an operation write a new tensor; return its former output, activation, the new tensor."""
    output, fused = int(op.outputs[0]), _fused(op)
    name = f"{tflite_flatbuffer.text(graph.tensors[output].name)}/linear"
    inner = edit.add_float_twin(graph, output, name)
    graph.tensors[inner].shape = [int(n) for n in shape]
    op.outputs = [inner]
    op.builtinOptions.fusedActivationFunction = 0
    return output, fused, inner


def _set_activation(model: Any, op: Any, between: tuple[int, str, int]) -> None:
    """Compute the activation behind an operation."""
    output, fused, inner = between
    place = model.subgraphs[0].operators.index(op) + 1
    edit.insert(model, _UNFUSED[fused], [inner], output, place)


def _flatten_dense(model: Any, op: Any, fused: str) -> None:
    """Let a dense layer work on (rows, features): tf2onnx writes no Gemm for other shapes.

    A Gemm has a bias, the pair-safe grid and a name; a MatMul and an Add have none of them.
    """
    graph = model.subgraphs[0]
    shape = [int(n) for n in graph.tensors[op.outputs[0]].shape]
    features = int(graph.tensors[op.inputs[1]].shape[1])
    source = int(op.inputs[0])
    rows = math.prod(int(n) for n in graph.tensors[source].shape) // features
    name = tflite_flatbuffer.text(graph.tensors[op.outputs[0]].name)
    place = graph.operators.index(op)
    flat = edit.add_float_twin(graph, source, f"{name}/flat")
    _insert_reshape(model, source, flat, [rows, features], place)
    op.inputs = [flat, *list(op.inputs)[1:]]
    op.builtinOptions.keepNumDims = False
    output, _, inner = _between(graph, op, [rows, shape[-1]])
    end = output
    if fused != "NONE":
        end = edit.add_float_twin(graph, output, f"{name}/shaped")
        edit.insert(model, _UNFUSED[fused], [end], output, place + 2)
    _insert_reshape(model, inner, end, shape, place + 2)


def _insert_reshape(model: Any, source: int, target: int, shape: list[int], place: int) -> None:
    graph = model.subgraphs[0]
    graph.tensors[target].shape = shape
    name = f"{tflite_flatbuffer.text(graph.tensors[target].name)}/shape"
    edit.insert(model, "RESHAPE", [source, edit.add_shape(model, name, shape)], target, place)
    graph.operators[place].builtinOptions.newShape = shape
