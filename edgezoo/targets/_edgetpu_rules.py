"""The operations that the Edge TPU's compiler maps, by the rules that Google publishes.

Source: https://coral.ai/docs/edgetpu/models-intro (general requirements and the table of
operations), compared with pairs of plain and compiled files of Google's test data.
"""

from __future__ import annotations

from collections.abc import Callable

from edgezoo.targets._network import Operation, Tensor

_EIGHT_BITS = ("int8", "uint8")
_MAX_SOFTMAX = 16_000
_INNER = 3  # only so many innermost dimensions may be longer than 1
Rule = Callable[[Operation], str | None]


def _any(op: Operation) -> str | None:
    return None


def _no_activation(op: Operation) -> str | None:
    fused = op.option("fusedActivationFunction")
    return "has a fused activation function" if fused else None


def _concatenation(op: Operation) -> str | None:
    constants = op.constants
    zeros = not constants or (constants[0].values == constants[0].zero_point).all()
    if constants and (len(op.inputs) != 2 or not zeros):
        return (
            "concatenates a constant that is not all zeros, or more than two inputs with a constant"
        )
    return _no_activation(op)


def _constant_parameters(op: Operation) -> str | None:
    if any(tensor is not None and tensor.values is None for tensor in op.inputs[1:3]):
        return "has computed weights or a computed bias; they must be constant"
    return None


def _convolution(op: Operation) -> str | None:
    if op.option("dilationWFactor", 1) != op.option("dilationHFactor", 1):
        return "has different dilations in x and y"
    return _constant_parameters(op)


def _fully_connected(op: Operation) -> str | None:
    if op.option("weightsFormat"):
        return "has a weights format other than the default"
    if any(length != 1 for length in op.outputs[0].shape[:-1]):
        return "has an output of more than one dimension"
    return _constant_parameters(op)


def _mean(op: Operation) -> str | None:
    rank = len(_first(op).shape)
    given = op.constants[0].values.reshape(-1) if op.constants else [0]
    spatial = {int(axis) % rank for axis in given} <= {rank - 3, rank - 2}
    return None if spatial else "reduces dimensions other than x and y"


def _pad(op: Operation) -> str | None:
    if not op.constants:
        return "has computed padding; it must be constant"
    widths = op.constants[0].values.reshape(-1, 2)
    rank = len(widths)
    if any(widths[i].any() for i in range(rank) if i not in (rank - 3, rank - 2)):
        return "pads dimensions other than x and y"
    return None


def _softmax(op: Operation) -> str | None:
    shape = _first(op).shape
    if any(length != 1 for length in shape[:-1]) or shape[-1] > _MAX_SOFTMAX:
        return f"has more than one dimension, or more than {_MAX_SOFTMAX} elements"
    return None


def _strided_slice(op: Operation) -> str | None:
    strides = op.inputs[3]
    if strides is None or strides.values is None or (strides.values != 1).any():
        return "has a stride other than 1"
    if op.option("ellipsisMask") or op.option("newAxisMask"):
        return "has an ellipsis or a new axis"
    return None


def _split(op: Operation) -> str | None:
    rank = len(op.outputs[0].shape)
    axes = [int(t.values.reshape(-1)[0]) % rank for t in op.constants if t.values.size == 1]
    return "splits the batch" if 0 in axes and rank > 1 else None


def _squeeze(op: Operation) -> str | None:
    inner = list(_first(op).shape)
    while inner and inner[0] == 1:
        inner.pop(0)
    return "drops a dimension between others" if 1 in inner[:-1] else None


def _resize(op: Operation) -> str | None:
    # Google documents only "depending on input/output size, might not be mapped to avoid loss in
    # precision", so the safe answer is returned.
    return "may lose precision: whether it maps depends on its size, by an unpublished bound"


_UNCONDITIONAL = """
ADD SUB MUL MAXIMUM MINIMUM SQUARED_DIFFERENCE RELU RELU6 RELU_N1_TO_1 PRELU LOGISTIC TANH RSQRT
L2_NORMALIZATION QUANTIZE RESHAPE EXPAND_DIMS SLICE SPACE_TO_DEPTH TRANSPOSE PACK REDUCE_MAX
REDUCE_MIN SUM LSTM TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM
"""
RULES: dict[str, Rule] = {
    **dict.fromkeys(_UNCONDITIONAL.split(), _any),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _no_activation),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "CONCATENATION": _concatenation,
    "FULLY_CONNECTED": _fully_connected,
    "MEAN": _mean,
    "PAD": _pad,
    "SOFTMAX": _softmax,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
}


def refusal(op: Operation) -> str | None:
    """Return why the Edge TPU does not run an operation, as a clause; None if it does."""
    rule = RULES.get(op.name)
    if rule is None:
        return "is not an operation of the Edge TPU"
    for tensor in op.activations:
        # The cell state of an LSTM has 16 bits.
        if tensor.dtype not in _EIGHT_BITS and not tensor.variable:
            return f"works on {tensor.dtype}; the Edge TPU computes in 8 bits"
        if any(length < 0 for length in tensor.shape):
            return "has a size that is not fixed"
        if any(length != 1 for length in tensor.shape[:-_INNER]):
            return f"has more than {_INNER} dimensions that are longer than 1"
    if op.weights is not None and op.weights.dtype not in _EIGHT_BITS:
        return f"has {op.weights.dtype} weights; the Edge TPU takes weights of 8 bits"
    return rule(op)


def _first(op: Operation) -> Tensor:
    tensor = op.inputs[0]
    return tensor if tensor is not None else op.outputs[0]
