"""Reads and changes TFLite files: the helpers that several layers need.

The schema is TFLite's own (schema.fbs), in the object form that ai-edge-litert ships.
Nothing is imported before it is used: a device may run a .tflite without this module.
"""

from __future__ import annotations

import copy
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, MissingError, RefusedError
from edgezoo.core.files import open_regular
from edgezoo.formats import operators

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The schema's names of types are numpy's in capitals. Of those that numpy lacks, these are packed:
# several numbers to a byte, the first one in the lowest bits.
_PACKED_BITS = {"int4": 4, "uint4": 4, "int2": 2}
_PLAIN = {"float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64"}
_PLAIN |= {"uint8", "uint16", "uint32", "uint64"}
_LEAST_PART = 4  # bytes: of the offset to a part

# Scopes that a Keras layer opens for a part of its own work.
_INNER_SCOPES = ("batchnorm", "separable_conv2d")


def schema() -> Any:
    """The generated schema module.

    Raises:
        MissingError: ai-edge-litert, which has it, is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingError(
            "Looking into a .tflite file needs ai-edge-litert, which is not installed.",
            "Run: pip install ai-edge-litert",
        ) from error
    return schema_py_generated


def read_model(path: Path) -> Any:
    """Read a file as a tree of `ModelT` objects.

    Raises:
        DataError: not a TFLite flatbuffer, or a damaged one.
        MissingError: see `schema`.
    """
    with open_regular(path) as stream:
        data = bytearray(os.fstat(stream.fileno()).st_size)  # one copy that can be changed
        del data[stream.readinto(data) :]
    if data[4:8] != b"TFL3":
        raise DataError(f"{path} is not a TFLite file.", "Check where it came from.")
    try:
        return parse(data)
    except MissingError:
        raise
    except Exception as error:  # the generated reader raises whatever a wrong offset leads to
        raise DataError(f"{path} is a damaged TFLite file: {error}.") from error


def parse(data: bytes | bytearray) -> Any:
    """Parse a file's bytes to a `ModelT`, with the buffers that are behind the flatbuffer."""
    import numpy as np

    _check_counts(data)
    data = data if isinstance(data, bytearray) else bytearray(data)
    model = schema().ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset, buffer.size = 0, 0
    return model


def _check_counts(data: bytes | bytearray) -> None:
    """Check that a file can hold the number of parts it declares, before they become objects.

    Many places of a flatbuffer may refer to the same bytes, so that a small untrusted file could
    declare any number of objects. In files of a normal writer each part has its own bytes.

    Raises:
        ValueError: more parts than the file has room for.
    """
    model = schema().Model.GetRootAs(data, 0)
    signatures = model.SignatureDefsLength()
    count = model.OperatorCodesLength() + model.BuffersLength() + model.MetadataLength()
    count += model.SubgraphsLength() + signatures
    room = len(data) // _LEAST_PART
    for i in range(min(model.SubgraphsLength(), room)):
        graph = model.Subgraphs(i)
        count += graph.TensorsLength() + graph.OperatorsLength()
    for i in range(min(signatures, room)):
        count += model.SignatureDefs(i).InputsLength() + model.SignatureDefs(i).OutputsLength()
    if count > room:
        raise ValueError(f"{count} parts in {len(data)} bytes")


def write_model(model: Any, path: Path) -> None:
    """Pack a `ModelT` and write it; the same tree becomes the same bytes.

    Both fields of each operator code get the same operation, see `contradicting_codes`.
    """
    import flatbuffers

    for code in model.operatorCodes or []:
        code.builtinCode = _code_number(code)
        code.deprecatedBuiltinCode = _old_field(code.builtinCode)
    # Room for all at once: a builder that grows holds the file twice, and of VGG16 that is 1.5 GB.
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    builder.Finish(model.Pack(builder), b"TFL3")
    with path.open("wb") as stream:
        stream.write(memoryview(builder.Bytes)[builder.Head() :])


def text(value: bytes | str | None) -> str:
    """Decode a name: bytes in a tree that was read, str in one that was changed."""
    return value.decode() if isinstance(value, bytes) else value or ""


