"""The 8-bit layers of a TFLite file.

TFLite's own kernels and XNNPACK widen both factors to 16 bits and accumulate in 32 bits on every
CPU. The weights are still returned: they matter if the file is converted to another format.
"""

from __future__ import annotations

from typing import Any

from edgezoo.core.protocols import IntegerLayer
from edgezoo.formats import operators, tflite_flatbuffer

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
        weights = tflite_flatbuffer.constant(model, kernel)
        if weights is None or not set(dtypes) <= {"int8", "uint8"}:
            continue
        if operator.kind == "depthwise":
            ordered = weights.reshape(-1, weights.shape[-1]).T[:, :, None]
        else:
            ordered = weights.reshape(len(weights), -1, weights.shape[-1])
        name = tflite_flatbuffer.text(tensors[op.outputs[0]].name)
        found.append(IntegerLayer(name, operator.kind, ordered, *dtypes, "flat", EXACT))
    return tuple(found)
