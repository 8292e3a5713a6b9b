"""One trace, one frozen graph, one conversion: the float forms that all exporters start from.

Needs TensorFlow; everything after it does not.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import flatbuffer
from edgezoo.spec import Normalization

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

INPUT_NAME = "image"
# Numbers of a dense kernel, 16 MB, from which on the converter does not get to see it.
_LARGE_KERNEL = 2**22
# Per-channel QuantizeLinear came with opset 13, HardSwish with 14; onnxruntime 1.8
# and newer load it.
OPSET = 14


def write_tflite(
    model: keras.Model, size: int, how: Normalization | None, output: str, path: Path
) -> None:
    """Trace a Keras network once and convert it to a float32 TFLite file of static shape.

    Args:
        model: takes float32 NHWC, normalised as its family expects.
        size: height and width in pixels.
        how: a first operation that normalises RGB pixels, for networks whose channels differ or
            are swapped; None leaves the bare network.
        output: what the signature calls the output.
        path: where to write; input (1, size, size, 3).
    """
    kernels = {1.0 + i: layer for i, layer in enumerate(_large_layers(model))}
    converted = _converted(model, size, how, kernels, path)
    if not _put_back(converted, kernels):
        converted = _converted(model, size, how, {}, path)
    flatbuffer.add_signature(converted, INPUT_NAME, output)
    flatbuffer.rename_layers(converted)
    flatbuffer.write_model(converted, path)


def _converted(
    model: keras.Model,
    size: int,
    how: Normalization | None,
    kernels: dict[float, keras.Layer],
    path: Path,
) -> Any:
    """What TensorFlow's converter makes of a network, with numbers in place of some kernels."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    before = _normalizer(how) if how else lambda x: x
    signature = [tf.TensorSpec((1, size, size, 3), tf.float32, name=INPUT_NAME)]

    def inference(image: tf.Tensor) -> tf.Tensor:
        with _stand_ins(kernels):
            return model(before(image), training=False)

    traced = tf.function(inference, input_signature=signature).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced)
    del traced
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())
    del frozen
    return flatbuffer.read_model(path)


def _large_layers(model: keras.Model) -> list[keras.Layer]:
    """Dense layers whose kernels the converter does not get to see.

    It copies a graph's constants some twenty times: with VGG16's dense kernels, 500 MB, it took
    11 GB and 95 CPU seconds, with numbers in their place 5 GB and 20.
    """
    import keras

    return [
        layer
        for layer in model.layers
        if type(layer) is keras.layers.Dense and math.prod(layer.kernel.shape) >= _LARGE_KERNEL
    ]


@contextlib.contextmanager
def _stand_ins(layers: dict[float, keras.Layer]) -> Iterator[None]:
    """While a graph is traced, let a kernel of one value, which it holds as that, stand in."""
    import tensorflow as tf

    kept = {value: layer._kernel for value, layer in layers.items()}
    try:
        for value, layer in layers.items():
            layer._kernel = tf.fill(layer.kernel.shape, tf.constant(value, tf.float32))
        yield
    finally:
        for value, layer in layers.items():
            layer._kernel = kept[value]


def _put_back(converted: Any, layers: dict[float, keras.Layer]) -> bool:
    """Give each dense layer the kernel that a value stood in for; TFLite has outputs first.

    Returns:
        Whether all were found: the converter may have folded something into one of them.
    """
    found = set[float]()
    for tensor in converted.subgraphs[0].tensors if layers else ():
        values = flatbuffer.constant(converted, tensor)
        if values is None or values.ndim != 2 or values.dtype != "float32":
            continue
        value = float(values[0, 0])
        if value in layers and (values == value).all():
            kernel = layers[value].kernel.numpy().T
            if kernel.shape == values.shape:
                flatbuffer.set_constant(converted, tensor, kernel)
                found.add(value)
    return found == layers.keys()


def _normalizer(how: Normalization) -> Callable[[Any], Any]:
    """Swap, scale and offset of the channels as one 1x1 convolution, which quantizers know."""
    import numpy as np
    import tensorflow as tf

    kernel = np.diag(how.scale).astype(np.float32)
    if how.channel_order == "BGR":
        kernel = kernel[::-1]
    kernel4d = kernel.reshape(1, 1, 3, 3)
    bias = np.asarray(how.offset, np.float32)
    return lambda x: tf.nn.bias_add(
        tf.nn.conv2d(x, kernel4d, 1, "VALID"), bias, name="normalize/BiasAdd"
    )


