"""OpenVINO IR files by OpenVINO's own converter and NNCF.

NNCF decides where quantizers are placed. The ranges are those of the preparation, which used all
calibration images and corrected the biases for exactly these ranges, and the weights are
rounded pair-safe: OpenVINO's int8 kernels on x86 without VNNI saturate 16-bit sums as ONNX
Runtime's do. NNCF's own fix halves the first layer's weights and leaves the rest at risk.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import CONTRACT_KEY, Artifact, InputContract
from edgezoo.core.protocols import CalibrationSource, ExportJob, Source
from edgezoo.core.recipe import Preparation, Ranges
from edgezoo.core.rounding import PIXEL_ZERO, activation_parameters
from edgezoo.core.spec import INFERENCE_PRECISIONS, InferencePrecision, ModelSpec
from edgezoo.exporters import _common, _openvino_precision
from edgezoo.formats import float_parts, operators

_IMAGES = 64  # that NNCF observes ranges on, where it has to

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray

_EXACT = (
    "OpenVINO files in float ask every session for float32. CPUs with bfloat16 instructions "
    "are faster with --openvino-precision auto, and answer otherwise for some images."
)
_AUTO = (
    "The OpenVINO files leave the precision to the session: on CPUs with bfloat16 instructions "
    "they are faster, and answer otherwise for some images."
)


@dataclass(frozen=True, slots=True)
class OpenVinoExporter(_common.BaseExporter):
    """Exporter of `.xml` with its `.bin`."""

    name: str = "openvino"
    suffix: str = ".xml"
    packages: tuple[str, ...] = ("tensorflow", "keras", "tf2onnx", "onnx", "openvino", "nncf")
    inference_precisions: tuple[InferencePrecision, ...] = INFERENCE_PRECISIONS

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        """See `Exporter`."""
        refusal = _common.per_tensor_refusal(job) or _common.resize_refusal(job)
        refusal = refusal or _common.qdq_refusal(job)
        types = ("uint8", "float32")
        return refusal or _common.io_refusal(job, types, "an OpenVINO int8 file")

    def remark(self, job: ExportJob) -> str | None:
        """See `Exporter`."""
        if job.inference_precision == "auto":
            return _AUTO
        return _EXACT if _openvino_precision.asks_for_float32(job) else None

    def export(
        self, source: Source, job: ExportJob, calibration: CalibrationSource | None, stem: Path
    ) -> Artifact:
        """See `Exporter`."""
        import openvino as ov

        path = stem.with_name(stem.name + self.suffix)
        contract = _common.contract_for(source, job)
        if job.precision == "int8" and calibration is not None:
            preparation = Preparation.load(source.preparation("prepared.onnx"))
            model = _quantize(source, calibration, preparation)
            if job.input_kind == "pixels":
                model = _take_pixels(model, preparation.input_scale, _common.takes_float(job))
            dtype = "float32" if _common.takes_float(job) else "uint8"
            typed = replace(contract, input_dtype=dtype)
            contract = _common.quantized_contract(typed, calibration, preparation, "nncf placement")
        else:
            model = ov.convert_model(str(source.intermediate(_common.onnx_intermediate(job))))
        _name_output(model, contract.output_kind)
        if job.layout == "NCHW":
            model = _take_nchw(model)
        _describe(model, contract)
        if _openvino_precision.asks_for_float32(job):
            _openvino_precision.keep_marks(model)
        ov.save_model(model, str(path), compress_to_fp16=job.precision == "float16")
        if _openvino_precision.asks_for_float32(job):
            _openvino_precision.ask_for_float32(path)
        return Artifact(path, self.name, (path, path.with_suffix(".bin")), contract)


def _quantize(source: Source, calibration: CalibrationSource, preparation: Preparation) -> ov.Model:
    """Let NNCF place quantizers, then give them the preparation's ranges and rounding."""
    import logging

    import nncf
    import openvino as ov
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    nncf.set_log_level(logging.ERROR)
    intermediate = str(source.intermediate("prepared.onnx"))
    inputs = _common.network_inputs(source, preparation, calibration)
    # One image is enough where NNCF's own ranges are all replaced.
    images = [*itertools.islice(inputs, _IMAGES if _has_more(intermediate, preparation) else 1)]
    plain = ov.convert_model(intermediate)  # kept: its operations refer to one another
    exact = {op.get_friendly_name(): op for op in plain.get_ops()}
    off = OverflowFix.DISABLE
    how = AdvancedQuantizationParameters(disable_bias_correction=True, overflow_fix=off)
    quantized = nncf.quantize(
        ov.convert_model(intermediate),
        nncf.Dataset(images),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=_ignored(exact, preparation.recipe.float_layers),
        advanced_parameters=how,
    )
    for op in quantized.get_ordered_ops():
        kind = op.get_type_name()
        if kind == "FakeQuantize":
            _set_range(op, preparation.ranges)
        elif kind in ("Convolution", "MatMul"):
            plain = exact[op.get_friendly_name()]
            _set_weights(op, plain, preparation.scales.get(_layer_of(plain)))
    return quantized


