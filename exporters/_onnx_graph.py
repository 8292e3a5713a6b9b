"""Edits of a float ONNX graph after its conversion; layers are found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.core.spec import Normalization
from edgezoo.formats import operators, tflite_flatbuffer, tflite_shift

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


def rename_tensors(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Give tensors other names wherever they are written or read."""
    for node in nodes:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, name)


def rename_reads(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Let nodes read another tensor in place of one."""
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def readers_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[Any]]:
    """Return the nodes that read each tensor."""
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def normalize_in_front(model: onnx.ModelProto, how: Normalization) -> None:
    """Let a float network take pixels: `pixel * scale + offset` with one scale and one offset."""
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    name = graph.input[0].name
    rename_reads(graph.node, name, f"{name}/normalized")
    for role, number in (("scale", how.scale[0]), ("offset", how.offset[0])):
        array = np.asarray(number, np.float32)
        graph.initializer.append(numpy_helper.from_array(array, f"{name}/{role}"))
    add = helper.make_node("Add", [f"{name}/scaled", f"{name}/offset"], [f"{name}/normalized"])
    graph.node.insert(0, add)
    graph.node.insert(0, helper.make_node("Mul", [name, f"{name}/scale"], [f"{name}/scaled"]))


def shift_in_front(model: onnx.ModelProto, offset: float) -> None:
    """Add a constant to the input, which keeps its name."""
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    name = graph.input[0].name
    shifted, constant = f"{name}{tflite_shift.SHIFTED}", f"{name}/shift"
    rename_reads(graph.node, name, shifted)
    graph.initializer.append(numpy_helper.from_array(np.asarray(offset, np.float32), constant))
    graph.node.insert(0, helper.make_node("Add", [name, constant], [shifted]))


def take_pixels(model: onnx.ModelProto, input_scale: float, in_float: bool) -> None:
    """Let a quantized network take pixels: the quantization of its input normalizes them.

    It takes (pixel - 128) * input_scale before, and the pixels as uint8, or float32 if `in_float`.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    value = graph.input[0]
    entrance, quantize = _first_quantizer(graph)
    if quantize is None:
        _normalize_pixels(graph, input_scale, in_float)  # the first layer stays in float
        return
    if not in_float:
        rename_reads(graph.node, quantize.output[0], entrance)
        graph.node.remove(quantize)
        value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        del graph.value_info[:]  # it still has the float types
        return
    for place, number in ((1, np.float32(1)), (2, np.uint8(0))):
        name = "image/pixel_scale" if place == 1 else "image/pixel_zero"
        graph.initializer.append(numpy_helper.from_array(np.asarray(number), name))
        quantize.input[place] = name


def take_pixels_around_zero(model: onnx.ModelProto, input_scale: float, in_float: bool) -> None:
    """Let a symmetrically quantized network take pixels; arguments as of `take_pixels`.

    Pixels are shifted in front of it, and its first step becomes one pixel: none is rounded.
    """
    import numpy as np
    from onnx import numpy_helper

    graph = model.graph
    _, quantize = _first_quantizer(graph)
    if quantize is not None:
        step = np.asarray(input_scale, np.float32)
        for tensor in graph.initializer:
            if tensor.name == quantize.input[1]:
                tensor.CopyFrom(numpy_helper.from_array(step, tensor.name))
    _normalize_pixels(graph, input_scale, in_float)
    if not in_float:
        del graph.value_info[:]  # it still has the float types


def _first_quantizer(graph: onnx.GraphProto) -> tuple[str, onnx.NodeProto | None]:
    """Return the tensor behind the input's transposes, and the node that quantizes it, if any."""
    entrance = graph.input[0].name
    for node in graph.node:  # in order, which follows a chain of transposes
        if node.op_type == "Transpose" and node.input[0] == entrance:
            entrance = node.output[0]
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    return entrance, next((node for node in quantizers if node.input[0] == entrance), None)


def _normalize_pixels(graph: onnx.GraphProto, input_scale: float, in_float: bool) -> None:
    """Let a graph that begins in float take pixels: (pixel - 128) * scale."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    value = graph.input[0]
    name = value.name
    rename_reads(graph.node, name, f"{name}/normalized")
    nodes, pixels = [], name
    if not in_float:
        value.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        pixels = f"{name}/float"
        nodes.append(helper.make_node("Cast", [name], [pixels], to=onnx.TensorProto.FLOAT))
    for role, number in (("zero", PIXEL_ZERO), ("scale", input_scale)):
        array = np.asarray(number, np.float32)
        graph.initializer.append(numpy_helper.from_array(array, f"{name}/{role}"))
    centred = f"{name}/centred"
    nodes.append(helper.make_node("Sub", [pixels, f"{name}/zero"], [centred]))
    nodes.append(helper.make_node("Mul", [centred, f"{name}/scale"], [f"{name}/normalized"]))
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


def name_output(model: onnx.ModelProto, name: str) -> None:
    """Move the name of the feature map before its transposition to the output."""
    output = model.graph.output[0]
    if output.name == name:
        return
    rename_tensors(model.graph.node, {name: f"{name}/nchw", output.name: name})
    output.name = name


# Elementwise operations, if all inputs but the first are scalars.
_ELEMENTWISE = ("Mul", "Add", "Sub", "Cast", "QuantizeLinear", "DequantizeLinear")


def take_nchw(model: onnx.ModelProto) -> None:
    """Let a network take NCHW.

    Its operations do already: the transposition from NHWC is removed where only elementwise
    operations come before it; elsewhere another one is inserted in front.
    """
    from onnx import helper

    graph = model.graph
    value = graph.input[0]
    batch, height, width, channels = (axis.dim_value for axis in value.type.tensor_type.shape.dim)
    found = _first_transposition(graph)
    if found is None:
        name = value.name
        rename_reads(graph.node, name, f"{name}/nhwc")
        transpose = helper.make_node("Transpose", [name], [f"{name}/nhwc"], perm=[0, 2, 3, 1])
        graph.node.insert(0, transpose)
    else:
        graph.node.remove(found)
        rename_reads(graph.node, found.output[0], found.input[0])
    sizes = (batch, channels, height, width)
    for axis, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        axis.dim_value = size
    del graph.value_info[:]  # some still have the shapes of NHWC


def _first_transposition(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """Return the transposition of the input to NCHW, if only elementwise operations precede it."""
    from onnx import helper, numpy_helper

    scalars = {t.name for t in graph.initializer if numpy_helper.to_array(t).size == 1}
    name = graph.input[0].name
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            return None
        (reader,) = readers
        if reader.op_type == "Transpose":
            perm = list(helper.get_node_attr_value(reader, "perm"))
            return reader if perm == [0, 3, 1, 2] else None
        others = [read for read in reader.input if read != name]
        if reader.op_type not in _ELEMENTWISE or not scalars.issuperset(others):
            return None
        name = reader.output[0]


def take_constants(model: onnx.ModelProto, tflite: Path) -> None:
    """Give each layer the weights and bias of a TFLite intermediate of the same network.

    Raises:
        ValueError: a layer of the TFLite intermediate is not found, or its shapes do not fit.
    """
    import numpy as np
    from onnx import numpy_helper

    weighted = [node for node in model.graph.node if node.op_type in operators.ONNX]
    nodes = {node.output[0].removesuffix("/linear"): node for node in weighted}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer, operator, constants in _layers(tflite):
        if layer not in nodes:
            raise ValueError(f"layer {layer} has no counterpart in ONNX")
        node = nodes[layer]
        axes = operator.axes(operators.ONNX[node.op_type].layout)
        for place, values in enumerate(constants, start=1):
            held = tensors[node.input[place]]
            turned = np.ascontiguousarray(values.transpose(axes) if place == 1 else values)
            if list(turned.shape) != list(held.dims):
                raise ValueError(f"{held.name} is {list(held.dims)}, not {list(turned.shape)}")
            held.CopyFrom(numpy_helper.from_array(turned, held.name))


def _layers(tflite: Path) -> Iterator[tuple[str, operators.Operator, list[NDArray[Any]]]]:
    """Yield name, operator, and weights with the bias if any, of each layer with weights."""
    source = tflite_flatbuffer.read_model(tflite)
    tensors = source.subgraphs[0].tensors
    for op in source.subgraphs[0].operators:
        operator = operators.TFLITE.get(tflite_flatbuffer.op_name(source, op))
        if operator is None:
            continue
        given = [tflite_flatbuffer.constant(source, tensors[i]) for i in op.inputs[1:3] if i >= 0]
        if given[0] is not None:
            name = tflite_flatbuffer.text(tensors[op.outputs[0]].name)
            yield name, operator, [values for values in given if values is not None]
