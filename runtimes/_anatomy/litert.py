"""Quantization in TFLite files: each tensor has scale and zero point."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.anatomy import Anatomy, Grid, LayerConstants, Trace
from edgezoo.core.artifact import Artifact
from edgezoo.core.protocols import Session
from edgezoo.formats import operators, tflite_flatbuffer
from edgezoo.runtimes import litert

# Operations that may precede the first layer: conversion of the input type, normalization.
_ENTRY = {"QUANTIZE", "SUB", "MUL", "ADD"}
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class LiteRtAnatomy:
    """Reader of `.tflite`."""

    def read(self, path: Path) -> Anatomy:
        """See `AnatomyReader`."""
        model = tflite_flatbuffer.read_model(path)
        graph = model.subgraphs[0]
        layers = {}
        for op in graph.operators:
            if tflite_flatbuffer.op_name(model, op) in operators.TFLITE:
                constants = _constants(model, [graph.tensors[int(i)] for i in op.inputs if i >= 0])
                if constants is not None:
                    layers[_name(graph, int(op.outputs[0]))] = constants
        grids = {}
        for op in graph.operators:
            for i in op.outputs:
                # The output of a DEQUANTIZE is floating point; its input has the grid.
                dequantizes = tflite_flatbuffer.op_name(model, op) == "DEQUANTIZE"
                grid = _grid(graph.tensors[int(op.inputs[0] if dequantizes else i)])
                if grid is not None:
                    grids[_name(graph, int(i))] = grid
        return Anatomy(layers, grids, _grid(graph.tensors[_entrance(model)]), _readings(model))

    def open(self, artifact: Artifact) -> Session:
        """See `AnatomyReader`."""
        return litert.RUNTIME.open(artifact)

    @contextmanager
    def trace(self, path: Path, names: Collection[str]) -> Iterator[LiteRtTracer]:
        """See `AnatomyReader`."""
        model = tflite_flatbuffer.read_model(path)
        graph = model.subgraphs[0]
        entrance = _entrance(model)
        computed = dict.fromkeys(int(i) for op in graph.operators for i in op.outputs)
        shown = [i for i in computed if _name(graph, i) in names or i == entrance]
        first = int(graph.outputs[0])  # stays first: a session returns the first output
        graph.outputs = np.asarray([first, *(i for i in shown if i != first)], np.int32)
        model.signatureDefs = None  # they name the previous outputs
        with tempfile.TemporaryDirectory(prefix="edgezoo-trace-") as folder:
            copy = Path(folder, path.name)
            tflite_flatbuffer.write_model(model, copy)
            session = litert.open_on_cpu(copy)
            grids = {i: _grid(graph.tensors[i]) for i in (*shown, entrance)}
            named = {i: _name(graph, i) for i in shown}
            with session:
                yield LiteRtTracer(session, named, grids, entrance)


@dataclass(frozen=True, slots=True)
class LiteRtTracer:
    """An interpreter of a copy whose inner tensors are outputs."""

    session: litert.LiteRtSession
    names: dict[int, str]
    grids: dict[int, Grid | None]
    entrance: int

    def run(self, batch: NDArray[Any]) -> Trace:
        """See `Tracer`."""
        scores = self.session.run(batch)
        values = {i: self._real(i, self.session.tensor(i)) for i in self.names}
        entered = values.get(self.entrance)
        if entered is None:  # the first layer reads the file's own input
            entered = self._real(self.entrance, batch)
        return Trace(scores, entered, {self.names[i]: values[i] for i in self.names})

    def _real(self, index: int, raw: NDArray[Any]) -> NDArray[np.float32]:
        values = raw.astype(np.float32)
        grid = self.grids[index]
        return values if grid is None else (values - grid.zero_point) * grid.scale


def _readings(model: Any) -> dict[tuple[str, str], Grid]:
    """See `Anatomy`: a QUANTIZE after a float layer has an output of another name."""
    graph = model.subgraphs[0]
    given = {int(i) for i in graph.inputs}
    rounded = {
        int(op.outputs[0]): int(op.inputs[0])
        for op in graph.operators
        if tflite_flatbuffer.op_name(model, op) == "QUANTIZE" and int(op.inputs[0]) not in given
    }
    found = {}
    for op in graph.operators:
        for i in map(int, op.inputs):
            grid = _grid(graph.tensors[i]) if i in rounded else None
            if grid is not None and _grid(graph.tensors[rounded[i]]) is None:
                names = _name(graph, int(op.outputs[0])), _name(graph, rounded[i])
                found[names] = grid
    return found


def _name(graph: Any, index: int) -> str:
    return tflite_flatbuffer.text(graph.tensors[index].name)


def _entrance(model: Any) -> int:
    """Return the tensor that the first layer reads."""
    graph = model.subgraphs[0]
    for op in graph.operators:
        if tflite_flatbuffer.op_name(model, op) not in _ENTRY:
            given = map(int, op.inputs)
            return next(i for i in given if not tflite_flatbuffer.is_constant(model, i))
    return int(graph.inputs[0])


def _grid(tensor: Any) -> Grid | None:
    """Return the grid of a tensor with one scale; None for floating point or indices."""
    quantization, dtype = tensor.quantization, tflite_flatbuffer.tensor_dtype(tensor)
    if quantization is None or quantization.scale is None or dtype not in _RANGES:
        return None
    scale = np.asarray(np.float32(quantization.scale[0]))
    return Grid(scale, np.asarray(np.float32(quantization.zeroPoint[0])), *_RANGES[dtype])


def _constants(model: Any, inputs: list[Any]) -> LayerConstants | None:
    """Return weights and bias of an operation; None if the weights are computed."""
    weights, scales = _dequantize(model, inputs[1])
    if weights is None:
        return None
    bias = _dequantize(model, inputs[2])[0] if len(inputs) > 2 else None
    stored = tflite_flatbuffer.tensor_dtype(inputs[1])
    limit = int(np.iinfo(stored).max) if scales is not None else 0
    return LayerConstants(weights, scales, limit, bias)


def _dequantize(
    model: Any, tensor: Any
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return the real values of a constant, and its scales if it is quantized."""
    stored = tflite_flatbuffer.constant(model, tensor)
    if stored is None:
        return None, None
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return stored.astype(np.float32), None
    scales = np.asarray(quantization.scale, np.float32)
    axis = int(quantization.quantizedDimension) if len(scales) > 1 else None
    shape = [-1 if place == axis else 1 for place in range(stored.ndim)]
    zeros = np.asarray(quantization.zeroPoint, np.float64).reshape(shape)
    real = (stored.astype(np.float64) - zeros) * scales.reshape(shape).astype(np.float64)
    return real.astype(np.float32), scales


READER = LiteRtAnatomy()