def _ignored(operations: dict[str, ov.Node], layers: tuple[str, ...]) -> Any:
    """Return the operations that stay in float, or None."""
    import nncf

    known = {
        name: op for name, op in operations.items() if op.get_type_name() in operators.OPENVINO
    }
    names = [name for name, op in known.items() if _layer_of(op) in layers]
    names += _parts(operations)
    return nncf.IgnoredScope(names=names) if names else None


def _parts(operations: dict[str, ov.Node]) -> list[str]:
    """Return the names of operations that 8 bits cannot hold."""
    computing = {
        name: op
        for name, op in operations.items()
        if op.get_type_name() not in ("Constant", "Result", "Parameter")
    }
    described = []
    for name, op in computing.items():
        sources = (place.get_source_output().get_node() for place in op.inputs())
        read = tuple(node.get_friendly_name() for node in sources)
        kept = tuple(other for other in read if other in computing)
        described.append(float_parts.Operation(op.get_type_name(), kept, (name,)))
    names = list(computing)
    return [names[i] for i in sorted(float_parts.float_parts(described, float_parts.OPENVINO))]


def _has_more(intermediate: str, preparation: Preparation) -> bool:
    """Whether the graph has tensors of its own, whose ranges NNCF has to observe."""
    import onnx

    model = onnx.load(intermediate, load_external_data=False)
    known = {value.name for value in model.graph.input} | preparation.ranges.keys()
    known |= {tensor.name for tensor in model.graph.initializer}
    kinds = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Concat", "Resize", "AveragePool")
    nodes = (node for node in model.graph.node if node.op_type in kinds)
    return any(name.removesuffix("/linear") not in known for node in nodes for name in node.output)


def _layer_of(op: ov.Node) -> str:
    """Return the layer's name on the output of an operation or of its bias; "" for none."""
    while True:
        for name in op.output(0).get_names():
            return str(name).removesuffix("/linear")
        readers = op.output(0).get_target_inputs()
        if len(readers) != 1:
            return ""
        op = next(iter(readers)).get_node()


def _set_range(op: ov.Node, ranges: Ranges) -> None:
    """Put the preparation's range of a tensor into its quantizer.

    Tensors without a name of ours keep NNCF's per-channel ranges, as before depthwise layers.
    """
    import numpy as np
    from openvino import opset13

    known = [ranges[name] for name in op.input_value(0).get_names() if name in ranges]
    if not known:
        return
    scale, zero = activation_parameters(*known[0])
    low, high = (-128 - zero) * scale, (127 - zero) * scale
    for place, bound in ((1, low), (2, high), (3, low), (4, high)):
        shape = op.input_value(place).get_shape()
        constant = opset13.constant(np.full(shape, bound, np.float32))
        op.input(place).replace_source_output(constant.output(0))


def _constant_chain(op: ov.Node) -> list[ov.Node]:
    """Return the nodes from an operation's weight input up to the constant."""
    chain = [op.input_value(1).get_node()]
    while chain[-1].get_type_name() != "Constant" and chain[-1].get_input_size():
        chain.append(chain[-1].input_value(0).get_node())
    return chain


