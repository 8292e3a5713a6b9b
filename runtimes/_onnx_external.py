"""The external files that an ONNX file names, found in its bytes.

ONNX stores large tensors in files that it names (`TensorProto.external_data`). An untrusted file
could name any file, or what onnxruntime takes for an address in memory. Only these names are parsed
from the protobuf wire format, without onnx, which a device does not have.

Source: https://protobuf.dev/programming-guides/encoding/ and onnx/onnx.proto.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgezoo.core.errors import DataError
from edgezoo.core.files import open_regular

# Fields that lead to tensors, by message: the number of the field and the message inside.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
_KEY, _VALUE = 1, 2  # fields of an entry
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10
_MOST_DEPTH = 100  # as protobuf's own parsers
_SHOWN = 200  # characters of a name


class _Field(NamedTuple):
    number: int
    start: int
    end: int


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files with external tensors of an ONNX file, sorted.

    Raises:
        DataError: it is not a protobuf message, or names a file outside its folder.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return ()
    with (
        open_regular(path) as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        try:
            names = sorted(set(_locations(data)))
        except (IndexError, ValueError) as error:
            message = f"{path} is not a complete ONNX file: {error}."
            raise DataError(message, "Check where it came from.") from error
    return tuple(_inside(path, name) for name in names)


def _inside(path: Path, name: str) -> Path:
    """Return the file of a name, in or below the folder of the ONNX file after links."""
    folder = path.parent.resolve()
    with contextlib.suppress(OSError, ValueError):
        place = (folder / name).resolve()
        if place.is_relative_to(folder) and place.is_file():
            return path.parent / name
    raise DataError(
        f"{path} has external tensors in {name[:_SHOWN]!r}, which is not a file in its folder.",
        "Use only files from sources that you trust.",
    )


def _locations(data: mmap.mmap) -> Iterator[str]:
    # A list instead of recursion: an untrusted file must not exhaust Python's stack.
    waiting = [("model", 0, len(data), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")
        inside = _INSIDE[kind]
        entry = {}
        for field in _fields(data, start, end):
            if kind == "entry" and field.number in (_KEY, _VALUE):
                entry[field.number] = data[field.start : field.end]
            elif field.number in inside:
                waiting.append((inside[field.number], field.start, field.end, depth + 1))
        if entry.get(_KEY) == b"location":
            yield entry.get(_VALUE, b"").decode("utf-8", "surrogateescape")


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message that have a length; others are skipped."""
    while place < end:
        tag, place = _varint(data, place, end)
        wire = tag & 7
        if wire == _LENGTH:
            length, place = _varint(data, place, end)
            if place + length > end:
                raise ValueError("a field extends past the end")
            yield _Field(tag >> 3, place, place + length)
            place += length
        elif wire == _VARINT:
            _, place = _varint(data, place, end)
        elif wire in (_EIGHT, _FOUR):
            place += 8 if wire == _EIGHT else 4
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")
    if place > end:
        raise ValueError("a number extends past the end")


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = 0
    for count in range(_LONGEST_VARINT):
        if place >= end:
            raise ValueError("a number extends past the end")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place
    raise ValueError("a number has more than 64 bits")
