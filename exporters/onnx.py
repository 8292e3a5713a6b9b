"""ONNX files by tf2onnx and ONNX Runtime's quantizer.

An int8 file is QDQ with uint8 activations and int8 weights, the pair of types with the fastest
kernels. On x86 without VNNI they add two such products in 16 bits and saturate: a file that is
right elsewhere loses 15 points there. So the weights of each channel are rounded to a grid that is
just wide enough for its worst pair to fit: the file returns the same on all CPUs.
See https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (U8S8 saturation).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgezoo.core.artifact import CONTRACT_KEY, Artifact, InputContract
from edgezoo.core.protocols import CalibrationSource, ExportJob, Source
from edgezoo.core.recipe import Preparation
from edgezoo.core.spec import ModelSpec
from edgezoo.exporters import _common, _onnx_ranges, _onnx_resize
from edgezoo.exporters._onnx_graph import (
    name_output,
    take_nchw,
    take_pixels,
    take_pixels_around_zero,
)
from edgezoo.exporters._onnx_norms import join_norms
from edgezoo.formats import operators

if TYPE_CHECKING:
    import onnx

# onnxruntime reads IR 8 since 1.10, the last release for Python 3.6; the graph needs no later one.
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class OnnxExporter(_common.BaseExporter):
    """Exporter of `.onnx`."""

    name: str = "onnx"
    suffix: str = ".onnx"
    packages: tuple[str, ...] = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        """See `Exporter`."""
        if job.embed_resize and job.input_kind == "normalized":
            return "a file that resizes (--embed-resize) takes pixels, not normalised values"
        if job.embed_resize and job.layout != "NHWC":
            return "a file that resizes (--embed-resize) takes images as decoded, NHWC"
        if job.embed_resize and job.io is not None:
            return "a file that resizes (--embed-resize) takes uint8 images (leave --io out)"
        types = ("uint8", "float32")
        refusal = _common.io_refusal(job, types, "an ONNX int8 file")
        return _common.per_tensor_refusal(job) or refusal

    def export(
        self, source: Source, job: ExportJob, calibration: CalibrationSource | None, stem: Path
    ) -> Artifact:
        """See `Exporter`."""
        import onnx

        path = stem.with_name(stem.name + self.suffix)
        contract = _common.contract_for(source, job)
        if job.precision == "int8" and calibration is not None:
            preparation = Preparation.load(source.preparation("prepared.onnx"))
            model = _quantize(source, job, preparation, calibration)
            dtype = "float32" if _common.takes_float(job) else "uint8"
            contract = _common.quantized_contract(
                replace(contract, input_dtype=dtype),
                calibration,
                preparation,
                "onnxruntime quantize_static",
                "int8, symmetric" if job.qdq == "symmetric" else "uint8",
            )
        else:
            model = onnx.load(str(source.intermediate(_common.onnx_intermediate(job))))
            join_norms(model)
            if job.precision == "float16":
                model = _to_float16(model)
        name_output(model, contract.output_kind)
        if job.layout == "NCHW":
            take_nchw(model)
        if job.embed_resize:
            _onnx_resize.embed(model, contract)
            contract = replace(contract, input_dtype="uint8", resizes=True)
        _finish(model, contract)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
        return Artifact(path, self.name, (path,), contract)


def _to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and arithmetic in float16, input and output in float32."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
    converted.topological_sort()  # the casts of input and output were appended at the end
    return cast("onnx.ModelProto", converted.model)


def _quantize(
    source: Source, job: ExportJob, preparation: Preparation, calibration: CalibrationSource
) -> onnx.ModelProto:
    """Quantize with the preparation's ranges, make it pair-safe, and let it take pixels."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    model = onnx.load(str(source.intermediate("prepared.onnx")))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    layers = _layers(model)
    kept = preparation.recipe.float_layers
    # Probabilities below 1/256 would vanish in a quantized softmax.
    parts = _onnx_ranges.float_nodes(model)
    outputs = {value.name for value in model.graph.output}
    excluded = [
        node.name
        for node in model.graph.node
        if node.op_type == "Softmax"
        # So would those of a sigmoid that ends the network.
        or (node.op_type == "Sigmoid" and node.output[0] in outputs)
        or node.output[0].removesuffix("/linear") in kept
        or node.name in parts
    ]
    inputs = _common.network_inputs(source, preparation, calibration)
    ranges = _onnx_ranges.complete(model, preparation.ranges, excluded, inputs)
    cache = source.directory / "onnx-ranges.json"
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), cache)
    output = source.directory / "onnx-quantized.onnx"
    logging.getLogger().setLevel(logging.ERROR)  # it recommends pre-processing, which is done
    symmetric = job.qdq == "symmetric"
    # Accelerators add a bias in float or in their own type: they refuse an int32 DequantizeLinear.
    extra = {"ActivationSymmetric": True, "QuantizeBias": False} if symmetric else {}
    quantize_static(
        model,
        output,
        calibration_cache_path=cache,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
        extra_options=extra,
    )
    quantized = onnx.load(str(output))
    _make_pair_safe(quantized, layers, preparation.scales)
    if job.input_kind == "pixels" and symmetric:
        take_pixels_around_zero(quantized, preparation.input_scale, _common.takes_float(job))
    elif job.input_kind == "pixels":
        take_pixels(quantized, preparation.input_scale, _common.takes_float(job))
    return quantized


