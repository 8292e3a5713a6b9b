"""Writes TFLite metadata, which MediaPipe Tasks and TFLite's task libraries read.

Built field by field from the published schema (metadata_schema.fbs, root ModelMetadata, file
identifier M001), since the packages that write it pin old libraries. The numbers below are field
slots or enumeration members of that schema.
See https://ai.google.dev/edge/litert/conversion/tensorflow/metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgezoo.core.artifact import LABELS_FILE, InputContract
from edgezoo.core.rounding import PIXEL_ZERO

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.0"  # of the fields below: the first release of the schema
_RGB, _GREY = 1, 2
_FEATURES, _IMAGE = 1, 2  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_TENSOR_AXIS_LABELS = 2  # AssociatedFileType


def metadata(model: Any, contract: InputContract) -> bytes:
    """Return the metadata of a finished `ModelT`; the same bytes for the same model."""
    import flatbuffers

    builder = flatbuffers.Builder(2048)
    text = builder.CreateString
    tensors = [_input(builder, contract, _normalization(model, contract))]
    graph = {2: _vector(builder, tensors), 3: _vector(builder, [_output(builder, contract)])}
    subgraph = _table(builder, 10, graph)
    fields = {
        0: text(f"{contract.model} {contract.precision}"),
        1: text("The contract is in the metadata edgezoo_contract."),
        3: _vector(builder, [subgraph]),
        4: text("EdgeZoo"),
        7: text(_MIN_PARSER_VERSION),
    }
    root = _table(builder, 8, fields)
    builder.Finish(root, _IDENTIFIER)
    return bytes(builder.Output())


def _normalization(
    model: Any, contract: InputContract
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return mean and std of the real input of RGB pixels: (pixel - mean) / std.

    A client quantizes that by the scale and zero point of an 8-bit input, which results in the
    pixel itself. None where the channels must be swapped as well, which the schema cannot express:
    clients that need the numbers then refuse the file.
    """
    graph = model.subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    if contract.input_kind == "normalized":
        how = contract.normalization
        if how.channel_order != "RGB":
            return None
        pairs = list(zip(how.scale, how.offset, strict=True))
        pairs = pairs[:1] if len(set(pairs)) == 1 else pairs
        return [-offset / scale for scale, offset in pairs], [1 / scale for scale, _ in pairs]
    if contract.input_dtype in ("uint8", "int8"):
        return [float(PIXEL_ZERO)], [1 / float(quantization.scale[0])]
    return [0.0], [1.0]


def _input(
    builder: Any, contract: InputContract, how: tuple[Sequence[float], Sequence[float]] | None
) -> int:
    swapped = contract.input_kind == "normalized" and contract.normalization.channel_order != "RGB"
    colours = _GREY if contract.channels == 1 else _RGB
    image = _table(builder, 2, {} if swapped else {0: ("Uint8", colours)})
    units = []
    if how is not None:
        mean, deviation = (builder.CreateNumpyVector(_floats(values)) for values in how)
        options = _table(builder, 2, {0: mean, 1: deviation})
        units = [_table(builder, 2, {0: ("Uint8", _NORMALIZATION), 1: options})]
    fields = {0: builder.CreateString("image"), 1: builder.CreateString(contract.summary)}
    fields[3] = _table(builder, 2, {0: ("Uint8", _IMAGE), 1: image})
    return _table(builder, 7, {**fields, 4: _vector(builder, units)})


def _output(builder: Any, contract: InputContract) -> int:
    text, files = builder.CreateString, []
    if contract.labels:
        what = "A class name a line, in the order of the output."
        fields = {0: text(LABELS_FILE), 1: text(what), 2: ("Uint8", _TENSOR_AXIS_LABELS)}
        files = [_table(builder, 5, fields)]
    content = _table(builder, 2, {0: ("Uint8", _FEATURES), 1: _table(builder, 0, {})})
    stats = None
    if contract.output_kind == "probabilities":
        low, high = (builder.CreateNumpyVector(_floats([bound])) for bound in (0.0, 1.0))
        stats = _table(builder, 2, {0: high, 1: low})
    kind = text(contract.output_kind)
    return _table(builder, 7, {0: kind, 3: content, 5: stats, 6: _vector(builder, files)})


def _floats(values: Sequence[float]) -> Any:
    import numpy as np

    return np.asarray(values, np.float32)


def _table(builder: Any, slots: int, fields: Mapping[int, int | tuple[str, int] | None]) -> int:
    """Write a table; a field is the offset of what was written before, or a typed scalar."""
    builder.StartObject(slots)
    for slot, value in fields.items():
        if value is None:
            continue
        if isinstance(value, tuple):
            getattr(builder, f"Prepend{value[0]}Slot")(slot, value[1], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int | None:
    """Write a vector of tables; None without tables, which leaves the field out."""
    if not offsets:
        return None
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
