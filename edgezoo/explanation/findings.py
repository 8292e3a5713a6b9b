"""From figures to findings: what is wrong, where, how one can tell, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgezoo.core.artifact import InputContract
from edgezoo.core.spec import ModelSpec
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.layers import LayerReport, WeightsReport
from edgezoo.inspection.portability import Portability

# A float file that is right answers with 60 dB and more; below this something was changed.
_CONVERSION_DB = 40.0
# Steps at which a layer's error is suspicious; rounding alone gives 0.289
# (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger).
SUSPICIOUS_STEPS = 0.7
# Percentile calibration clips up to 0.1 % on purpose.
_CLIPPED = 0.005
# A range that is four times too wide costs two of eight bits.
_UNUSED = 0.25
# Half of a bit more than rounding that was done as well as it can be.
_COARSER_DB = 6.0
# The kernels round once more or less than exact arithmetic: up to 0.1 steps were seen.
_KERNEL_STEPS = 0.5
_FLOAT_WEIGHTS_DB = 40.0
_MOST = 0.5
# Corrected biases gain up to 7 dB; one that is made for weights as coarse as these may lose some.
_BIAS_DB = 12.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        cause: one of `causes.CAUSES`.
        fault: a short name for it, see `FAULTS`.
        layer: the layer where it sits; None where it is no single one.
        evidence: a sentence with figures.
        next: a sentence, what to do.
    """

    cause: str
    fault: str
    layer: str | None
    evidence: str
    next: str


FAULTS: dict[str, str] = {
    "channel order": "The colour channels are swapped",
    "input range": "The input has the wrong range",
    "contract": "The contract names the wrong preprocessing",
    "conversion": "The conversion to this format changes the network, before any quantization",
    "other weights": "The file was not made from these weights",
    "corrupt weights": "A weight tensor is corrupt",
    "per-tensor weights": "Weights of one scale a tensor",
    "bias": "A bias is wrong",
    "clipped activations": "The range of a layer is too narrow",
    "unused range": "The range of a layer is too wide",
    "kernel": "The runtime's kernel does not compute what the file says",
    "rounding": "Rounding to 8 bits costs this network much",
}


def find(
    analysis: Analysis,
    contract: InputContract,
    spec: ModelSpec | None,
    overflows: Portability | None = None,
) -> list[Finding]:
    """All findings, those first whose cause has the largest share of the error.

    Args:
        analysis: the figures.
        contract: of the file.
        spec: of the model that the contract names, where the zoo has it.
        overflows: what `portability.check` says of the file.
    """
    equalized = any("equalization" in m for m in (contract.quantization or {}).get("methods", ()))
    found = [*_preprocessing(analysis, contract, spec), *_conversion(analysis)]
    found += [*_weights(analysis, equalized), *_activations(analysis)]
    found += _kernel(analysis, overflows)
    share = {cause.cause: cause.error_share for cause in analysis.causes}
    return sorted(found, key=lambda finding: -round(share[finding.cause], 2))


def _preprocessing(
    analysis: Analysis, contract: InputContract, spec: ModelSpec | None
) -> Iterator[Finding]:
    view = analysis.view
    base = analysis.stages["base"]
    effect = (
        f"The float network keeps {100 * base.agreement_top1:.1f} % of the top-1 on that input."
    )
    if view.reversed or contract.color_order != "RGB":
        yield Finding(
            "preprocessing",
            "channel order",
            None,
            f"the file sees red where the network was trained on blue. {effect}",
            "Swap the channels (RGB and BGR) in front of the file, or export it again.",
        )
    if view.other_range:
        right, got = ("{:.3g} … {:.3g}".format(*pair) for pair in (view.right, view.got))
        yield Finding(
            "preprocessing",
            "input range",
            None,
            f"pixels 0 … 255 become {got} where the network was trained on {right}. {effect}",
            "Correct the scale of the input (of the file's input tensor, or of what is fed).",
        )
    if spec is not None and contract.preprocessing != spec.preprocessing:
        yield Finding(
            "preprocessing",
            "contract",
            None,
            f"it says {contract.preprocessing}, and {spec.name} was trained with "
            f"{spec.preprocessing}.",
            "Export the file again.",
        )


def _conversion(analysis: Analysis) -> Iterator[Finding]:
    stage = analysis.stages.get("float file")
    if stage is not None and stage.sqnr_db is not None and stage.sqnr_db < _CONVERSION_DB:
        yield Finding(
            "conversion",
            "conversion",
            None,
            f"the float file of the same format has {stage.sqnr_db:.1f} dB at its logits, where a "
            f"faithful one has more than {_CONVERSION_DB:.0f}.",
            "Compare float files with `edgezoo verify`; update the converter.",
        )


def _weights(analysis: Analysis, equalized: bool) -> Iterator[Finding]:
    weighted = [(layer, layer.weights) for layer in analysis.layers if layer.weights is not None]
    changed = [pair for pair in weighted if _is_changed(pair[1])]
    if len(changed) > len(weighted) / 2:
        yield Finding(
            "weights",
            "other weights",
            None,
            f"the weights of {len(changed)} of {len(weighted)} layers differ from the source's by "
            "far more than rounding.",
            "Give the weights that the file was made from with --weights FILE.",
        )
        return
    for layer, weights in changed[:1]:
        yield _corrupt(layer.name, weights)
    # One scale a tensor is no fault by itself: targets ask for it, and equalized layers bear it.
    share = next(cause.error_share for cause in analysis.causes if cause.cause == "weights")
    coarse = [pair for pair in weighted if _is_coarse(pair[1]) and share >= _MOST]
    for layer, weights in coarse[:1]:
        yield _per_tensor(layer.name, weights, len(coarse), equalized)
    biased = [x for x in analysis.layers if (x.bias_gain_db or 0) < -_BIAS_DB]
    yield from map(_bias, biased[:1])


