"""Quantization in ONNX files: pairs of QuantizeLinear and DequantizeLinear around float layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.anatomy import Anatomy, Grid, LayerConstants, Trace, channels_last
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import Session
from edgezoo.formats import operators
from edgezoo.runtimes import onnxruntime as runtime
from edgezoo.runtimes._onnx_layers import INTEGER

_MOVING = {"Transpose", "Reshape"}


class OnnxAnatomy:
    """Reader of `.onnx`."""

    def read(self, path: Path) -> Anatomy:
        """See `AnatomyReader`."""
        graph = _Graph(path)
        graph.require_qdq(path)
        layers = {}
        for node in graph.nodes:
            constants = _constants(graph, node) if node.op_type in operators.ONNX else None
            if constants is not None:
                layers[node.output[0].removesuffix("/linear")] = constants
        quantizers = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
        grids = {node.input[0]: graph.grid(node) for node in quantizers}
        entrance = graph.entrance()
        return Anatomy(layers, grids, graph.grid(entrance) if entrance is not None else None)

    def open(self, artifact: Artifact) -> Session:
        """See `AnatomyReader`."""
        return runtime.RUNTIME.open(artifact)

    @contextmanager
    def trace(self, path: Path, names: Collection[str]) -> Iterator[OnnxTracer]:
        """See `AnatomyReader`."""
        import onnx

        graph = _Graph(path)
        quantizers = {n.input[0]: n for n in graph.nodes if n.op_type == "QuantizeLinear"}
        entrance = graph.entrance()
        computed = {name for node in graph.nodes for name in node.output}
        shown: dict[str, tuple[str, Grid | None]] = {}
        for name in names:
            if name in quantizers:
                shown[name] = (quantizers[name].output[0], graph.grid(quantizers[name]))
            elif name in computed:
                shown[name] = (name, None)
        entry: tuple[str, Grid | None] = (graph.first_input(), None)
        if entrance is not None:
            entry = (entrance.input[0], graph.grid(entrance))
        outputs = {value.name for value in graph.model.graph.output}
        for tensor in dict.fromkeys([*(tensor for tensor, _ in shown.values()), entry[0]]):
            if tensor in computed and tensor not in outputs:
                graph.model.graph.output.append(onnx.ValueInfoProto(name=tensor))
        yield OnnxTracer(runtime.session_of(graph.model.SerializeToString(), path), shown, entry)


@dataclass(frozen=True, slots=True)
class OnnxTracer:
    """A default session of a copy whose inner tensors are outputs."""

    session: Any
    shown: dict[str, tuple[str, Grid | None]]
    entry: tuple[str, Grid | None]

    def run(self, batch: NDArray[Any]) -> Trace:
        """See `Tracer`."""
        names = [value.name for value in self.session.get_outputs()]
        given = self.session.get_inputs()[0].name
        found = dict(zip(names, self.session.run(None, {given: batch}), strict=True))
        scores = found[names[0]]
        found[given] = batch
        entered = _real(found[self.entry[0]], self.entry[1])
        if entered.shape[-1] != 3:
            entered = channels_last(entered)
        real = {name: _real(found[tensor], grid) for name, (tensor, grid) in self.shown.items()}
        return Trace(scores, entered, {name: channels_last(real[name]) for name in real})


def _real(raw: NDArray[Any], grid: Grid | None) -> NDArray[np.float32]:
    values = raw.astype(np.float32)
    return values if grid is None else (values - grid.zero_point) * grid.scale


class _Graph:
    """The nodes of a file, with their constants and producers."""

    def __init__(self, path: Path) -> None:
        self.model = runtime.load_model(path)
        self.nodes = list(self.model.graph.node)
        self._constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.producers = {name: node for node in self.nodes for name in node.output}

    def require_qdq(self, path: Path) -> None:
        """Check that the file has float layers between quantizers (QDQ).

        Raises:
            RefusedError: it has operations that compute in integers, or no layer.
        """
        kinds = {node.op_type for node in self.nodes}
        integer = sorted(kinds & set(INTEGER))
        if integer or not kinds & set(operators.ONNX):
            why = f"it computes with {', '.join(integer)}" if integer else "it has no layer"
            raise RefusedError(
                f"{path} cannot be explained: {why}, and only float layers between QuantizeLinear "
                "and DequantizeLinear can be compared with the float network.",
                "Explain a QDQ file, as quantize_static and EdgeZoo write it.",
            )

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the values of an initializer."""
        from onnx import numpy_helper

        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def dequantized(self, name: str) -> tuple[Any, Any]:
        """Return a constant (also after a DequantizeLinear) and its scales, or Nones."""
        plain = self.constant(name)
        if plain is not None:
            return plain.astype(np.float32), None
        node = self._dequantizer(name)
        stored = None if node is None else self.constant(node.input[0])
        if node is None or stored is None:
            return None, None
        scales, zeros = self._parameters(node)
        shape = [1] * stored.ndim
        if scales.size > 1:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape[axis] = -1
        real = (stored.astype(np.float64) - zeros.reshape(shape)) * scales.reshape(shape)
        return real.astype(np.float32), scales.reshape(-1).astype(np.float32)

    def _parameters(self, node: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scale = self.constant(node.input[1])
        zero = self.constant(node.input[2]) if len(node.input) > 2 else None
        scales = np.asarray(scale, np.float64).reshape(-1)
        return scales, np.zeros_like(scales) if zero is None else zero.astype(np.float64)

    def grid(self, node: Any) -> Grid:
        """Return the grid of a QuantizeLinear or DequantizeLinear with one scale."""
        scales, zeros = self._parameters(node)
        zero = self.constant(node.input[2]) if len(node.input) > 2 else None
        limits = np.iinfo(np.uint8 if zero is None else zero.dtype)
        scale, offset = np.float32(scales.flat[0]), np.float32(zeros.flat[0])
        return Grid(np.asarray(scale), np.asarray(offset), int(limits.min), int(limits.max))

    def first_input(self) -> str:
        """Return the input of the first layer with weights, before any transpose.

        Multiplications with computed matrices come first in a file that resizes its input.
        """
        weighted = [node for node in self.nodes if node.op_type in operators.ONNX]
        layers = [node for node in weighted if self.dequantized(node.input[1])[0] is not None]
        name = (layers or weighted)[0].input[0]
        while name in self.producers and self.producers[name].op_type in _MOVING:
            name = self.producers[name].input[0]
        return str(name)

    def entrance(self) -> Any | None:
        """Return the DequantizeLinear before the first weighted layer."""
        return self._dequantizer(self.first_input())

    def _dequantizer(self, name: str) -> Any | None:
        node = self.producers.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None


def _constants(graph: _Graph, node: Any) -> LayerConstants | None:
    weights, scales = graph.dequantized(node.input[1])
    if weights is None:
        return None
    options = {a.name: a.i for a in node.attribute}
    if weights.ndim == 4:
        depthwise = options.get("group", 1) > 1 and weights.shape[1] == 1
        weights = weights.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    elif not options.get("transB"):
        weights = weights.T
    bias = graph.dequantized(node.input[2])[0] if len(node.input) > 2 else None
    return LayerConstants(np.ascontiguousarray(weights), scales, 127, bias)


READER = OnnxAnatomy()
