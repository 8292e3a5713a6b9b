"""Quantization in OpenVINO files: FakeQuantize before layers, integer weights with a Multiply."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.anatomy import Anatomy, Grid, LayerConstants, Trace, channels_last
from edgezoo.core.artifact import Artifact
from edgezoo.core.protocols import Session
from edgezoo.formats import operators
from edgezoo.runtimes import openvino as runtime

_MOVING = {"Transpose", "Reshape"}


class OpenVinoAnatomy:
    """Reader of `.xml` with its `.bin`."""

    def read(self, path: Path) -> Anatomy:
        """See `AnatomyReader`."""
        ops = runtime.read_model(path).get_ordered_ops()
        layers = {}
        for op in ops:
            constants = _constants(op) if op.get_type_name() in operators.OPENVINO else None
            if constants is not None:
                for name in _layer_names(op):
                    layers[name] = constants
        quantizers = [op for op in ops if op.get_type_name() == "FakeQuantize"]
        grids = {name: _grid(op) for op in quantizers for name in op.input_value(0).get_names()}
        entrance = _entrance(ops)
        quantized = entrance.get_node().get_type_name() == "FakeQuantize"
        return Anatomy(layers, grids, _grid(entrance.get_node()) if quantized else None)

    def open(self, artifact: Artifact) -> Session:
        """See `AnatomyReader`."""
        return runtime.open_exact(artifact.path)

    @contextmanager
    def trace(self, path: Path, names: Collection[str]) -> Iterator[OpenVinoTracer]:
        """See `AnatomyReader`."""
        model = runtime.read_model(path)
        ops = model.get_ordered_ops()
        entrance = _entrance(ops)
        # The output of the quantizer is preferred to the tensor itself: it is what layers read.
        shown: dict[str, object] = {}
        for op in ops:
            if op.get_type_name() == "FakeQuantize":
                shown |= {n: op.output(0) for n in op.input_value(0).get_names() if n in names}
        for op in ops:
            for port in op.outputs():
                for name in port.get_names() if op.get_type_name() != "Result" else ():
                    if name in names:
                        shown.setdefault(name, port)
        model.add_outputs([entrance, *shown.values()])
        places = {_key(o.get_node().input_value(0)): i for i, o in enumerate(model.outputs)}
        inner = {name: places[_key(port)] for name, port in shown.items()}
        compiled, _ = runtime.compile_model(model, path, exact=True)
        request = compiled.create_infer_request()
        yield OpenVinoTracer(request, places[_key(entrance)], inner)


@dataclass(frozen=True, slots=True)
class OpenVinoTracer:
    """A compiled copy whose inner tensors are outputs, by their index."""

    request: Any
    entrance: int
    inner: dict[str, int]

    def run(self, batch: NDArray[Any]) -> Trace:
        """See `Tracer`."""
        found = self.request.infer([batch])
        entered = np.array(found[self.entrance], np.float32)
        if entered.shape[-1] != 3:
            entered = channels_last(entered)
        values = {name: channels_last(np.array(found[i])) for name, i in self.inner.items()}
        return Trace(np.array(found[0]), entered, values)


def _key(port: Any) -> tuple[str, int]:
    return port.get_node().get_friendly_name(), port.get_index()


def _entrance(ops: list[Any]) -> Any:
    """Return the port that the first weighted layer reads, before any transpose."""
    first = next(op for op in ops if op.get_type_name() in operators.OPENVINO)
    port = first.input_value(0)
    while port.get_node().get_type_name() in _MOVING:
        port = port.get_node().input_value(0)
    return port


def _layer_names(op: Any) -> list[str]:
    """Return the tensor names of a layer: its own, and those of the addition of its bias."""
    names = set(op.output(0).get_names())
    for target in _additions(op):
        names |= target.get_node().output(0).get_names()
    return sorted({name.removesuffix("/linear") for name in names})


def _additions(op: Any) -> list[Any]:
    """Return the inputs of additions that read an operation."""
    targets = op.output(0).get_target_inputs()
    return [target for target in targets if target.get_node().get_type_name() == "Add"]


def _value(port: Any) -> NDArray[Any] | None:
    """Return the values of a constant, also after a Convert."""
    node = port.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return cast("NDArray[Any]", node.data) if node.get_type_name() == "Constant" else None


def _grid(op: Any) -> Grid:
    """Return the grid of a FakeQuantize, which has one range or one per channel."""
    bounds = [np.asarray(_value(op.input_value(i)), np.float32) for i in (1, 2)]
    low, high = (bound.reshape(() if bound.size == 1 else -1) for bound in bounds)
    levels = int(op.get_attributes()["levels"])
    # The quantized values 0 to levels - 1 are spread evenly from low to high.
    scale = (high - low) / np.float32(levels - 1)
    return Grid(scale, np.asarray(-low / scale, np.float32), 0, levels - 1)


def _constants(op: Any) -> LayerConstants | None:
    """Return weights (a constant, or integers times a scale) and the bias that is added next."""
    source, scales = op.input_value(1), None
    if source.get_node().get_type_name() == "Multiply":
        scales = _value(source.get_node().input_value(1))
        source = source.get_node().input_value(0)
    stored = _value(source)
    if stored is None:
        return None
    weights = np.asarray(stored, np.float32)
    if scales is not None:
        weights = weights * np.asarray(scales, np.float32)
        scales = np.asarray(scales, np.float32).reshape(-1)
    if op.get_type_name() == "GroupConvolution":  # (groups, out, in, height, width)
        weights = weights.reshape(-1, *weights.shape[2:])
        weights = weights.transpose((1, 2, 3, 0) if weights.shape[1] == 1 else (0, 2, 3, 1))
    elif weights.ndim == 4:
        weights = weights.transpose(0, 2, 3, 1)
    elif not op.get_attributes().get("transpose_b"):
        weights = weights.T
    return LayerConstants(np.ascontiguousarray(weights), scales, 127, _bias(op))


def _bias(op: Any) -> NDArray[np.float32] | None:
    for target in _additions(op):
        values = _value(target.get_node().input_value(1 - target.get_index()))
        return None if values is None else np.asarray(values, np.float32).reshape(-1)
    return None


READER = OpenVinoAnatomy()
