"""Converts the float32 TFLite intermediate to ONNX by tf2onnx, and names tensors after layers.

Needs TensorFlow, which tf2onnx imports.
"""

from __future__ import annotations

import copy
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.errors import RefusedError
from edgezoo.exporters import _onnx_preparation
from edgezoo.exporters._converting import HINT, FailedNodes
from edgezoo.exporters._onnx_graph import readers_of, rename_reads, rename_tensors
from edgezoo.formats import operators, tflite_flatbuffer

if TYPE_CHECKING:
    import onnx

# Per-channel QuantizeLinear came with opset 13, HardSwish with 14; onnxruntime 1.8
# and newer load it.
OPSET = 14
_TFLITE_PREFIX = "TFL_"


def to_onnx(tflite: Path) -> onnx.ModelProto:
    """Convert a float32 TFLite intermediate to ONNX; tensors keep their names.

    An activation that TFLite fuses into its convolution is a separate node in ONNX. It takes the
    layer's name, so that one name means the same values in all formats; the convolution's own
    output becomes `layer/linear`, its constants `layer/weights` and `layer/bias`.
    """
    source = tflite_flatbuffer.read_model(tflite)
    part = tflite.with_suffix(".part")
    prepared = tflite
    if _onnx_preparation.prepare(source):
        prepared = tflite.with_suffix(".prepared.part")
        tflite_flatbuffer.write_model(source, prepared)
    known = {tflite_flatbuffer.text(tensor.name) for tensor in source.subgraphs[0].tensors}
    lean = _converted_lean(source, part)
    model, kernels = lean if lean else (_converted(prepared, part), {})
    if prepared != tflite:
        prepared.unlink()
    dense = _dense_layers(model, source, kernels)
    _name_before_transpose(model)
    _restore_dense_names(model, source, dense)
    _name_activations(model, known)
    _give_dense_layers_a_bias(model, source, dense)
    _name_constants(model)
    _name_nodes(model, known)
    return model


def _converted(tflite: Path, part: Path) -> onnx.ModelProto:
    """Convert a file by tf2onnx; `part` is a temporary file."""
    import onnx
    import tf2onnx

    from edgezoo.exporters import _onnx_handlers

    _onnx_handlers.register()

    failed = FailedNodes()
    logging.getLogger("tf2onnx").addHandler(failed)
    try:
        tf2onnx.convert.from_tflite(str(tflite), opset=OPSET, output_path=str(part))
        model = onnx.load(str(part))
    finally:
        logging.getLogger("tf2onnx").removeHandler(failed)
        part.unlink(missing_ok=True)
    _require_whole(model, failed.names)
    return model


def _require_whole(model: onnx.ModelProto, failed: list[str]) -> None:
    """Refuse a graph that tf2onnx left unfinished.

    Raises:
        RefusedError: with the operations and layers that it could not convert.
    """
    left = [node for node in model.graph.node if node.op_type.startswith(_TFLITE_PREFIX)]
    named = {node.output[0]: node.op_type.removeprefix(_TFLITE_PREFIX) for node in left}
    words = [f"TFLite's {kind} (layer {layer})" for layer, kind in named.items()]
    words += [f"an operation of layer {name}" for name in failed if name not in named]
    if words:
        raise RefusedError(f"tf2onnx cannot convert {', '.join(words[:3])} to ONNX.", HINT)


def _converted_lean(source: Any, part: Path) -> tuple[onnx.ModelProto, dict[str, str]] | None:
    """Convert with a third of the CPU seconds and no copies of the weights.

    tf2onnx copies its whole graph before each of its passes, to restore it where one fails: 70
    copies of ResNet50's weights, 7 GB. Here a pass that fails ends the attempt, and the graph takes
    its kernels as inputs, which have a shape but no values, until they are put back.

    Return the model, and the name that each kernel has in it. None where a pass failed, or a kernel
    no longer ends up unchanged in a layer.
    """
    from tf2onnx.constants import ENV_TF2ONNX_CATCH_ERRORS

    kernels = _make_inputs_of_kernels(source)
    tflite_flatbuffer.write_model(source, part)
    before = os.environ.get(ENV_TF2ONNX_CATCH_ERRORS)
    os.environ[ENV_TF2ONNX_CATCH_ERRORS] = "FALSE"
    try:
        model = _converted(part, part.with_suffix(".part.onnx"))
    except RefusedError:
        raise  # the normal conversion would end in the same way
    except Exception:  # whatever a pass fails on, the normal conversion logs it and goes on
        return None
    finally:
        del os.environ[ENV_TF2ONNX_CATCH_ERRORS]
        if before is not None:
            os.environ[ENV_TF2ONNX_CATCH_ERRORS] = before
        part.unlink()
    places = _take_kernels(model, kernels)
    return None if places is None else (model, places)


