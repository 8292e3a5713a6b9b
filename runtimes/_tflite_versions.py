"""The first TFLite release that runs an operation, from its version and its types.

The file has a version for each operation, and TFLite's own table has the release that introduced
it (tflite/tools/versioning/runtime_version.cc of LiteRT, 2025). Quantizers do not always raise the
version with the types, so the version is also derived from the types, by the rules of
tflite/tools/versioning/op_version.cc: the later one counts.
"""

from __future__ import annotations

from typing import Any

from edgezoo.core.releases import Requirement, release_numbers
from edgezoo.formats import tflite_flatbuffer

# Releases that introduced version 1, 2, 3, … of an operation of image networks. Operations that are
# not in the table are reported as unknown.
_RELEASES = """
ABS 1.13 2.4 2.5 2.6 2.12, ADD 1.5 1.14 2.4 2.6 2.13, ARG_MAX 1.9 1.14 2.9,
ARG_MIN 1.9 1.14 2.9, AVERAGE_POOL_2D 1.5 1.14 2.3, BATCH_MATMUL 2.3 2.3 2.4 2.5,
CAST 1.5 2.7 2.8 2.9 2.12 2.15 2.17, CONCATENATION 1.5 1.14 2.3 2.14,
CONV_2D 1.5 1.14 1.14 2.3 2.4 2.9 2.11 2.15, DEPTHWISE_CONV_2D 1.5 1.12 1.14 2.2 2.3 2.3 2.11,
DEPTH_TO_SPACE 2.1 2.5, DEQUANTIZE 1.13.1 1.14 1.15 2.2 2.7 2.18, DIV 1.6 2.3, ELU 1.14,
EXP 1.7 2.12, EXPAND_DIMS 1.10,
FULLY_CONNECTED 1.5 1.10 1.14 1.14 2.0 2.1 2.3 2.3 2.3 2.11 2.15 2.17 2.18,
GATHER 1.6 1.14 1.15 2.4 2.5 2.13 2.15, GELU 2.9 2.9, HARD_SWISH 1.15,
L2_NORMALIZATION 1.5 1.14, LEAKY_RELU 1.13.1 2.3, LOGISTIC 1.14 1.14 2.3, LOG_SOFTMAX 1.14 1.14,
LSTM 1.7 1.10 1.14 2.3, MAXIMUM 1.14 1.14 2.3 2.3, MAX_POOL_2D 1.5 1.14 2.3, MEAN 1.6 1.14 2.4,
MINIMUM 1.14 1.14 2.3 2.3, MIRROR_PAD 1.13.1 2.3 2.12, MUL 1.5 1.14 1.15 2.3 2.6 2.11 2.13,
NEG 1.9, PACK 1.11 1.14 2.3 2.13, PAD 1.5 1.14 2.4 2.6, PADV2 1.9 1.14 2.4 2.6, POW 1.10,
PRELU 1.8, QUANTIZE 1.14 1.15 2.7, REDUCE_MAX 1.11 1.14 2.5, REDUCE_MIN 1.11 1.14 2.5,
RELU 1.5 2.1 2.5, RELU6 1.5 1.14 2.5, RELU_0_TO_1 2.10, RELU_N1_TO_1 1.5, RESHAPE 1.5,
RESIZE_BILINEAR 1.7 1.14 2.2 2.5, RESIZE_NEAREST_NEIGHBOR 1.13.1 1.14 2.3 2.4,
RSQRT 1.10 2.5 2.15, SHAPE 1.10, SLICE 1.14 1.14 1.14 2.4 2.5 2.14, SOFTMAX 1.5 1.14 2.3,
SPACE_TO_BATCH_ND 1.6 1.14 2.3 2.12, BATCH_TO_SPACE_ND 1.6 1.14 2.3 2.12,
SPACE_TO_DEPTH 1.5 1.14, SPLIT 1.5 1.14 1.14 2.3, SPLIT_V 1.13.1 2.3, SQRT 1.10, SQUARE 1.12,
SQUARED_DIFFERENCE 1.13.1 2.5, SQUEEZE 1.6 2.5,
STRIDED_SLICE 1.6 1.14 2.1 2.2 2.5 2.6 2.14 2.14, SUB 1.6 1.14 2.3 2.4 2.4, SUM 1.10 1.15,
TANH 1.14 1.14 2.3, TRANSPOSE 1.6 1.14 1.15 2.3 2.4 2.12 2.14.4,
TRANSPOSE_CONV 1.9 2.2 2.3 2.13 2.15, UNIDIRECTIONAL_SEQUENCE_LSTM 1.13.1 1.14 2.3 2.12,
UNPACK 1.11 1.14 2.2 2.3
"""
_SINCE = {name: releases for name, *releases in map(str.split, _RELEASES.split(","))}
# The version that int8 inputs and outputs require; 2 (if there is one) for other operations.
_INT8_VERSION = {
    **dict.fromkeys(["CAST", "DEPTH_TO_SPACE", "DIV", "RESHAPE", "SPLIT_V", "SQUEEZE"], 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 1,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
}
# The same for activations of 16 bits, and for weights of 4.
_INT16_VERSION = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "FULLY_CONNECTED": 7, "SOFTMAX": 3}
_INT4_VERSION = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7, "FULLY_CONNECTED": 10}
# TFLite 2.4 brought the field builtin_code.
_NEWER_FIELD = "2.4.0"
# The first release of ai-edge-litert continues TFLite 2.17.
_LITERT = ("1.0.0", (2, 17))


