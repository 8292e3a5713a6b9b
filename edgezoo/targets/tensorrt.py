"""NVIDIA GPUs with TensorRT, which reads ONNX files.

TensorRT takes explicit quantization only, of int8 with zero point 0, and adds biases in float
(https://docs.nvidia.com/deeplearning/tensorrt: "Working with Quantized Types"). Its builder runs on
the GPU that it builds for, so there is no compiler here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import interpreting
from edgezoo.core.protocols import CpuOp, Placement, Target

_QDQ = ("QuantizeLinear", "DequantizeLinear")


def place(path: Path) -> Placement:
    """Return which operations TensorRT takes; it refuses a file with others, whole.

    Raises:
        MissingError: onnx is not installed.
        DataError: the file is damaged.
    """
    registry.require_packages(("onnx",), "onnx", "Looking into an .onnx file")
    import onnx

    with interpreting(path):
        graph = onnx.load(str(path), load_external_data=False).graph
        stored = {tensor.name: tensor for tensor in graph.initializer}
        refused = [
            CpuOp(node.op_type, index, reason)
            for index, node in enumerate(graph.node)
            if (reason := _refusal(node, stored))
        ]
        parameters = sum(len(tensor.raw_data) for tensor in stored.values())
    mapped = len(graph.node) - len(refused)
    return Placement(mapped, tuple(refused), int(mapped > 0), parameters, 0)


def _refusal(node: Any, stored: dict[str, Any]) -> str | None:
    """Why TensorRT refuses an operation."""
    import numpy as np
    from onnx import numpy_helper

    if node.op_type not in _QDQ or len(node.input) < 3 or node.input[2] not in stored:
        return None
    zero = numpy_helper.to_array(stored[node.input[2]])
    if zero.dtype == np.int32:
        return "dequantizes an int32 bias; TensorRT takes biases in float (--qdq symmetric)"
    if zero.dtype != np.int8:
        return f"has {zero.dtype} values; TensorRT takes int8 (--qdq symmetric)"
    if zero.any():
        return "has a zero point other than 0; TensorRT takes symmetric ranges (--qdq symmetric)"
    return None


TARGET = Target(
    name="tensorrt",
    about="an NVIDIA GPU with TensorRT",
    formats=("onnx",),
    precisions=("int8",),
    io=("float32", "uint8"),
    place=place,
    qdq="symmetric",
    extra="onnx",
)
