"""Read the signatures and operations of a SavedModel, without TensorFlow.

The fields are those of `saved_model.proto` and the files that it imports
(https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/protobuf). protobuf's own
parser reads them by descriptors of the fields that are used, and skips all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.formats.keras_files.reached import STARTUP_SIGNATURE, running

_LARGEST = 2**31 - 1  # protobuf's own limit
# `model.export` writes both for the same function.
_USUAL_SIGNATURES = ("serving_default", "serve")
# The fields, as in the .proto files: name, number, type; types of messages start with a capital
# letter, "*" marks repeated fields. A map is a repeated message of a key (1) and a value (2).
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "SavedModel": (("meta_graphs", 2, "*MetaGraph"),),
    "MetaGraph": (
        ("graph", 2, "Graph"),
        ("saver", 3, "Saver"),
        ("collections", 4, "*NamedCollection"),
        ("signatures", 5, "*NamedSignature"),
        ("objects", 7, "Objects"),
    ),
    "Graph": (("nodes", 1, "*Node"), ("library", 2, "Library")),
    "Node": (
        ("name", 1, "string"),
        ("op", 2, "string"),
        ("inputs", 3, "*string"),
        ("attributes", 5, "*NamedAttribute"),
    ),
    "NamedAttribute": (("key", 1, "string"), ("value", 2, "Attribute")),
    "Attribute": (("list", 1, "List"), ("text", 2, "bytes"), ("function", 10, "NamedFunction")),
    "List": (("functions", 9, "*NamedFunction"),),
    "NamedFunction": (("name", 1, "string"), ("attributes", 2, "*NamedAttribute")),
    "Library": (("functions", 1, "*Function"), ("gradients", 2, "*Gradient")),
    "Function": (
        ("signature", 1, "Operation"),
        ("nodes", 3, "*Node"),
        ("attributes", 5, "*NamedAttribute"),
    ),
    "Operation": (("name", 1, "string"),),
    "Gradient": (("function", 1, "string"), ("gradient", 2, "string")),
    "Saver": (("filename", 1, "string"), ("save", 2, "string"), ("restore", 3, "string")),
    "NamedCollection": (("key", 1, "string"), ("value", 2, "Collection")),
    "Collection": (("nodes", 1, "Names"),),
    "Names": (("values", 1, "*string"),),
    "Objects": (("nodes", 1, "*Object"), ("functions", 2, "*ConcreteFunction")),
    "Object": (),
    "ConcreteFunction": (("key", 1, "string"),),
    "NamedSignature": (("key", 1, "string"), ("value", 2, "Signature")),
    "Signature": (("inputs", 1, "*NamedTensor"), ("outputs", 2, "*NamedTensor")),
    "NamedTensor": (("key", 1, "string"), ("value", 2, "Tensor")),
    "Tensor": (("name", 1, "string"), ("dtype", 2, "int32"), ("shape", 3, "Shape")),
    "Shape": (("dims", 2, "*Dimension"), ("unknown_rank", 3, "bool")),
    "Dimension": (("size", 1, "int64"),),
}
# Operations that only compute, or hold the network's variables. Left out are PyFunc and the like,
# and operations that read or write files that they name.
_COMPUTING = """
Abs Add AddN AddV2 ArgMax Assert AssignVariableOp AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3
BiasAdd BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D DepthwiseConv2dNative
DepthToSpace DisableCopyOnRead DivNoNan Einsum Elu EnsureShape Equal Erf Exp ExpandDims Fill Floor
FloorDiv FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 GatherV2 Greater GreaterEqual Identity
IdentityN If LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max
MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg NoOp NotEqual OneHot Pack Pad
PadV2 PartitionedCall Placeholder PlaceholderWithDefault PlaceholderV2 Pow Prod Range Rank
ReadVariableOp RealDiv Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2
Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Size Slice Softmax
Softplus Softsign SpaceToBatchND BatchToSpaceND SpaceToDepth Split SplitV Sqrt Square
SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StaticRegexFullMatch StopGradient
StridedSlice StringJoin Sub Sum Tanh Tile TopKV2 Transpose Unpack VarHandleOp VarIsInitializedOp
VariableV2 Where ZerosLike
"""
# Random numbers, and what augmentation layers do with images: in training alone.
_TRAINING = """
AdjustContrastv2 AdjustHue AdjustSaturation Bitcast BitwiseAnd Cos HSVToRGB
ImageProjectiveTransformV2 ImageProjectiveTransformV3 RandomShuffle RandomStandardNormal
RandomUniform RandomUniformInt RGBToHSV RngReadAndSkip Sin StatefulStandardNormalV2
StatefulTruncatedNormal StatefulUniform StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_OPERATIONS = frozenset(f"{_COMPUTING} {_TRAINING}".split())
# What the saver that every SavedModel carries consists of. They take paths: nothing may run them.
_SAVING = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})


