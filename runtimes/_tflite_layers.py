"""The layers of a TFLite file with their types, and its 8-bit ones.

TFLite's own kernels and XNNPACK widen both factors to 16 bits and accumulate in 32 bits on every
CPU. The weights are still returned: they matter if the file is converted to another format.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgezoo.core.protocols import IntegerLayer, WeightedOperations
from edgezoo.formats import operators, tflite_flatbuffer

# The inputs with activations and with weights.
_DATA_AND_WEIGHTS = {**dict.fromkeys(operators.TFLITE, (0, 1)), "TRANSPOSE_CONV": (2, 1)}
EXACT = "TFLite's kernels and XNNPACK's add in 32 bits"


def integer_layers(model: Any) -> tuple[IntegerLayer, ...]:
    """Return the layers of a `ModelT` with 8-bit weights and activations, in the file's order."""
    tensors = model.subgraphs[0].tensors
    found = []
    for op in model.subgraphs[0].operators:
        operator = operators.TFLITE.get(tflite_flatbuffer.op_name(model, op))
        if operator is None:
            continue
        data, kernel = tensors[op.inputs[0]], tensors[op.inputs[1]]
        dtypes = tflite_flatbuffer.tensor_dtype(kernel), tflite_flatbuffer.tensor_dtype(data)
        if not set(dtypes) <= {"int8", "uint8"}:
            continue
        weights = tflite_flatbuffer.constant(model, kernel)
        if weights is None:
            continue
        if operator.kind == "depthwise":
            ordered = weights.reshape(-1, weights.shape[-1]).T[:, :, None]
        else:
            ordered = weights.reshape(len(weights), -1, weights.shape[-1])
        name = tflite_flatbuffer.text(tensors[op.outputs[0]].name)
        found.append(IntegerLayer(name, operator.kind, ordered, *dtypes, "flat", EXACT))
    return tuple(found)


def weighted_operations(model: Any) -> tuple[WeightedOperations, ...]:
    """Return how many operations of a `ModelT` have weights and activations of each type.

    Weights in float16 are constants that a DEQUANTIZE makes float32.
    """
    tensors = model.subgraphs[0].tensors
    stored = {
        int(op.outputs[0]): int(op.inputs[0])
        for op in model.subgraphs[0].operators
        if tflite_flatbuffer.op_name(model, op) == "DEQUANTIZE"
    }
    found: Counter[tuple[str, str]] = Counter()
    for op in model.subgraphs[0].operators:
        place = _DATA_AND_WEIGHTS.get(tflite_flatbuffer.op_name(model, op))
        if place is None or len(op.inputs) <= max(place):
            continue
        data, kernel = (int(op.inputs[i]) for i in place)
        kernel = stored.get(kernel, kernel)
        if min(data, kernel) >= 0 and tflite_flatbuffer.is_constant(model, kernel):
            pair = (tensors[kernel], tensors[data])
            weights, activations = map(tflite_flatbuffer.tensor_dtype, pair)
            found[weights, activations] += 1
    return tuple(WeightedOperations(*pair, count) for pair, count in sorted(found.items()))
