"""TFLite files by TensorFlow's converter and LiteRT's quantizer.

An int8 file computes in int8 throughout, per channel; its input and output type is uint8 by
default: the input tensor's scale and zero point are the normalization, so raw pixels go in.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgezoo.core.artifact import CONTRACT_KEY, LABELS_FILE, Artifact, InputContract
from edgezoo.core.protocols import CalibrationSource, ExportJob, Intermediate, Source
from edgezoo.core.recipe import Preparation
from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.core.spec import IO_TYPES, ModelSpec
from edgezoo.exporters import _common, _tflite_metadata
from edgezoo.exporters import _tflite_graph as edit
from edgezoo.formats import tflite_flatbuffer

_PARTING = ("SPLIT", "SPLIT_V", "UNPACK")
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same model becomes the same bytes


@dataclass(frozen=True, slots=True)
class TfliteExporter(_common.BaseExporter):
    """Exporter of `.tflite`."""

    name: str = "tflite"
    suffix: str = ".tflite"
    packages: tuple[str, ...] = ("tensorflow", "keras", "ai_edge_litert", "litert_quantizer")

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        """See `Exporter`."""
        if job.layout != "NHWC":
            return "TFLite's operations take NHWC alone (--input-layout nhwc)"
        refusal = _common.resize_refusal(job) or _common.qdq_refusal(job)
        return refusal or _common.io_refusal(job, IO_TYPES, "a TFLite int8 file")

    def intermediates(self, contract: InputContract, job: ExportJob) -> tuple[Intermediate, ...]:
        """See `Exporter`."""
        if job.precision == "int8":
            return ("prepared.tflite",)
        return ("fp16.tflite",) if job.precision == "float16" else ("float.tflite",)

    def export(
        self, source: Source, job: ExportJob, calibration: CalibrationSource | None, stem: Path
    ) -> Artifact:
        """See `Exporter`."""
        path = stem.with_name(stem.name + self.suffix)
        contract = _common.contract_for(source, job)
        if job.precision == "int8":
            preparation = Preparation.load(source.preparation("prepared.tflite"))
            model = _quantize(source, preparation)
            dtype = "float32" if job.input_kind == "normalized" else job.io or "uint8"
            _set_io(model, dtype, job, preparation.input_scale)
            typed = replace(contract, input_dtype=dtype, output_dtype=dtype)
            contract = _common.quantized_contract(
                typed, calibration, preparation, "litert-quantizer", "int8"
            )
        elif job.precision == "float16":
            model = _to_float16(source)
        else:
            model = tflite_flatbuffer.read_model(source.intermediate("float.tflite"))
        _finish(model, contract, path)
        return Artifact(path, self.name, (path,), contract)


def _to_float16(source: Source) -> Any:
    """Store weights in float16; the runtime computes in float32 or in what a delegate prefers."""
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName

    casting = quantizer.Quantizer(str(source.intermediate("fp16.tflite")))
    everything, cast = qtyping.TFLOperationName.ALL_SUPPORTED, AlgorithmName.FLOAT_CASTING
    casting.add_weight_only_config(".*", everything, num_bits=16, algorithm_key=cast)
    return _result(casting.quantize(enable_progress_bar=False, enable_progress_report=False))


def _quantize(source: Source, preparation: Preparation) -> Any:
    """Quantize to a full-integer model with the ranges of the preparation."""
    import numpy as np
    from litert_quantizer import qtyping, quantizer, recipe
    from litert_quantizer.algorithm_manager import AlgorithmName

    from edgezoo.formats.tflite_stepwise import StepwiseNetwork

    intermediate = source.intermediate("prepared.tflite")
    tensors = tflite_flatbuffer.read_model(intermediate).subgraphs[0].tensors
    ones = {tflite_flatbuffer.text(tensor.name): (1,) * len(tensor.shape) for tensor in tensors}
    ranges = {
        name: {
            "min": np.full(ones[name], low, np.float32),
            "max": np.full(ones[name], high, np.float32),
        }
        for name, (low, high) in preparation.ranges.items()
    }
    static = quantizer.Quantizer(str(intermediate), recipe.static_wi8_ai8())
    everything, no = qtyping.TFLOperationName.ALL_SUPPORTED, AlgorithmName.NO_QUANTIZE
    if preparation.recipe.granularity == "per-tensor":
        static.add_static_config(
            ".*",
            everything,
            activation_num_bits=8,
            weight_num_bits=8,
            weight_granularity=qtyping.QuantGranularity.TENSORWISE,
        )
    network = StepwiseNetwork(intermediate)
    in_float = network.float_parts()
    # XNNPACK does not take a SPLIT in int8 of which a part is not read.
    in_float |= {step.index for step in network.steps if step.kind in _PARTING}
    parts = [network.name(network.steps[i].output) for i in sorted(in_float)]
    for layer in (*preparation.recipe.float_layers, *parts):
        name = f"^{re.escape(layer)};"
        static.update_quantization_recipe(name, everything, algorithm_key=no)
    return _result(static.quantize(ranges, enable_progress_bar=False, enable_progress_report=False))


def _result(quantized: Any) -> Any:
    return tflite_flatbuffer.parse(bytes(quantized.quantized_model))


def _set_io(model: Any, dtype: str, job: ExportJob, input_scale: float) -> None:
    """Give the file the input and output type that was asked for.

    Where the first layer stays in float, a DEQUANTIZE replaces the QUANTIZE of 8-bit layers.
    """
    graph = model.subgraphs[0]
    inner, outer = int(graph.inputs[0]), int(graph.outputs[0])
    in_float = tflite_flatbuffer.tensor_dtype(graph.tensors[inner]) == "float32"
    first, last = inner, outer
    if dtype == "float32":
        first = _take_floats(model, inner, job, input_scale, in_float)
        last = edit.add_float_twin(graph, outer)
        edit.insert(model, "DEQUANTIZE", [outer], last, len(graph.operators))
    elif in_float:
        first = edit.add_pixel_twin(graph, inner, dtype, input_scale)
        edit.insert(model, "DEQUANTIZE", [first], inner, 0)
    elif dtype == "uint8":
        first = edit.add_unsigned_twin(graph, inner)
        edit.insert(model, "QUANTIZE", [first], inner, 0)
    if dtype == "uint8":
        last = edit.add_unsigned_twin(graph, outer)
        edit.insert(model, "QUANTIZE", [outer], last, len(graph.operators))
    for old, new in ((inner, first), (outer, last)):
        if old != new:
            name = tflite_flatbuffer.text(graph.tensors[old].name)
            kind = tflite_flatbuffer.tensor_dtype(graph.tensors[old])
            graph.tensors[old].name, graph.tensors[new].name = f"{name}/{kind}", name
    edit.move_input(model, first)
    edit.move_output(model, last)


def _take_floats(model: Any, inner: int, job: ExportJob, input_scale: float, in_float: bool) -> int:
    """Let a network take float32, pixels or normalized; return the new input tensor."""
    graph = model.subgraphs[0]
    first = edit.add_float_twin(graph, inner)
    entry, place = first, 0
    if job.input_kind == "pixels":
        centred = edit.add_float_twin(graph, inner, "image/centred")
        entry = inner if in_float else edit.add_float_twin(graph, inner, "image/normalized")
        zero = edit.add_scalar(model, "image/zero", PIXEL_ZERO)
        scale = edit.add_scalar(model, "image/scale", input_scale)
        edit.insert(model, "SUB", [first, zero], centred, 0)
        edit.insert(model, "MUL", [centred, scale], entry, 1)
        place = 2
    if entry == first and in_float:
        graph.tensors.pop()
        return inner
    if entry != inner:
        edit.insert(model, "QUANTIZE", [entry], inner, place)
    return first


def _finish(model: Any, contract: InputContract, path: Path) -> None:
    """Write the file with its contract inside, and with the metadata that other tools read.

    The contract is there twice: as metadata of our own, and in a zip at the end of the file, which
    a device reads with Python's standard library. The labels, most of it, are in the zip alone, as
    the file that TFLite's metadata names; MediaPipe reads it only without compression.
    """
    facts = contract.to_json()
    del facts["labels"]
    text = json.dumps(facts, separators=(",", ":"))
    if contract.precision != "float32":
        # The converter computed it for float operations; quantized ones need newer runtimes.
        tflite_flatbuffer.remove_metadata(model, "min_runtime_version")
    model.description = f"{contract.model} {contract.precision}, made by EdgeZoo"
    tflite_flatbuffer.add_metadata(model, CONTRACT_KEY, text.encode())
    metadata = _tflite_metadata.metadata(model, contract)
    tflite_flatbuffer.add_metadata(model, _tflite_metadata.NAME, metadata)
    tflite_flatbuffer.write_model(model, path)
    attached = {f"{CONTRACT_KEY}.json": text}
    if contract.labels:
        attached[LABELS_FILE] = "\n".join(contract.labels) + "\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for name, content in attached.items():
            files.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
    with path.open("ab") as stream:
        stream.write(archive.getvalue())


EXPORTER = TfliteExporter()