@dataclass(frozen=True, slots=True)
class SavedModelFacts:
    """See `reading.KerasFile`; `signature` is the one to call."""

    signature: str
    code: tuple[str, ...]
    inputs: tuple[tuple[int | None, ...] | None, ...]
    outputs: tuple[tuple[int | None, ...] | None, ...]


def read(folder: Path) -> SavedModelFacts:
    """Read the description of a SavedModel without loading it.

    Raises:
        DataError: the folder is not a SavedModel, or is damaged.
        RefusedError: it has several signatures, or none.
    """
    path = folder / SAVED_MODEL_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} is not a SavedModel: it has no {SAVED_MODEL_FILE}.", "Check the path."
        )
    model = _parsed(path)
    if len(model.meta_graphs) != 1:
        raise RefusedError(
            f"{folder} has {len(model.meta_graphs)} graphs; EdgeZoo takes one.",
            "Save the network again for inference only.",
        )
    graph = model.meta_graphs[0]
    signatures = {entry.key: entry.value for entry in graph.signatures}
    name = _chosen(folder, [key for key in signatures if key != STARTUP_SIGNATURE])
    chosen = signatures[name]
    return SavedModelFacts(
        name,
        _code(graph),
        tuple(_shape(entry.value) for entry in chosen.inputs),
        tuple(_shape(entry.value) for entry in chosen.outputs),
    )


def _code(meta_graph: Any) -> tuple[str, ...]:
    """Describe the operations that may touch files or run code, in the order of their names."""
    nodes = [*meta_graph.graph.nodes]
    for function in meta_graph.graph.library.functions:
        nodes += function.nodes
    unknown = {node.op for node in nodes} - _OPERATIONS - _SAVING
    saving = {node.op for node in running(meta_graph)} & _SAVING
    return (
        *(f"the operation {op}" for op in sorted(unknown)),
        *(f"the operation {op} in what it runs" for op in sorted(saving)),
    )


def _parsed(path: Path) -> Any:
    """Parse the file into the message `SavedModel` of `_MESSAGES`."""
    registry.require_packages(("google.protobuf",), "export", "Reading a SavedModel")
    from google.protobuf.message import DecodeError

    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} is larger than the limit of protobuf.")
    model = _message_class()()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    return model


def _chosen(folder: Path, names: list[str]) -> str:
    """Return the signature to call; Keras' two names for one function count as one."""
    if set(names) - set(_USUAL_SIGNATURES) and len(names) > 1:
        raise RefusedError(
            f"{folder} has {len(names)} signatures, {', '.join(sorted(names))}; EdgeZoo takes one.",
            "Save it again with one.",
        )
    if not names:
        raise RefusedError(
            f"{folder} has no signature, so it cannot be called.",
            "Save it with model.export(folder).",
        )
    return _USUAL_SIGNATURES[0] if _USUAL_SIGNATURES[0] in names else names[0]


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if tensor.shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in tensor.shape.dims)


@lru_cache(maxsize=1)
def _message_class() -> Any:
    """Return a protobuf class of the first message of `_MESSAGES`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "string": kinds.TYPE_STRING,
        "bytes": kinds.TYPE_BYTES,
        "bool": kinds.TYPE_BOOL,
        "int32": kinds.TYPE_INT32,
        "int64": kinds.TYPE_INT64,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="edgezoo_saved_model.proto", package="edgezoo_saved_model", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            word = kind.lstrip("*")
            described = message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if kind[0] == "*" else kinds.LABEL_OPTIONAL,
                type=scalars.get(word, kinds.TYPE_MESSAGE),
            )
            if word not in scalars:
                described.type_name = f".{file.package}.{word}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{file.package}.SavedModel")
    return message_factory.GetMessageClass(found)