def write_onnx(tflite: Path, path: Path) -> None:
    """Convert a float32 TFLite form to ONNX; tensors keep their names.

    An activation that TFLite has inside its convolution is a node of its own here. It takes the
    layer's name, so that one name means the same values in all formats; the convolution's own
    output becomes `layer/linear`, its constants `layer/weights` and `layer/bias`.
    """
    import onnx
    import tf2onnx

    # The converter copies its whole graph for each of its passes, in reference cycles that the
    # collector's own thresholds notice too late: 70 copies of ResNet50's weights, 7 GB.
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(300, 1, 1)
    try:
        kernels = _write_with_kernels_as_inputs(tflite, path.with_suffix(".part"))
        tf2onnx.convert.from_tflite(
            str(path.with_suffix(".part")), opset=OPSET, output_path=str(path)
        )
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    path.with_suffix(".part").unlink()
    model = onnx.load(str(path))
    _take_kernels(model, kernels)
    source = flatbuffer.read_model(tflite)
    known = {flatbuffer.text(tensor.name) for tensor in source.subgraphs[0].tensors}
    _name_behind_turn(model)
    _restore_dense_names(model, source)
    _name_activations(model, known)
    _give_dense_layers_a_bias(model, source)
    _name_constants(model)
    _name_nodes(model, known)
    onnx.save(model, str(path))


def _write_with_kernels_as_inputs(tflite: Path, path: Path) -> dict[str, NDArray[np.float32]]:
    """Write a file for tf2onnx, which copies constants more often still than TensorFlow.

    Returns:
        Large dense kernels, (outputs, inputs), by the name of the input that they have become.
    """
    model = flatbuffer.read_model(tflite)
    graph = model.subgraphs[0]
    kernels: dict[str, NDArray[np.float32]] = {}
    for op in graph.operators:
        if flatbuffer.op_name(model, op) != "FULLY_CONNECTED":
            continue
        tensor = graph.tensors[op.inputs[1]]
        values = flatbuffer.constant(model, tensor)
        if values is not None and values.size >= _LARGE_KERNEL:
            kernels[flatbuffer.text(tensor.name)] = values
            model.buffers[tensor.buffer].data = None
            tensor.buffer = 0
            graph.inputs = [*graph.inputs, op.inputs[1]]
    flatbuffer.write_model(model, path)
    return kernels


def _take_kernels(model: Any, kernels: dict[str, NDArray[np.float32]]) -> None:
    """Make constants of inputs again, turned as their layers take them."""
    import numpy as np
    import onnx

    inputs = set(kernels)
    for name in sorted(inputs):
        kernel = kernels.pop(name)  # one copy less of what is large
        readers = [node for node in model.graph.node if name in node.input]
        turned = [node for node in readers if node.op_type == "Transpose"]
        if len(readers) == len(turned) == 1:
            model.graph.node.remove(turned[0])
            name, kernel = turned[0].output[0], np.ascontiguousarray(kernel.T)
        model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, name))
    kept = [value for value in model.graph.input if value.name not in inputs]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _name_behind_turn(model: Any) -> None:
    """Let a feature map have its name where it is computed, before it is turned back to NHWC.

    The turned one is called `name/nhwc`, until `_onnx_graph.name_output`.
    """
    (output,) = model.graph.output
    (last,) = (node for node in model.graph.node if output.name in node.output)
    if last.op_type == "Transpose":
        name, inner = output.name, last.input[0]
        output.name = last.output[0] = f"{name}/nhwc"
        _rename_tensor(model, inner, name)


