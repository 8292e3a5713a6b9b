"""Coral Edge TPU: a prediction of what its compiler would map, and the compiler itself."""

from __future__ import annotations

from pathlib import Path

from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import Compilation, CpuOp, Placement, Target
from edgezoo.formats import operators
from edgezoo.targets import _edgetpu_compiler, _network
from edgezoo.targets._edgetpu_rules import refusal
from edgezoo.targets._network import Operation

# About 8 MiB of memory on the chip, shared by parameters and the largest activations.
_ON_CHIP_BYTES = 8 << 20
# Memory of a layer's parameters in addition to its weights, for each output channel: bias, scales
# and padding. Fitted to Google's compiled files of three image networks, which have 24 to 28.
_BYTES_PER_CHANNEL = 26
# Position of a tensor relative to the one subgraph.
_BEFORE, _INSIDE, _AFTER = range(3)
_LATE = "follows an operation on the CPU; the compiler makes only one Edge TPU subgraph"
_LAYERS = (*operators.TFLITE, "TRANSPOSE_CONV")


def place(path: Path) -> Placement:
    """Return where each operation of a TFLite file would run.

    The compiler makes one Edge TPU subgraph, which starts at the first operations that map.
    Operations that depend on a later one that does not map run on the CPU.

    Raises:
        DataError, RefusedError: see `_network.read`.
    """
    mapped: list[Operation] = []
    cpu_ops = []
    state: dict[int, int] = {}  # by tensor
    for op in _network.read(path):
        before = max((state.get(t.index, _BEFORE) for t in op.inputs if t), default=_BEFORE)
        reason = refusal(op)
        if reason is None and before == _AFTER:
            reason = _LATE
        if reason is None:
            mapped.append(op)
            after = _INSIDE
        else:
            cpu_ops.append(CpuOp(op.name, op.index, reason))
            # What depends on it stays outside only if the subgraph has already begun before it.
            after = _BEFORE if before == _BEFORE else _AFTER
        state.update(dict.fromkeys((tensor.index for tensor in op.outputs), after))
    parameters = sum(_parameter_bytes(op) for op in mapped)
    room = max(0, _ON_CHIP_BYTES - max(map(_activation_bytes, mapped), default=0))
    streamed = max(0, parameters - room)
    return Placement(len(mapped), tuple(cpu_ops), int(bool(mapped)), parameters, streamed)


def _parameter_bytes(op: Operation) -> int:
    weights = sum(tensor.bytes for tensor in op.constants if tensor.dtype in ("int8", "uint8"))
    channels = op.outputs[0].shape[-1] if op.name in _LAYERS else 0
    return weights + _BYTES_PER_CHANNEL * channels


def _activation_bytes(op: Operation) -> int:
    return sum(tensor.bytes for tensor in op.activations)


def _compile(path: Path, output: Path, timeout: float) -> Compilation:
    """See `_edgetpu_compiler.compile`; a file without an operation that maps is refused first."""
    predicted = place(path)
    if not predicted.mapped:
        raise RefusedError(
            f"No operation of {path} runs on the Edge TPU: {predicted.cpu_ops[0].op} "
            f"{predicted.cpu_ops[0].reason}.",
            "Export with --target coral.",
        )
    return _edgetpu_compiler.compile(path, output, timeout)


TARGET = Target(
    name="coral",
    about="Google Coral Edge TPU (USB, PCIe, Dev Board)",
    formats=("tflite",),
    precisions=("int8",),
    io=("uint8",),
    runtime="litert",
    memory="about 8 MiB on the chip for parameters and activations",
    place=place,
    compile=_compile,
)