def op_name(model: Any, op: Any) -> str:
    """Return an operation's name, such as CONV_2D; the custom code of a custom operation."""
    return _code_name(model.operatorCodes[op.opcodeIndex])


def _code_name(code: Any) -> str:
    number = _code_number(code)
    if number == schema().BuiltinOperator.CUSTOM:
        return text(code.customCode)
    return _op_names().get(number, f"BUILTIN_{number}")


def _code_number(code: Any) -> int:
    """Return an operator code as TFLite 2.4 and later read it: the larger of the two fields."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _old_field(number: int) -> int:
    """Return what the older field of an operator code, a signed byte, has to be."""
    return min(number, int(schema().BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES))


def contradicting_codes(model: Any) -> dict[str, str]:
    """Return operations whose two code fields differ, with what the older field alone says.

    Readers of the older schema, and some of today, read `deprecated_builtin_code` alone, where 0 is
    ADD. Files from before TFLite 2.4 have only that field, and every reader reads them.
    """
    found = {}
    for code in model.operatorCodes or []:
        number, old = _code_number(code), int(code.deprecatedBuiltinCode)
        if old != _old_field(number) or code.builtinCode not in (0, number):
            other = old if old != _old_field(number) else int(code.builtinCode)
            found[_code_name(code)] = _op_names().get(other, f"BUILTIN_{other}")
    return found


@lru_cache(maxsize=1)
def _op_names() -> dict[int, str]:
    operators = vars(schema().BuiltinOperator).items()
    return {number: name for name, number in operators if not name.startswith("_")}


def tensor_dtype(tensor: Any) -> str:
    """Return the numpy name of a tensor's type, or such a name for a type that numpy has not."""
    return _type_names().get(tensor.type, f"type{tensor.type}")


@lru_cache(maxsize=1)
def _type_names() -> dict[int, str]:
    types = vars(schema().TensorType).items()
    return {number: name.lower() for name, number in types if not name.startswith("_")}


def constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    """Copy a constant tensor's values, in its shape; None for a computed tensor.

    Numbers of fewer than 8 bits become int8 or uint8, bfloat16 becomes float32.

    Raises:
        RefusedError: texts and other types that are no numbers of a known size.
    """
    import numpy as np

    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    values, dtype = np.array(data, np.uint8), tensor_dtype(tensor)
    shape = [int(n) for n in tensor.shape]
    if dtype in _PACKED_BITS:
        return _unpack(values, dtype)[: math.prod(shape)].reshape(shape)
    if dtype == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in _PLAIN:
        raise RefusedError(
            f"The tensor {text(tensor.name)} has values of type {dtype}, which EdgeZoo does not "
            "read.",
            "Convert the network with weights in float32, float16 or int8.",
        )
    return values.view(dtype).reshape(shape)