def _give_dense_layers_a_bias(model: Any, source: Any) -> None:
    """Write dense layers that came without a bias as ones with it, or with zeros.

    The converter loses the bias of a layer whose input it flattens itself, as TFLite has it where
    a 1x1 map is flattened before `Dense`. One of zeros it drops, but a later correction needs its
    place.
    """
    import numpy as np
    import onnx

    tensors = source.subgraphs[0].tensors
    biases = {
        node.output[0]: flatbuffer.constant(source, tensors[op.inputs[2]])
        for node, op in _dense_layers(model, source)
        if len(op.inputs) > 2 and op.inputs[2] >= 0
    }
    widths = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    added = {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    for node in model.graph.node:
        shape = widths.get(node.input[1]) if node.op_type == "MatMul" else None
        if shape is None or len(shape) != 2:
            continue
        bias = None if node.output[0] in added else biases.get(node.output[0])
        values = np.zeros(shape[1], np.float32) if bias is None else bias.reshape(-1)
        name = f"{node.output[0]}/bias_of_its_own"
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        node.op_type = "Gemm"
        node.input.append(name)


def _dense_layers(model: Any, source: Any) -> list[tuple[Any, Any]]:
    """Each dense layer as ONNX node and TFLite operation, matched by order.

    Empty where the converter made more or fewer of them.
    """
    operators = source.subgraphs[0].operators
    ops = [op for op in operators if flatbuffer.op_name(source, op) == "FULLY_CONNECTED"]
    nodes = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    return list(zip(nodes, ops, strict=True)) if len(nodes) == len(ops) else []


def _restore_dense_names(model: Any, source: Any) -> None:
    """Give dense layers their TFLite names back, which the converter loses."""
    tensors = source.subgraphs[0].tensors
    taken = {name for node in model.graph.node for name in node.output}
    for node, op in _dense_layers(model, source):
        name = flatbuffer.text(tensors[op.outputs[0]].name)
        if name not in taken:
            _rename_tensor(model, node.output[0], name)


def _name_activations(model: Any, known: set[str]) -> None:
    """Let an activation take the name of the layer that it was fused into.

    Where it has it, as the network's output, the layer is called after it.
    """
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(model.graph.node):
        layer, after = node.output[0], readers.get(node.output[0], [])
        if len(after) != 1 or after[0].op_type not in ("Clip", "Relu"):
            continue
        activation = after[0]
        if (layer in known) == (activation.output[0] in known):
            continue
        if layer not in known:
            _rename_tensor(model, layer, f"{activation.output[0]}/linear")
            continue
        _rename(node.output, layer, f"{layer}/linear")
        _rename(activation.input, layer, f"{layer}/linear")
        _rename_tensor(model, activation.output[0], layer)


def _name_constants(model: Any) -> None:
    """Give each layer weights and bias of its own, and all other constants of one value one name.

    The converter merges equal constants, but not always the same ones.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: dict[str, Any] = {}
    first: dict[bytes, str] = {}
    ordered = []
    for node in _ordered_nodes(model):
        layer = node.output[0].removesuffix("/linear")
        weighted = node.op_type in ("Conv", "Gemm", "MatMul")
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
    """Name nodes and the tensors that TFLite does not have by their place in the graph."""
    names: dict[str, str] = {}
    fixed = known | {value.name for value in (*model.graph.input, *model.graph.output)}
    fixed |= {tensor.name for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
        for place, name in enumerate(node.output):
            if name not in fixed and not name.endswith("/linear"):
                names[name] = f"{node.name}:{place}"
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, name)
    del model.graph.value_info[:]  # of tensors that have other names now


def _ordered_nodes(model: Any) -> list[Any]:
    """Copies of all nodes in the order in which the outputs need them, depth first."""
    producers = {name: node for node in model.graph.node for name in node.output}
    ordered: list[Any] = []
    placed: set[int] = set()
    stack = [producers[value.name] for value in reversed(model.graph.output)]
    while stack:
        node = stack[-1]
        waiting = [
            producers[name]
            for name in node.input
            if name in producers and id(producers[name]) not in placed
        ]
        if waiting:
            stack.append(waiting[0])
            continue
        stack.pop()
        if id(node) not in placed:
            placed.add(id(node))
            ordered.append(node)
    return [copy.deepcopy(node) for node in ordered]


def _rename_tensor(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        _rename(node.input, old, new)
        _rename(node.output, old, new)


def _rename(names: Any, old: str, new: str) -> None:
    for place, name in enumerate(names):
        if name == old:
            names[place] = new