def _make_inputs_of_kernels(model: Any) -> dict[str, NDArray[np.float32]]:
    """Turn large kernels, and those of dense layers, into inputs; return them by input name.

    By its kernel a dense layer is found again, since tf2onnx loses its name.
    """
    graph = model.subgraphs[0]
    kernels: dict[str, NDArray[np.float32]] = {}
    taken: dict[int, NDArray[np.float32]] = {}
    for op in graph.operators:
        kind = tflite_flatbuffer.op_name(model, op)
        if kind not in operators.TFLITE:
            continue
        dense, index = kind == "FULLY_CONNECTED", int(op.inputs[1])
        values = tflite_flatbuffer.constant(model, graph.tensors[index])
        if dense and index in taken:
            values = taken[index]
            index = op.inputs[1] = _twin(graph, index)
        if values is not None and (dense or values.size >= operators.LARGE_KERNEL):
            tensor = graph.tensors[index]
            kernels[tflite_flatbuffer.text(tensor.name)] = taken[index] = values
            tensor.buffer = 0
            graph.inputs = [*graph.inputs, index]
    read = {tensor.buffer for tensor in graph.tensors}
    read |= {entry.buffer for entry in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in read:
            buffer.data = None
    return kernels


def _twin(graph: Any, index: int) -> int:
    """Copy a tensor under a name of its own; return its index."""
    tensor = copy.copy(graph.tensors[index])
    tensor.name = f"{tflite_flatbuffer.text(tensor.name)}/{len(graph.tensors)}"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _take_kernels(
    model: onnx.ModelProto, kernels: dict[str, NDArray[np.float32]]
) -> dict[str, str] | None:
    """Turn inputs back into constants, in the layout of their layers.

    tf2onnx transposes and reshapes kernels by nodes, which it folds behind constants but not behind
    inputs. Follow the nodes behind each input, apply them to the kernel and remove them. Return
    the names of the constants; None unless each one is now the weights of a layer.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = readers_of(model.graph.node)
    inputs, places = set(kernels), dict[str, str]()
    for source in sorted(inputs):
        name, kernel = source, kernels.pop(source)  # free each as soon as it is copied
        while len(readers.get(name, ())) == 1:
            (node,) = readers[name]
            if node.op_type == "Transpose":
                kernel = kernel.transpose(onnx.helper.get_node_attr_value(node, "perm"))
            elif node.op_type == "Reshape" and node.input[1] in constants:
                kernel = kernel.reshape(onnx.numpy_helper.to_array(constants[node.input[1]]))
            else:
                break
            model.graph.node.remove(node)
            name = node.output[0]
        layers = readers.get(name, ())
        if any(node.op_type not in operators.ONNX or node.input[1] != name for node in layers):
            return None
        places[source] = name
        turned = np.ascontiguousarray(kernel)
        model.graph.initializer.append(onnx.numpy_helper.from_array(turned, name))
    kept = [value for value in model.graph.input if value.name not in inputs]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return places


def _name_before_transpose(model: Any) -> None:
    """Name a feature map where it is computed, before the transposition back to NHWC.

    The transposed one is called `name/nhwc`, until `_onnx_graph.name_output`.
    """
    (output,) = model.graph.output
    (last,) = (node for node in model.graph.node if output.name in node.output)
    if last.op_type == "Transpose":
        name, inner = output.name, last.input[0]
        output.name = last.output[0] = f"{name}/nhwc"
        rename_tensors(model.graph.node, {inner: name})


def _give_dense_layers_a_bias(model: Any, source: Any, dense: list[tuple[Any, Any]]) -> None:
    """Turn dense layers without a bias into layers with their bias, or with zeros.

    tf2onnx loses the bias of a FULLY_CONNECTED that flattens its input itself, as where a 1x1 map
    is flattened before `Dense`. It drops a bias of zeros, but bias correction needs its place.
    """
    import onnx

    tensors = source.subgraphs[0].tensors
    biases = {
        node.output[0]: tflite_flatbuffer.constant(source, tensors[op.inputs[2]])
        for node, op in dense
        if len(op.inputs) > 2 and op.inputs[2] >= 0
    }
    layers = {node.output[0] for node, _ in dense}
    widths = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    added = {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    for node in model.graph.node:
        shape = widths.get(node.input[1]) if node.op_type == "MatMul" else None
        if shape is None or len(shape) != 2 or node.output[0] not in layers:
            continue
        bias = None if node.output[0] in added else biases.get(node.output[0])
        values = np.zeros(shape[1], np.float32) if bias is None else bias.reshape(-1)
        name = f"{node.output[0]}/bias_of_its_own"
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        node.op_type = "Gemm"
        node.input.append(name)


def _dense_layers(model: Any, source: Any, kernels: dict[str, str]) -> list[tuple[Any, Any]]:
    """Match dense layers' ONNX nodes to TFLite operations.

    By their kernels' names where these are known, else by order, if there are as many.
    """
    graph = source.subgraphs[0]
    ops = [
        op for op in graph.operators if tflite_flatbuffer.op_name(source, op) == "FULLY_CONNECTED"
    ]
    nodes = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    readers = {node.input[1]: node for node in nodes}
    names = [
        kernels.get(tflite_flatbuffer.text(graph.tensors[op.inputs[1]].name), "") for op in ops
    ]
    if all(name in readers for name in names):
        return [(readers[name], op) for name, op in zip(names, ops, strict=True)]
    return list(zip(nodes, ops, strict=True)) if len(nodes) == len(ops) else []


def _restore_dense_names(model: Any, source: Any, dense: list[tuple[Any, Any]]) -> None:
    """Restore the TFLite names of dense layers, which tf2onnx loses."""
    tensors = source.subgraphs[0].tensors
    taken = {name for node in model.graph.node for name in node.output}
    for node, op in dense:
        name = tflite_flatbuffer.text(tensors[op.outputs[0]].name)
        if name not in taken:
            rename_tensors(model.graph.node, {node.output[0]: name})


def _name_activations(model: Any, known: set[str]) -> None:
    """Name activations after the layers they were fused into, or rename a layer named so."""
    readers = readers_of(model.graph.node)
    for node in list(model.graph.node):
        layer, after = node.output[0], readers.get(node.output[0], [])
        if len(after) != 1 or after[0].op_type not in ("Clip", "Relu"):
            continue
        activation = after[0]
        if (layer in known) == (activation.output[0] in known):
            continue
        if layer not in known:
            rename_tensors(model.graph.node, {layer: f"{activation.output[0]}/linear"})
            continue
        node.output[0] = f"{layer}/linear"
        rename_reads([activation], layer, f"{layer}/linear")
        rename_tensors(model.graph.node, {activation.output[0]: layer})


def _name_constants(model: Any) -> None:
    """Give each layer its own weights and bias, and merge all other equal constants.

    tf2onnx merges equal constants, but not always the same ones.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: dict[str, onnx.TensorProto] = {}
    first: dict[bytes, str] = {}
    ordered = []
    for node in _ordered_nodes(model):
        layer = node.output[0].removesuffix("/linear")
        weighted = node.op_type in operators.ONNX
        for place, name in enumerate(node.input):
            if name not in constants:
                continue
            tensor = copy.deepcopy(constants[name])
            if weighted and place in (1, 2):
                tensor.name = f"{layer}/{'weights' if place == 1 else 'bias'}"
            else:
                tensor.name = ""
                tensor.name = first.setdefault(tensor.SerializeToString(), f"constant_{len(first)}")
            node.input[place] = tensor.name
            kept[tensor.name] = tensor
        ordered.append(node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept[name] for name in sorted(kept))
    model.graph.node.extend(ordered)


def _name_nodes(model: Any, known: set[str]) -> None:
    """Name nodes, and tensors that TFLite does not have, by their place in the graph."""
    names: dict[str, str] = {}
    fixed = known | {value.name for value in (*model.graph.input, *model.graph.output)}
    fixed |= {tensor.name for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
        for place, name in enumerate(node.output):
            if name not in fixed and not name.endswith("/linear"):
                names[name] = f"{node.name}:{place}"
    rename_tensors(model.graph.node, names)
    del model.graph.value_info[:]  # its names are out of date


def _ordered_nodes(model: Any) -> list[Any]:
    """Copy all nodes in the order in which the outputs need them, depth first.

    tf2onnx's own order is not always the same; this one depends on the graph alone.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    ordered: list[Any] = []
    placed: set[int] = set()
    stack = [producers[value.name] for value in reversed(model.graph.output)]
    while stack:
        node = stack[-1]
        before = (producers[name] for name in node.input if name in producers)
        waiting = next((needed for needed in before if id(needed) not in placed), None)
        if waiting is not None:
            stack.append(waiting)
            continue
        stack.pop()
        if id(node) not in placed:
            placed.add(id(node))
            ordered.append(node)
    return [copy.deepcopy(node) for node in ordered]