def _is_changed(weights: WeightsReport) -> bool:
    if weights.granularity == "float" and (weights.sqnr_db or 0) >= _FLOAT_WEIGHTS_DB:
        return False
    return weights.far > 0


def _is_coarse(weights: WeightsReport) -> bool:
    if weights.sqnr_db is None or weights.per_channel_sqnr_db is None:
        return False
    coarser = weights.per_channel_sqnr_db - weights.sqnr_db
    return weights.granularity == "per-tensor" and coarser > _COARSER_DB


def _corrupt(layer: str, weights: WeightsReport) -> Finding:
    sound = f"rounding gives {weights.per_channel_sqnr_db or 0:.1f}"
    if weights.granularity == "float":
        sound = f"float weights have more than {_FLOAT_WEIGHTS_DB:.0f}"
    return Finding(
        "weights",
        "corrupt weights",
        layer,
        f"{weights.far} of its weights are far away from the source's, more than 8 steps, which no "
        f"rounding does; the weights have {weights.sqnr_db or 0:.1f} dB where {sound}.",
        "Copy or export the file again, and compare its hash with the manifest's.",
    )


def _per_tensor(layer: str, weights: WeightsReport, count: int, equalized: bool) -> Finding:
    advice = (
        "Quantize per channel, or equalize the channels first where the target needs one scale."
    )
    if equalized:
        advice = "The channels are equalized already: quantize per channel where the target can."
    return Finding(
        "weights",
        "per-tensor weights",
        layer,
        f"this is the worst of {count} such layers; {100 * weights.coarse_channels:.0f} % of its "
        f"channels reach fewer than 8 levels; its weights have {weights.sqnr_db:.1f} dB, and "
        f"{weights.per_channel_sqnr_db:.1f} with a scale a channel.",
        advice,
    )


def _bias(layer: LayerReport) -> Finding:
    return Finding(
        "weights",
        "bias",
        layer.name,
        f"with the source's bias the layer would be {-(layer.bias_gain_db or 0):.1f} dB better.",
        "Copy or export the file again, and compare its hash with the manifest's.",
    )


def _activations(analysis: Analysis) -> Iterator[Finding]:
    suspicious = [
        layer
        for layer in analysis.layers
        if layer.error_over_step is not None and layer.kind != "SOFTMAX"
    ]
    clipped = [
        layer
        for layer in suspicious
        if _clipped(layer) > _CLIPPED and (layer.error_over_step or 0) > SUSPICIOUS_STEPS
    ]
    yield from map(_too_narrow, clipped[:1])
    wide = [
        layer
        for layer in suspicious
        if (layer.range_use or 0) < _UNUSED and (layer.below_median_db or 0) > _COARSER_DB
    ]
    yield from map(_too_wide, wide[:1])


def _clipped(layer: LayerReport) -> float:
    return (layer.saturated_low or 0) + (layer.saturated_high or 0)


def _too_narrow(layer: LayerReport) -> Finding:
    return Finding(
        "activations",
        "clipped activations",
        layer.name,
        f"{100 * _clipped(layer):.1f} % of the float values are beyond its levels, and its error "
        f"is {layer.error_over_step:.1f} steps, where rounding alone gives 0.29.",
        "If these images are like those of the application, calibrate on such images; if not, "
        "explain the file with --images DIR.",
    )


def _too_wide(layer: LayerReport) -> Finding:
    return Finding(
        "activations",
        "unused range",
        layer.name,
        f"the float values use {100 * (layer.range_use or 0):.0f} % of its levels' range, and it "
        f"is {layer.below_median_db:.1f} dB below the median layer.",
        "Look for an outlier among the calibration images, or clip the range.",
    )


def _kernel(analysis: Analysis, overflows: Portability | None) -> Iterator[Finding]:
    # Softmax is looked up in a table: some tenths of a step are its nature.
    exact = [layer for layer in analysis.layers if layer.kind != "SOFTMAX"]
    wrong = [layer for layer in exact if (layer.kernel_steps or 0) > _KERNEL_STEPS]
    wrong.sort(key=lambda layer: -(layer.kernel_steps or 0))
    for layer in wrong[:1]:
        yield Finding(
            "kernel",
            "kernel",
            layer.name,
            f"its output is {layer.kernel_steps:.1f} steps away from exact arithmetic on the same "
            "inputs.",
            _kernel_advice(layer.name, overflows),
        )


def _kernel_advice(layer: str, overflows: Portability | None) -> str:
    """What to do about a kernel, by what the lint says of 16-bit overflow in that layer."""
    lint = {} if overflows is None else {entry.name: entry for entry in overflows.layers}
    if any(entry.can_overflow for entry in ([lint[layer]] if layer in lint else lint.values())):
        return (
            "On x86 without VNNI this is 16-bit saturation: see `edgezoo inspect`, and export with "
            "pair-safe weights as EdgeZoo does."
        )
    return (
        "It is no 16-bit saturation, which this layer's kernel or weights rule out (see `edgezoo "
        "inspect`): try another release of the runtime, or another machine."
    )
