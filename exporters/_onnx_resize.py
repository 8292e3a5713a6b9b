"""Resize and crop inside an ONNX file, so that it takes a decoded picture of any size.

Pillow's resampling is linear in the pixels: a matrix for the rows, a matrix for the columns. Both
are computed in the graph from the picture's height and width, by operations of opset 13. ONNX's
own Resize has the averaging filter only since opset 18, and few GPU providers have a kernel for it.
Weights have 22 bits behind the point and values are rounded to whole pixels after each of the two
passes, as in Pillow; in float64 that is exact, so the pixels are Pillow's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import InputContract

if TYPE_CHECKING:
    import onnx

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_CUBIC = -0.5  # Keys' parameter, as Pillow has it
_PRECISION = 2.0**22  # of its weights


class _Builder:
    """Nodes and constants of the part that is put in front, in order, with names of their own."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: Any, dtype: str) -> str:
        """Name of a constant."""
        import numpy as np
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Name of a new node's output."""
        from onnx import helper

        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def embed(model: onnx.ModelProto, contract: InputContract) -> None:
    """Let a file that takes square pixels take uint8 RGB, shape (1, height, width, 3), instead.

    Args:
        model: changed in place; its input is the pixels of `contract`, in any type.
        contract: says to which size by which filter.
    """
    import onnx
    from onnx import helper

    graph = model.graph
    border = graph.input[0]
    inner = f"{border.name}/square"
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == border.name:
                node.input[place] = inner
    build = _Builder(f"{border.name}/resize")
    planes = build.add("Transpose", border.name, perm=[0, 3, 1, 2])
    planes = build.add("Cast", planes, to=onnx.TensorProto.DOUBLE)
    shape = build.add("Cast", build.add("Shape", border.name), to=onnx.TensorProto.DOUBLE)
    height, width = (
        build.add("Gather", shape, build.constant(axis, "int64"), axis=0) for axis in (1, 2)
    )
    shorter = build.add("Min", height, width)
    columns = _weights(build, width, shorter, contract, turned=True)
    rows = _weights(build, height, shorter, contract, turned=False)
    narrow = _whole(build, build.add("MatMul", planes, columns))
    square = _whole(build, build.add("MatMul", rows, narrow))
    square = build.add("Transpose", square, perm=[0, 2, 3, 1])
    kind = border.type.tensor_type.elem_type
    build.nodes.append(helper.make_node("Cast", [square], [inner], name=inner, to=kind))
    taken = helper.make_tensor_value_info(
        border.name, onnx.TensorProto.UINT8, [contract.batch, "height", "width", 3]
    )
    border.CopyFrom(taken)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*build.nodes, *kept])
    graph.initializer.extend(build.constants)


def _weights(
    build: _Builder, length: str, shorter: str, contract: InputContract, *, turned: bool
) -> str:
    """The matrix that resizes one axis and cuts out its centre: (size, length), or turned.

    Made turned, not turned afterwards: onnxruntime 1.10 would make one operation of that and the
    product, for which it has no kernel.

    See Resample.c of Pillow: an output pixel is the average of the pixels around its centre, by a
    filter that is stretched where the picture shrinks.
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
    centres = build.add("Mul", build.add("Add", places, skipped), step)
    pixels = build.add("Range", build.constant(0.0, "float64"), length, one)
    along = build.constant([0 if turned else 1], "int64")
    pixels = build.add("Unsqueeze", pixels, build.constant([1 if turned else 0], "int64"))
    away = build.add("Abs", build.add("Sub", build.add("Add", pixels, half), centres))
    away = build.add("Mul", away, build.add("Div", one, build.add("Max", step, one)))
    values = _filter(build, away, contract.resize_filter)
    total = build.add("ReduceSum", values, along, keepdims=1)
    values = build.add("Mul", values, build.add("Div", one, total))
    precision = build.constant(_PRECISION, "float64")
    whole = _floor(build, build.add("Add", _scaled(build, values, precision), half))
    return build.add("Div", build.add("Mul", whole, build.add("Sign", values)), precision)


def _scaled(build: _Builder, values: str, factor: str) -> str:
    """Absolute values times a factor: Pillow rounds halves away from zero."""
    return build.add("Mul", build.add("Abs", values), factor)


def _filter(build: _Builder, away: str, name: str) -> str:
    """The filter's height at a distance from its centre."""
    zero, one = build.constant(0.0, "float64"), build.constant(1.0, "float64")
    if name == "bilinear":
        return build.add("Max", build.add("Sub", one, away), zero)
    near = _polynomial(build, away, (_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0))
    far = _polynomial(build, away, (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC))
    end = build.constant(_SUPPORT[name], "float64")
    far = build.add("Where", build.add("Less", away, end), far, zero)
    return build.add("Where", build.add("Less", away, one), near, far)


def _polynomial(build: _Builder, x: str, coefficients: tuple[float, ...]) -> str:
    """By Horner's rule, the highest power first."""
    value = build.constant(coefficients[0], "float64")
    for number in coefficients[1:]:
        value = build.add("Mul", value, x)
        value = build.add("Add", value, build.constant(number, "float64"))
    return value


def _whole(build: _Builder, values: str) -> str:
    """Rounded to whole numbers of 0 to 255."""
    raised = build.add("Add", values, build.constant(0.5, "float64"))
    low, high = build.constant(0.0, "float64"), build.constant(255.5, "float64")
    return _floor(build, build.add("Clip", raised, low, high))


def _floor(build: _Builder, values: str) -> str:
    """The whole part of what is not negative: onnxruntime 1.10 has no Floor of float64."""
    import onnx

    whole = build.add("Cast", values, to=onnx.TensorProto.INT64)
    return build.add("Cast", whole, to=onnx.TensorProto.DOUBLE)
