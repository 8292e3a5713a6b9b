"""A TFLite file as operations with their tensors, for the rules of targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.formats import operators, tflite_flatbuffer
from edgezoo.formats.operators import COMPILED

_WEIGHTED = (*operators.TFLITE, "TRANSPOSE_CONV")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        index: of the tensor in the file.
        shape: -1 for a length that is not fixed.
        values: of a constant, as a numpy array; otherwise None.
        variable: state that the network keeps between steps.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Any
    variable: bool
    zero_point: int

    @property
    def bytes(self) -> int:
        """Memory of the tensor for a batch of one."""
        size = {"int64": 8, "float64": 8, "float32": 4, "int32": 4, "float16": 2, "int16": 2}
        return size.get(self.dtype, 1) * math.prod(max(1, length) for length in self.shape)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a file; optional inputs that are absent are None."""

    index: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any

    @property
    def weights(self) -> Tensor | None:
        """The constant kernel of an operation with weights."""
        kernel = self.inputs[1] if self.name in _WEIGHTED and len(self.inputs) > 1 else None
        return kernel if kernel is not None and kernel.values is not None else None

    @property
    def activations(self) -> tuple[Tensor, ...]:
        """Computed tensors: inputs that are not constants, and outputs."""
        inputs = (tensor for tensor in self.inputs if tensor and tensor.values is None)
        return (*inputs, *self.outputs)

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Inputs whose values are in the file."""
        return tuple(tensor for tensor in self.inputs if tensor and tensor.values is not None)

    def option(self, name: str, default: int = 0) -> int:
        """Return a numeric option of the operation."""
        return int(getattr(self.options, name, default))


def read(path: Path) -> list[Operation]:
    """Read the operations of a plain TFLite file, in file order.

    Raises:
        DataError: the file is not a TFLite file, or is damaged.
        RefusedError: the file was compiled, so that its operations are hidden.
    """
    model = tflite_flatbuffer.read_model(path)
    graph = model.subgraphs[0]
    tensors = [_tensor(model, graph, i) for i in range(len(graph.tensors))]
    operations = []
    for i, op in enumerate(graph.operators):
        name = tflite_flatbuffer.op_name(model, op)
        if name in COMPILED:
            raise RefusedError(
                f"{path} was already compiled for {COMPILED[name][1]}: its operations are hidden.",
                "Name the file that it was compiled from.",
            )
        inputs = tuple(tensors[k] if k >= 0 else None for k in op.inputs)
        outputs = tuple(tensors[k] for k in op.outputs)
        operations.append(Operation(i, name, inputs, outputs, op.builtinOptions))
    return operations


def _tensor(model: Any, graph: Any, index: int) -> Tensor:
    tensor = graph.tensors[index]
    has_data = tensor.buffer < len(model.buffers)
    values = tflite_flatbuffer.constant(model, tensor) if has_data else None
    lengths: Sequence[int] = tensor.shape if tensor.shape is not None else ()
    if tensor.shapeSignature is not None and len(tensor.shapeSignature):
        lengths = tensor.shapeSignature
    points = tensor.quantization.zeroPoint if tensor.quantization else None
    zero = int(points[0]) if points is not None and len(points) else 0
    name, dtype = tflite_flatbuffer.text(tensor.name), tflite_flatbuffer.tensor_dtype(tensor)
    shape = tuple(int(n) for n in lengths)
    return Tensor(index, name, dtype, shape, values, bool(tensor.isVariable), zero)
