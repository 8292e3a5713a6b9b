"""Writes each batch norm that is not folded into a layer as one ONNX operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.exporters._onnx_graph import readers_of

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray


def join_norms(model: onnx.ModelProto) -> None:
    """Replace Mul and Add with a constant per channel by one `BatchNormalization`.

    The norms of a DenseNet follow a concatenation, and the converter leaves them as Mul and Add.
    onnxruntime computes a BatchNormalization in the blocked layout of the convolutions around it,
    together with its activation; for Mul and Add it converts to the plain layout and back. The
    output takes the name of the sum.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = readers_of(graph.node)
    outputs = {value.name for value in graph.output}
    new: dict[str, NDArray[np.float32]] = {}
    sums = []
    for node in graph.node:
        found = _of_channels(node, "Mul", constants)
        after = readers.get(node.output[0], [])
        if found is None or len(after) != 1 or node.output[0] in outputs:
            continue
        added = _of_channels(after[0], "Add", constants)
        if added is None or added[1].size != found[1].size:
            continue
        name, count = after[0].output[0], found[1].size
        mean, variance = f"norm/zeros_{count}", f"norm/ones_{count}"
        new |= {f"{name}/scale": found[1], f"{name}/offset": added[1]}
        new |= {mean: np.zeros(count, np.float32), variance: np.ones(count, np.float32)}
        values = [found[0], f"{name}/scale", f"{name}/offset", mean, variance]
        node.CopyFrom(helper.make_node("BatchNormalization", values, [name], name, epsilon=0.0))
        sums.append(after[0])
    for node in sums:
        graph.node.remove(node)
    kept = {name for node in graph.node for name in node.input}
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in kept:
            del graph.initializer[place]
    graph.initializer.extend(numpy_helper.from_array(new[name], name) for name in sorted(new))


def _of_channels(
    node: Any, kind: str, constants: dict[str, NDArray[Any]]
) -> tuple[str, NDArray[np.float32]] | None:
    """Return the computed input and the constant per channel, (C, 1, 1), of a Mul or an Add."""
    if node.op_type != kind:
        return None
    given = [constants[name] for name in node.input if name in constants]
    values = [name for name in node.input if name not in constants]
    if len(given) != 1 or len(values) != 1:
        return None
    shape = given[0].shape[given[0].ndim - 3 :]
    if given[0].dtype != "float32" or len(shape) != 3 or shape[0] == 1:
        return None
    return (values[0], given[0].reshape(-1)) if given[0].size == shape[0] else None
