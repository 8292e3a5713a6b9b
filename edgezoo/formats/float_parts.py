"""Finds the parts of a network that 8 bits cannot hold: roots, quotients and exponentials.

The reciprocal of a deviation spans three decades from image to image, and an 8-bit tensor has 255
equal steps: a normalization layer in int8 returns noise. In an int8 file these operations, the
statistics that enter them and the products with them stay in float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["root", "divide", "statistic", "elementwise", "move"]
# How many elementwise operations behind a root belong to it: gamma, the input, the mean, beta.
_FOLLOWING = 4

TFLITE: dict[str, Role] = {
    **dict.fromkeys(("RSQRT", "SQRT", "POW", "EXP", "LOG"), "root"),
    "DIV": "divide",
    **dict.fromkeys(("MEAN", "SUM", "SQUARE", "SQUARED_DIFFERENCE"), "statistic"),
    **dict.fromkeys(("ADD", "SUB", "MUL", "NEG"), "elementwise"),
    **dict.fromkeys(("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "BROADCAST_TO"), "move"),
}
ONNX: dict[str, Role] = {
    **dict.fromkeys(("Sqrt", "Reciprocal", "Pow", "Exp", "Log"), "root"),
    "Div": "divide",
    **dict.fromkeys(("ReduceMean", "ReduceSum"), "statistic"),
    **dict.fromkeys(("Add", "Sub", "Mul", "Neg"), "elementwise"),
    **dict.fromkeys(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand"), "move"),
}
OPENVINO: dict[str, Role] = {
    **dict.fromkeys(("Sqrt", "Power", "Exp", "Log"), "root"),
    "Divide": "divide",
    **dict.fromkeys(("ReduceMean", "ReduceSum"), "statistic"),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Negative"), "elementwise"),
    **dict.fromkeys(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Broadcast"), "move"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of any format; `inputs` and `outputs` name computed tensors alone."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def float_parts(operations: Sequence[Operation], roles: Mapping[str, Role]) -> set[int]:
    """Return the indices of operations that stay in float in an int8 file."""
    makers = {name: i for i, op in enumerate(operations) for name in op.outputs}
    readers: dict[str, list[int]] = {}
    for i, op in enumerate(operations):
        for name in op.inputs:
            readers.setdefault(name, []).append(i)
    starts = [i for i, op in enumerate(operations) if _is_start(op, roles)]
    found = set(starts)
    waiting = list(starts)
    while waiting:  # the statistics in front
        for name in operations[waiting.pop()].inputs:
            before = makers.get(name)
            if before is None or before in found:
                continue
            if _is_statistic(operations[before], operations, makers, roles):
                found.add(before)
                waiting.append(before)
    reached = dict.fromkeys(starts, 0)
    waiting = list(starts)
    while waiting:  # the products behind
        here = waiting.pop(0)
        for after in (i for name in operations[here].outputs for i in readers.get(name, ())):
            role = roles.get(operations[after].kind)
            steps = reached[here] + (role == "elementwise")
            if role in ("elementwise", "move") and steps <= _FOLLOWING and after not in reached:
                reached[after] = steps
                waiting.append(after)
    return found | set(reached)


def _is_start(op: Operation, roles: Mapping[str, Role]) -> bool:
    role = roles.get(op.kind)
    # A division by a constant is a multiplication, and keeps its one computed input.
    return role == "root" or (role == "divide" and len(op.inputs) > 1)


def _is_statistic(
    op: Operation,
    operations: Sequence[Operation],
    makers: Mapping[str, int],
    roles: Mapping[str, Role],
) -> bool:
    """Whether an operation in front of a root belongs to it: a mean, a square, an epsilon."""
    role = roles.get(op.kind)
    if role != "elementwise":
        return role in ("statistic", "move")
    if len(set(op.inputs)) == 1:
        return True  # with a constant, or with itself
    before = (operations[makers[name]] for name in op.inputs if name in makers)
    return any(roles.get(other.kind) == "statistic" for other in before)