def _unpack(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    import numpy as np

    bits = _PACKED_BITS[dtype]
    places = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (values[:, None] >> places) & (2**bits - 1)
    # Moving the sign bit to the top and back extends it.
    shifted = (parts << (8 - bits)).astype(np.uint8).view(np.int8) >> (8 - bits)
    return np.asarray(shifted if dtype.startswith("int") else parts).reshape(-1)


def _pack(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    import numpy as np

    bits = _PACKED_BITS[dtype]
    count = 8 // bits
    flat = np.asarray(values, np.int16).reshape(-1)
    padded = np.pad(flat, (0, -len(flat) % count)) & (2**bits - 1)
    parts = padded.reshape(-1, count) << np.arange(0, 8, bits)
    return np.asarray(parts.sum(1), np.uint8)


def set_constant(model: Any, tensor: Any, values: NDArray[Any]) -> None:
    """Replace a constant tensor's values, keeping type and shape."""
    import numpy as np

    dtype = tensor_dtype(tensor)
    if dtype in _PACKED_BITS:
        packed = _pack(values, dtype)
    else:
        packed = np.ascontiguousarray(values, dtype)
    model.buffers[tensor.buffer].data = np.frombuffer(packed.tobytes(), np.uint8)


def add_metadata(model: Any, name: str, data: bytes) -> None:
    """Attach named bytes, or replace those of that name."""
    import numpy as np

    buffer = schema().BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    for entry in model.metadata or []:
        if text(entry.name) == name:
            model.buffers[entry.buffer] = buffer
            return
    model.buffers.append(buffer)
    entry = schema().MetadataT()
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def remove_metadata(model: Any, name: str) -> None:
    """Detach named bytes, if the file has them."""
    model.metadata = [entry for entry in model.metadata or [] if text(entry.name) != name]


def read_metadata(model: Any, name: str) -> bytes | None:
    """Return named bytes; None where the file has none of that name."""
    for entry in model.metadata or []:
        if text(entry.name) == name:
            return bytes(model.buffers[entry.buffer].data)
    return None


def add_signature(model: Any, input_name: str, output_name: str) -> None:
    """Add the signature `serving_default`, and name the input and output tensors after it."""
    graph = model.subgraphs[0]
    signature = schema().SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [schema().TensorMapT()], [schema().TensorMapT()]
    pairs = ((input_name, graph.inputs[0]), (output_name, graph.outputs[0]))
    for (name, index), entry in zip(pairs, signature.inputs + signature.outputs, strict=True):
        entry.name, entry.tensorIndex = name, int(index)
        graph.tensors[index].name = name
    model.signatureDefs = [signature]


def layer_name(long_name: str) -> str:
    """Extract the Keras layer's name from the converter's `net/layer_1/Op;net/...`."""
    parts = long_name.split(";")[0].split("/")
    scopes = [part for part in parts[:-1] if part not in _INNER_SCOPES]
    return (scopes[-1] if scopes else parts[-1]).removesuffix("_1")


def rename_layers(model: Any) -> None:
    """Name computed tensors after their layer, and constants `layer/weights` and `layer/bias`.

    ONNX and OpenVINO files inherit the names, so that a layer has the same name everywhere.
    """
    graph = model.subgraphs[0]
    kept = {int(i) for i in (*graph.inputs, *graph.outputs)}
    taken = {text(graph.tensors[i].name) for i in kept}

    def assign(index: int, wanted: str) -> None:
        if index < 0 or index in kept:
            return
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        kept.add(index)
        graph.tensors[index].name = name

    for op in graph.operators:
        layer = layer_name(text(graph.tensors[op.outputs[0]].name))
        for index in op.outputs:
            assign(int(index), layer)
        constants = [int(i) for i in op.inputs if i >= 0 and is_constant(model, int(i))]
        for index, role in zip(constants, ("weights", "bias", "extra"), strict=False):
            assign(index, f"{layer}/{role}")


def is_constant(model: Any, index: int) -> bool:
    """Whether the file contains the values of a tensor of the main graph."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return data is not None and len(data) > 0


def own_constants(source: Path, path: Path) -> None:
    """Write a copy of a file in which no layers with weights share constants.

    TensorFlow's converter stores equal constants once: all layers without a bias share zeros, and
    correcting the bias of one layer would change all of them.
    """
    model = read_model(source)
    graph = model.subgraphs[0]
    names = {text(tensor.name) for tensor in graph.tensors}
    # Bytes are shared across types too: three zeros of a bias are also the start of a slice.
    read = {
        graph.tensors[index].buffer
        for op in graph.operators
        for place, index in enumerate(map(int, op.inputs))
        if index >= 0 and (op_name(model, op) not in operators.TFLITE or place not in (1, 2))
    }
    for op in graph.operators:
        if op_name(model, op) not in operators.TFLITE:
            continue
        layer = text(graph.tensors[op.outputs[0]].name)
        for place, role in ((1, "weights"), (2, "bias")):
            index = int(op.inputs[place]) if place < len(op.inputs) else -1
            if index < 0 or not is_constant(model, index):
                continue
            buffer = graph.tensors[index].buffer
            if buffer in read:
                model.buffers.append(copy.copy(model.buffers[buffer]))
                tensor = copy.copy(graph.tensors[index])
                name = f"{layer}/{role}"
                tensor.name = f"{name}_own" if name in names else name
                tensor.buffer = len(model.buffers) - 1
                graph.tensors.append(tensor)
                op.inputs[place] = len(graph.tensors) - 1
            read.add(buffer)
    write_model(model, path)
