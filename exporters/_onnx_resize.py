"""Resizes and crops inside an ONNX file, so that it takes a decoded image of any size.

Pillow's resampling is linear in the pixels: resized = rows @ image @ columns, with a matrix for
each axis. The graph computes both from the image's height and width, by operations of opset 13.
ONNX's own Resize has the averaging filter only since opset 18, and few GPU providers support it.
As in Pillow, weights are fixed-point numbers with 22 fractional bits, and values are rounded to
integers after each of the two passes; in float64 that is exact, so the pixels are Pillow's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import InputContract
from edgezoo.exporters._onnx_graph import rename_reads

if TYPE_CHECKING:
    import onnx

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_CUBIC = -0.5  # the parameter a of Keys' filter in Pillow
_PRECISION = 2.0**22  # of its weights


class _Builder:
    """Collects nodes and constants for the front of a graph, in order, and names them."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: Any, dtype: str) -> str:
        """Add a constant and return its name."""
        import numpy as np
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def embed(model: onnx.ModelProto, contract: InputContract) -> None:
    """Let a file that takes the contract's pixels take uint8 RGB images of any size.

    Their shape is (1, height, width, 3).
    """
    import onnx
    from onnx import helper

    graph = model.graph
    taken = graph.input[0]
    inner = f"{taken.name}/square"
    rename_reads(graph.node, taken.name, inner)
    build = _Builder(f"{taken.name}/resize")
    planes = build.add("Transpose", taken.name, perm=[0, 3, 1, 2])
    planes = build.add("Cast", planes, to=onnx.TensorProto.DOUBLE)
    shape = build.add("Cast", build.add("Shape", taken.name), to=onnx.TensorProto.DOUBLE)
    height, width = (
        build.add("Gather", shape, build.constant(axis, "int64"), axis=0) for axis in (1, 2)
    )
    shorter = build.add("Min", height, width)
    columns = _weights(build, width, shorter, contract, turned=True)
    rows = _weights(build, height, shorter, contract, turned=False)
    narrow = _whole(build, build.add("MatMul", planes, columns))
    square = _whole(build, build.add("MatMul", rows, narrow))
    square = build.add("Transpose", square, perm=[0, 2, 3, 1])
    kind = taken.type.tensor_type.elem_type
    build.nodes.append(helper.make_node("Cast", [square], [inner], name=inner, to=kind))
    size: list[str | int | None] = [contract.batch, "height", "width", 3]
    taken.CopyFrom(helper.make_tensor_value_info(taken.name, onnx.TensorProto.UINT8, size))
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*build.nodes, *kept])
    graph.initializer.extend(build.constants)


def _weights(
    build: _Builder, length: str, shorter: str, contract: InputContract, *, turned: bool
) -> str:
    """Add the matrix that resizes one axis and cuts out its centre: (size, length) or transposed.

    It is built transposed: onnxruntime 1.10 would fuse a Transpose with the MatMul into an
    operation for which it has no float64 kernel.

    The steps are those of precompute_coeffs in Pillow's Resample.c: (1) an output pixel n that the
    crop keeps has its centre at (n + skipped + 0.5) * step in the input; (2) its weights are the
    filter at the distance of each input pixel, stretched by the step where the image shrinks;
    (3) they are divided by their sum, and (4) rounded to 22 fractional bits.
    """
    size, target = contract.input_size, contract.resize.shorter_side(contract.input_size)
    half, one = build.constant(0.5, "float64"), build.constant(1.0, "float64")
    side = build.constant(float(target), "float64")
    scaled = build.add("Mul", length, build.add("Div", side, shorter))
    scaled = build.add("Max", side, build.add("Round", scaled))
    skipped = build.add("Sub", scaled, build.constant(float(size), "float64"))
    skipped = _floor(build, build.add("Mul", skipped, half))
    step = build.add("Div", length, scaled)
    numbers = [n + 0.5 for n in range(size)]
    places = build.constant([numbers] if turned else [[n] for n in numbers], "float64")
    centres = build.add("Mul", build.add("Add", places, skipped), step)  # (1)
    pixels = build.add("Range", build.constant(0.0, "float64"), length, one)
    along = build.constant([0 if turned else 1], "int64")
    pixels = build.add("Unsqueeze", pixels, build.constant([1 if turned else 0], "int64"))
    away = build.add("Abs", build.add("Sub", build.add("Add", pixels, half), centres))
    away = build.add("Mul", away, build.add("Div", one, build.add("Max", step, one)))
    values = _filter(build, away, contract.resize_filter)  # (2)
    total = build.add("ReduceSum", values, along, keepdims=1)
    values = build.add("Mul", values, build.add("Div", one, total))  # (3)
    precision = build.constant(_PRECISION, "float64")
    scaled = build.add("Mul", build.add("Abs", values), precision)  # (4): halves away from zero
    whole = _floor(build, build.add("Add", scaled, half))
    return build.add("Div", build.add("Mul", whole, build.add("Sign", values)), precision)


def _filter(build: _Builder, away: str, name: str) -> str:
    """Evaluate the filter at a distance from its centre."""
    zero, one = build.constant(0.0, "float64"), build.constant(1.0, "float64")
    if name == "bilinear":
        return build.add("Max", build.add("Sub", one, away), zero)
    near = _polynomial(build, away, (_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0))
    far = _polynomial(build, away, (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC))
    end = build.constant(_SUPPORT[name], "float64")
    far = build.add("Where", build.add("Less", away, end), far, zero)
    return build.add("Where", build.add("Less", away, one), near, far)


def _polynomial(build: _Builder, x: str, coefficients: tuple[float, ...]) -> str:
    """Evaluate a polynomial by Horner's rule, the highest power first."""
    value = build.constant(coefficients[0], "float64")
    for number in coefficients[1:]:
        value = build.add("Mul", value, x)
        value = build.add("Add", value, build.constant(number, "float64"))
    return value


def _whole(build: _Builder, values: str) -> str:
    """Round to integers of 0 to 255."""
    raised = build.add("Add", values, build.constant(0.5, "float64"))
    low, high = build.constant(0.0, "float64"), build.constant(255.5, "float64")
    return _floor(build, build.add("Clip", raised, low, high))


def _floor(build: _Builder, values: str) -> str:
    """Round down numbers of at least 0: onnxruntime 1.10 has no Floor of float64."""
    import onnx

    whole = build.add("Cast", values, to=onnx.TensorProto.INT64)
    return build.add("Cast", whole, to=onnx.TensorProto.DOUBLE)
