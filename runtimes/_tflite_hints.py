"""What a TFLite file without a contract states: its metadata, and the operation that ends it.

The metadata is that of MediaPipe and the task libraries (metadata_schema.fbs, root ModelMetadata):
numbers below are field slots of that schema, as in `exporters._tflite_metadata`.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

from edgezoo.core.errors import interpreting
from edgezoo.core.protocols import Activation, Hints
from edgezoo.core.spec import CUSTOM, Normalization, named
from edgezoo.formats import tflite_flatbuffer

_METADATA = "TFLITE_METADATA"
_NORMALIZATION = 1  # of ProcessUnitOptions
_AXIS_LABELS, _VALUE_LABELS = 2, 3  # of AssociatedFileType
_LARGEST_LABELS, _MOST_ENTRIES = 16 << 20, 64
# Operations that leave the meaning of values as it is.
_PASSING = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST", "TRANSPOSE", "EXPAND_DIMS"}
_SUMS = {"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"}
_ENDS: dict[str, Activation] = {
    "SOFTMAX": "softmax",
    "LOGISTIC": "sigmoid",
    "LOG_SOFTMAX": "linear",
    "HARD_SIGMOID": "sigmoid",
}


def hints(model: Any, path: Path) -> Hints:
    """Return what a file states; `model` is its `ModelT`."""
    activations = tuple(_activation(model, int(index)) for index in model.subgraphs[0].outputs)
    data = tflite_flatbuffer.read_metadata(model, _METADATA)
    if data is None:
        return Hints(activations=activations)
    with interpreting(f"The metadata of {path}"):
        how, labels = _read(data, path)
    return Hints("TFLite metadata", how, None, labels, activations)


def _activation(model: Any, tensor: int) -> Activation | None:
    """Return how the values of an output come about."""
    graph = model.subgraphs[0]
    makers = {int(i): op for op in graph.operators for i in op.outputs}
    for _ in range(len(graph.operators)):
        op = makers.get(tensor)
        if op is None:
            return None
        name = tflite_flatbuffer.op_name(model, op)
        if name in _ENDS:
            return _ENDS[name]
        if name in _SUMS:
            return "other" if _fused(op) or _is_map(graph.tensors[tensor]) else "linear"
        inputs = [int(i) for i in op.inputs if i >= 0]
        constants = [i for i in inputs if i not in makers and i not in graph.inputs]
        added = name in ("ADD", "SUB", "MUL") and len(constants) == 1 and not _fused(op)
        if name not in _PASSING and not added:
            return "other"
        tensor = next(i for i in inputs if i not in constants) if added else inputs[0]
    return None


def _fused(op: Any) -> bool:
    """Whether an operation has an activation built in."""
    return bool(getattr(op.builtinOptions, "fusedActivationFunction", 0))


def _is_map(tensor: Any) -> bool:
    """Whether a tensor has a height or width: (1, height, width, channels)."""
    return len(tensor.shape) == 4 and any(int(n) != 1 for n in tensor.shape[1:3])


def _read(data: bytes, path: Path) -> tuple[Normalization | None, tuple[str, ...]]:
    root = _Table(data, struct.unpack_from("<I", data)[0])
    for graph in root.tables(3)[:1]:
        first = next(iter(graph.tables(2)), None)
        last = next(iter(graph.tables(3)), None)
        how = None if first is None else _normalization(first)
        return how, () if last is None else _labels(last, path)
    return None, ()


def _normalization(tensor: _Table) -> Normalization | None:
    """Return (pixel - mean) / std of an input as scale and offset."""
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.byte(0) != _NORMALIZATION or options is None:
            continue
        means, deviations = options.floats(0), options.floats(1)
        count = max(len(means), len(deviations))
        if not means or not deviations or count not in (1, 3) or 0 in deviations:
            continue
        means, deviations = means * (3 // len(means)), deviations * (3 // len(deviations))
        scale = tuple(1 / deviation for deviation in deviations)
        offset = tuple(-m / d + 0.0 for m, d in zip(means, deviations, strict=True))
        return named(Normalization(CUSTOM, scale, offset))
    return None


def _labels(tensor: _Table, path: Path) -> tuple[str, ...]:
    """Return the labels that an output names, from the zip behind the flatbuffer."""
    files = [file for file in tensor.tables(6) if file.byte(2) in (_AXIS_LABELS, _VALUE_LABELS)]
    # Labels in other languages have a locale.
    files.sort(key=lambda file: bool(file.text(3)))
    for file in files:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(file.text(0)) as stream:
                text = stream.read(_LARGEST_LABELS + 1)
        except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError):
            continue
        if len(text) <= _LARGEST_LABELS:
            return tuple(line.strip() for line in text.decode("utf-8-sig").splitlines() if line)
    return ()


class _Table:
    """A table of a flatbuffer, read by slots; a wrong offset raises struct.error."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - struct.unpack_from("<i", data, place)[0]
        if not 0 <= self._fields < len(data):
            raise ValueError("an offset points outside of the metadata")

    def _field(self, slot: int) -> int | None:
        size = struct.unpack_from("<H", self._data, self._fields)[0]
        if 4 + 2 * slot + 2 > size:
            return None
        offset = struct.unpack_from("<H", self._data, self._fields + 4 + 2 * slot)[0]
        return self._place + offset if offset else None

    def _target(self, slot: int) -> int | None:
        field = self._field(slot)
        return None if field is None else field + self._number(field)

    def _number(self, place: int) -> int:
        return int(struct.unpack_from("<I", self._data, place)[0])

    def byte(self, slot: int) -> int:
        """A number of one byte; 0 by default."""
        field = self._field(slot)
        return 0 if field is None else self._data[field]

    def table(self, slot: int) -> _Table | None:
        """A table in this one."""
        target = self._target(slot)
        return None if target is None else _Table(self._data, target)

    def tables(self, slot: int) -> list[_Table]:
        """A vector of tables, of which the first ones count."""
        target = self._target(slot)
        if target is None:
            return []
        count = min(self._number(target), _MOST_ENTRIES)
        places = [target + 4 + 4 * i for i in range(count)]
        return [_Table(self._data, place + self._number(place)) for place in places]

    def floats(self, slot: int) -> list[float]:
        """A vector of float32."""
        target = self._target(slot)
        if target is None:
            return []
        count = min(self._number(target), _MOST_ENTRIES)
        return list(struct.unpack_from(f"<{count}f", self._data, target + 4))

    def text(self, slot: int) -> str:
        """A text; "" by default."""
        target = self._target(slot)
        if target is None:
            return ""
        start = target + 4
        return self._data[start : start + self._number(target)].decode("utf-8", "replace")