def _replace(tensor: onnx.TensorProto, values: Any) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _layers(model: onnx.ModelProto) -> dict[str, tuple[Any, Any, int]]:
    """Return float weights, bias (or None) and the weights' output axis of each layer, by node."""
    from onnx import helper, numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        operator = operators.ONNX.get(node.op_type)
        if operator is None or not operator.biased or node.input[1] not in constants:
            continue
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axis = 0 if options.get("transB") else operator.output_axis
        bias = constants.get(node.input[2]) if len(node.input) > 2 else None
        found[node.name] = (constants[node.input[1]], bias, axis)
    return found


def _groups(node: onnx.NodeProto) -> int:
    """Return the groups of a convolution: one that reads a grey image has one, as usual."""
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _make_pair_safe(
    model: onnx.ModelProto, layers: dict[str, tuple[Any, Any, int]], chosen: dict[str, list[float]]
) -> None:
    """Round the weights of all but depthwise layers so that no pair of products saturates.

    `layers` are those of the float model; `chosen` has the scales of layers whose weights are on
    their grid already.
    """
    import numpy as np
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    dequantizers = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}

    def value(name: str) -> Any:
        return numpy_helper.to_array(tensors[name])

    for node in model.graph.node:
        if node.name not in layers or node.input[1] not in dequantizers:
            continue
        kernel, constant, axis = layers[node.name]
        given = chosen.get(node.output[0].removesuffix("/linear"))
        if kernel.ndim == 4 and kernel.shape[1] == 1 and _groups(node) > 1:
            continue  # depthwise kernels multiply in 16 bits, and keep their largest weight
        weight, data = dequantizers[node.input[1]], dequantizers[node.input[0]]
        scales = _common.pair_safe_scales(kernel, axis, 1 - axis, given)
        _replace(tensors[weight.input[0]], _quantized(kernel, scales, 127).astype(np.int8))
        _replace(tensors[weight.input[1]], scales.reshape(value(weight.input[1]).shape))
        if constant is None or node.input[2] not in dequantizers:
            continue
        bias = dequantizers[node.input[2]]
        # The bias is added to the int32 sums of products: its step is that of a product.
        step = (value(data.input[1]) * scales.reshape(-1)).astype(np.float32)
        _replace(tensors[bias.input[0]], _quantized(constant, step, 2**31 - 1).astype(np.int32))
        _replace(tensors[bias.input[1]], step.reshape(value(bias.input[1]).shape))


def _quantized(values: Any, scales: Any, most: int) -> Any:
    import numpy as np

    return np.clip(np.rint(values.astype(np.float64) / scales), -most, most)


def _finish(model: onnx.ModelProto, contract: InputContract) -> None:
    """Set IR version, producer and the contract."""
    import onnx

    model.ir_version = _IR_VERSION
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or not entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version = "edgezoo", ""
    model.graph.name = contract.model
    model.doc_string = model.graph.doc_string = contract.summary
    facts = {CONTRACT_KEY: json.dumps(contract.to_json()), "labels": "\n".join(contract.labels)}
    onnx.helper.set_model_props(model, {**facts, "model": contract.model})


EXPORTER = OnnxExporter()