def requirements(model: Any) -> tuple[Requirement, ...]:
    """Return what a parsed file (`ModelT`) requires of a TFLite runtime, the newest last."""
    found: dict[tuple[str, int], None] = {}
    for graph in model.subgraphs:
        for op in graph.operators:
            name = tflite_flatbuffer.op_name(model, op)
            code = model.operatorCodes[op.opcodeIndex]
            if name == tflite_flatbuffer.text(code.customCode):
                continue  # a custom operation has no release
            version = max(int(code.version), _version_by_types(name, graph, op))
            found[name, version] = None
    needs = [requirement(name, version) for name, version in found]
    if codes := tflite_flatbuffer.contradicting_codes(model):
        names = ", ".join(sorted(codes))
        needs.append(Requirement(f"the field builtin_code of {names}", _since(_NEWER_FIELD)))
    return tuple(sorted(needs, key=lambda n: release_numbers(n.since.get("tflite", "999"))))


def requirement(name: str, version: int) -> Requirement:
    """Return what a version of an operation requires of a TFLite runtime."""
    what = f"{name} version {version}"
    releases = _SINCE.get(name, [])
    if not 1 <= version <= len(releases):
        return Requirement(what, {})
    release = releases[version - 1]
    return Requirement(what, _since(release if release.count(".") == 2 else f"{release}.0"))


def _since(release: str) -> dict[str, str]:
    """Return the first releases of all packages with what came with one of TFLite."""
    since = {"tflite": release, "tensorflow": release, "tflite-runtime": release}
    if release_numbers(release) <= (*_LITERT[1], 99):
        since["ai-edge-litert"] = _LITERT[0]
    return since


def _version_by_types(name: str, graph: Any, op: Any) -> int:
    """Return the version that TFLite assigns to an operation with integer types."""
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    dtypes = [tflite_flatbuffer.tensor_dtype(tensor) for tensor in tensors]
    if "int4" in dtypes and name in _INT4_VERSION:
        return _INT4_VERSION[name]
    if dtypes[:1] == ["int16"] and name in _INT16_VERSION:
        return _INT16_VERSION[name]
    if name == "QUANTIZE" or "int8" not in dtypes or "float32" in dtypes:
        return 1
    return min(_INT8_VERSION.get(name, 2), max(1, len(_SINCE.get(name, []))))
