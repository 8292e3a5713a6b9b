"""Microcontrollers that run TensorFlow Lite for Microcontrollers."""

from __future__ import annotations

from pathlib import Path

from edgezoo.core.protocols import CpuOp, Placement, Target
from edgezoo.formats import operators
from edgezoo.targets import _network
from edgezoo.targets._network import Operation

# Operations with a kernel, from TensorFlow Lite for Microcontrollers' AllOpsResolver.
_NAMES = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD
FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D
LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM
MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE
REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT
SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV
UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
_KERNELS = frozenset(_NAMES.split())
_INT4_KERNELS = ("CONV_2D", "FULLY_CONNECTED")
_QUANTIZED = ("int8", "uint8", "int16")


def place(path: Path) -> Placement:
    """Return which operations have a kernel: those are `mapped`; all of them run on the CPU.

    Raises:
        DataError, RefusedError: see `_network.read`.
    """
    operations = _network.read(path)
    refused = [(op, reason) for op in operations if (reason := _refusal(op))]
    parameters = {t.index: t.bytes for op in operations for t in op.constants}
    cpu_ops = tuple(CpuOp(op.name, op.index, reason) for op, reason in refused)
    mapped = len(operations) - len(refused)
    return Placement(mapped, cpu_ops, int(mapped > 0), sum(parameters.values()), 0)


def _refusal(op: Operation) -> str | None:
    if op.name not in _KERNELS:
        return "has no kernel in TensorFlow Lite for Microcontrollers"
    if op.name == "DEQUANTIZE" and op.inputs[0] and op.inputs[0].dtype not in _QUANTIZED:
        return f"takes {op.inputs[0].dtype}; its kernel takes int8, uint8 and int16"
    if op.name in operators.TFLITE and any(t.dtype == "uint8" for t in op.constants):
        return "has uint8 weights of the older scheme; microcontroller kernels take int8"
    if reason := _weights_refusal(op):
        return reason
    if any(length < 0 for tensor in op.activations for length in tensor.shape):
        return "has a size that is not fixed"
    return None


def _weights_refusal(op: Operation) -> str | None:
    """Why no kernel takes the types of an operation's weights and activations."""
    data, weights = op.inputs[0], op.weights
    if data is None or weights is None or weights.dtype == data.dtype:
        return None
    if data.dtype == "float32":
        return (
            f"has {weights.dtype} weights for activations in float (dynamic range); its kernels "
            "do not mix them"
        )
    if data.dtype == "int8" and weights.dtype == "int4" and op.name in _INT4_KERNELS:
        return None
    if data.dtype == "int16" and weights.dtype == "int8":
        return None
    return f"has {weights.dtype} weights for {data.dtype} activations, for which it has no kernel"


TARGET = Target(
    name="tflite-micro",
    about="a microcontroller with TensorFlow Lite for Microcontrollers",
    formats=("tflite",),
    precisions=("int8",),
    io=("int8", "uint8"),
    runtime="tflite_micro",
    place=place,
)