def _set_weights(op: ov.Node, exact: ov.Node, given: list[float] | None) -> None:
    """Replace NNCF's int8 weights of a layer (constant, Convert, Multiply) by pair-safe ones."""
    import numpy as np
    from openvino import opset13

    chain = _constant_chain(op)
    if [node.get_type_name() for node in chain] != ["Multiply", "Convert", "Constant"]:
        return
    multiply, convert, stored = chain
    kernel = np.asarray(_constant_chain(exact)[-1].data, np.float32)
    if kernel.shape != tuple(stored.get_output_shape(0)):
        return
    scales = _common.pair_safe_scales(kernel, *_channel_axes(op, kernel), given or None)
    quantized = np.clip(np.rint(kernel / scales), -127, 127).astype(np.int8)
    convert.input(0).replace_source_output(opset13.constant(quantized).output(0))
    factors = opset13.constant(np.ascontiguousarray(scales, np.float32))
    multiply.input(1).replace_source_output(factors.output(0))


def _channel_axes(op: ov.Node, kernel: NDArray[Any]) -> tuple[int, int]:
    """Return the axes of a kernel that count outputs and inputs."""
    operator = operators.OPENVINO[op.get_type_name()]
    axes = operator.output_axis, operator.input_axis
    if op.get_type_name() == "Convolution":
        return axes
    out, inner = axes[::-1] if op.get_attributes().get("transpose_b") else axes
    return kernel.ndim - 2 + out, kernel.ndim - 2 + inner


def _take_pixels(model: ov.Model, input_scale: float, in_float: bool) -> ov.Model:
    """Normalize in front of the network: it gets (pixel - 128) * scale."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    if not in_float:
        steps.input().tensor().set_element_type(ov.Type.u8)
        steps.input().preprocess().convert_element_type(ov.Type.f32)
    steps.input().preprocess().mean(float(PIXEL_ZERO)).scale(1 / input_scale)
    return steps.build()


def _name_output(model: ov.Model, name: str) -> None:
    """Move the name of the feature map before its transposition to the output."""
    if name in model.output(0).get_names():
        return
    for op in model.get_ops():
        for tensor in (place.get_tensor() for place in op.outputs()):
            if name in tensor.get_names():
                tensor.set_names({f"{name}/nchw"})
    model.output(0).get_tensor().set_names({name})


def _take_nchw(model: ov.Model) -> ov.Model:
    """Transpose NCHW to NHWC in front; the plugin cancels that against the next transposition."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_layout(ov.Layout("NCHW"))
    steps.input().model().set_layout(ov.Layout("NHWC"))
    return steps.build()


def _describe(model: ov.Model, contract: InputContract) -> None:
    """Embed the contract, and the keys that OpenVINO's Model API reads.

    See https://github.com/open-edge-platform/model_api (model configuration): booleans are read
    only as "True" or "YES", labels are split at white space and refuse commas. It decodes BGR and
    swaps first, then subtracts and divides channel by channel.
    """
    model.set_friendly_name(contract.summary)  # the one text that Netron shows
    model.set_rt_info(json.dumps(contract.to_json()), [CONTRACT_KEY])
    info = {
        "model_name": contract.model,
        "resize_type": "fit_to_window_letterbox" if contract.resize_mode == "fit" else "standard",
        "interpolation_mode": "CUBIC" if contract.resize_filter == "bicubic" else "LINEAR",
    }
    if contract.output_kind == "probabilities" and contract.head is None:
        info["model_type"] = "Classification"
    how = contract.normalization
    normalized = contract.input_kind == "normalized"
    if contract.channels is None and (not normalized or how.channel_order == "RGB"):
        info["reverse_input_channels"] = "True"
    if normalized:
        pairs = list(zip(how.scale, how.offset, strict=True))
        info["mean_values"] = " ".join(f"{-offset / scale:.7g}" for scale, offset in pairs)
        info["scale_values"] = " ".join(f"{1 / scale:.7g}" for scale, _ in pairs)
    if contract.labels:
        info["labels"] = " ".join(re.sub(r"[\s,]+", "_", label) for label in contract.labels)
    for key, value in info.items():
        model.set_rt_info(value, ["model_info", key])


EXPORTER = OpenVinoExporter()
