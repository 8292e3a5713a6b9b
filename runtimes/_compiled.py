"""TFLite files compiled for one accelerator: recognize and describe them without opening."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import Compiled, Description, TensorInfo
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.operators import COMPILED
from edgezoo.runtimes import _edgetpu, _tflite_faults, _tflite_versions


def operation(path: Path) -> str | None:
    """Return the custom operation of a compiled file; None for a plain file.

    It is found in the bytes, so that it works on a device without ai-edge-litert.
    """
    data = path.read_bytes()
    for code in COMPILED:
        # A string in a flatbuffer starts with its length and ends with a zero byte.
        if len(code).to_bytes(4, "little") + code.encode() + b"\0" in data:
            return code
    return None


def require_plain(path: Path) -> None:
    """Check that a CPU or a GPU can run a file.

    Raises:
        RefusedError: it was compiled for an accelerator.
    """
    reason = refusal(path)
    if reason:
        hint = "Use the file that it was compiled from."
        raise RefusedError(f"{path} cannot be opened: {reason}.", hint)


def refusal(path: Path) -> str | None:
    """Return why a CPU or a GPU cannot run a file, as a clause; None if it can."""
    code = operation(path)
    return code and f"it was compiled for {COMPILED[code][1]} and runs nowhere else"


def describe(path: Path) -> Description:
    """Describe a compiled file, which no interpreter on a CPU can open."""
    code = operation(path) or ""
    model = tflite_flatbuffer.read_model(path)
    graph = model.subgraphs[0]
    names = Counter(tflite_flatbuffer.op_name(model, op) for op in graph.operators)
    target = COMPILED[code][0]
    compiled = Compiled(target, names[code])
    needs = _tflite_versions.requirements(model)
    releases = minimum_releases(needs)
    if target == "coral":
        found = _edgetpu.read_package(path)
        release, sizes = str(found.minimum_runtime), (found.cached_bytes, found.streamed_bytes)
        compiled = Compiled(target, names[code], found.compiler, *sizes)
        releases["edgetpu-runtime"] = release
        needs = (*needs, Requirement(f"Edge TPU runtime {release}", {"edgetpu-runtime": release}))
    inputs = tuple(_info(graph.tensors[i]) for i in graph.inputs)
    outputs = tuple(_info(graph.tensors[i]) for i in graph.outputs)
    ops = dict(sorted(names.items()))
    faults = _tflite_faults.faults(model)
    return Description(ops, (), inputs, outputs, releases, True, needs, compiled, faults=faults)


def _info(tensor: Any) -> TensorInfo:
    name, dtype = tflite_flatbuffer.text(tensor.name), tflite_flatbuffer.tensor_dtype(tensor)
    info = TensorInfo(name, tuple(map(int, tensor.shape)), dtype)
    grid = tensor.quantization
    if grid is None or grid.scale is None:
        return info
    return replace(info, scale=float(grid.scale[0]), zero_point=int(grid.zeroPoint[0]))
