"""From figures to findings: the fault, its layer, the evidence, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from edgezoo.core.artifact import InputContract
from edgezoo.core.spec import ModelSpec
from edgezoo.core.typed_json import OneOf
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.causes import CauseName
from edgezoo.explanation.layers import WeightsReport

# A faithful float file has 60 dB and more; below this the network was changed.
_CONVERSION_DB = 40.0
# Steps at which a layer's error is suspicious; rounding alone gives 0.289
# (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger).
SUSPICIOUS_STEPS = 0.7
# Percentile calibration deliberately clips up to 0.1 %.
_CLIPPED = 0.005
# A range that is four times too wide wastes two of eight bits.
_UNUSED = 0.25
# One bit less: each bit of resolution is 6.02 dB of SQNR.
_COARSER_DB = 6.0
# Integer kernels round intermediate results: up to 0.1 steps from exact arithmetic were observed.
_KERNEL_STEPS = 0.5
_FLOAT_WEIGHTS_DB = 40.0
_MOST = 0.5
# Corrected biases gain up to 7 dB; with other weights than they were made for they may lose some.
_BIAS_DB = 12.0


# Fault: its cause (rounding has the largest one), and a clause for the verdict.
FAULTS: dict[str, tuple[CauseName | None, str]] = {
    "channel order": ("preprocessing", "The colour channels are swapped"),
    "input range": ("preprocessing", "The input has the wrong range"),
    "contract": ("preprocessing", "The contract names the wrong preprocessing"),
    "conversion": (
        "conversion",
        "The conversion to this format changes the network, before any quantization",
    ),
    "other weights": ("weights", "The file was not made from these weights"),
    "corrupt weights": ("weights", "A weight tensor is corrupt"),
    "per-tensor weights": ("weights", "Weights are quantized per tensor"),
    "bias": ("weights", "A bias is wrong"),
    "clipped activations": ("activations", "The range of a layer is too narrow"),
    "unused range": ("activations", "The range of a layer is too wide"),
    "kernel": ("kernel", "The runtime's kernel computes other values than the file defines"),
    "rounding": (None, "Rounding to 8 bits costs this network much accuracy"),
}
FaultName = Annotated[str, OneOf(tuple(FAULTS))]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        fault: a short name.
        layer: its layer; null if it is not a single one.
        evidence: figures, as a sentence.
        next: what to do, as a sentence.
    """

    cause: CauseName
    fault: FaultName
    layer: str | None
    evidence: str
    next: str


def find(
    analysis: Analysis,
    contract: InputContract,
    spec: ModelSpec | None,
    can_overflow: Mapping[str, bool] | None = None,
) -> list[Finding]:
    """Return all findings, starting with those whose cause has the largest share of the error.

    Args:
        analysis: the figures.
        contract: of the file.
        spec: of the model in the contract, if it is in the zoo.
        can_overflow: by layer, whether `portability.check` finds 16-bit overflow.
    """
    methods = contract.quantization.methods if contract.quantization else ()
    equalized = any("equalization" in method for method in methods)
    found = [*_preprocessing(analysis, contract, spec), *_conversion(analysis)]
    found += [*_weights(analysis, equalized), *_activations(analysis)]
    found += _kernel(analysis, can_overflow or {})
    share = {cause.cause: cause.error_share for cause in analysis.causes}
    return sorted(found, key=lambda finding: -round(share[finding.cause], 2))


def _finding(fault: FaultName, evidence: str, advice: str, layer: str | None = None) -> Finding:
    cause, _ = FAULTS[fault]
    assert cause is not None
    return Finding(cause, fault, layer, evidence, advice)


def _preprocessing(
    analysis: Analysis, contract: InputContract, spec: ModelSpec | None
) -> Iterator[Finding]:
    view, base = analysis.input, analysis.stage("base")
    kept = 100 * (base.agreement_top1 if base else 0)
    effect = f"The float network keeps {kept:.1f} % of the top-1 on that input."
    if view.reversed or contract.color_order not in ("RGB", "GREY"):
        evidence = f"the file gets red where the network was trained on blue. {effect}"
        advice = "Swap the channels (RGB and BGR) before the file, or export it again."
        yield _finding("channel order", evidence, advice)
    if view.other_range:
        right, got = ("{:.3g} … {:.3g}".format(*pair) for pair in (view.right, view.got))
        evidence = f"pixels 0 … 255 become {got} where the network was trained on {right}. {effect}"
        advice = "Correct the scale of the input tensor in the file, or of the values that are fed."
        yield _finding("input range", evidence, advice)
    if spec is not None and contract.preprocessing != spec.preprocessing:
        wrong, right = contract.preprocessing, spec.preprocessing
        evidence = f"it names {wrong}, and {spec.name} was trained with {right}."
        yield _finding("contract", evidence, "Export the file again.")


def _conversion(analysis: Analysis) -> Iterator[Finding]:
    stage = analysis.stage("float file")
    if stage is not None and stage.sqnr_db is not None and stage.sqnr_db < _CONVERSION_DB:
        yield _finding(
            "conversion",
            f"the float file of the same format has {stage.sqnr_db:.1f} dB at its logits, where a "
            f"faithful one has more than {_CONVERSION_DB:.0f}.",
            "Compare float files with `edgezoo verify`; update the converter.",
        )


def _weights(analysis: Analysis, equalized: bool) -> Iterator[Finding]:
    weighted = [(layer, layer.weights) for layer in analysis.layers if layer.weights is not None]
    changed = [pair for pair in weighted if _is_changed(pair[1])]
    if len(changed) > len(weighted) / 2:
        yield _finding(
            "other weights",
            f"the weights of {len(changed)} of {len(weighted)} layers differ from the source's by "
            "far more than rounding.",
            "Give the weights that the file was made from with --weights FILE.",
        )
        return
    again = "Copy or export the file again, and compare its hash with the manifest's."
    for layer, weights in changed[:1]:
        sound = f"rounding gives {weights.per_channel_sqnr_db or 0:.1f}"
        if weights.granularity == "float":
            sound = f"float weights have more than {_FLOAT_WEIGHTS_DB:.0f}"
        yield _finding(
            "corrupt weights",
            f"{weights.far} of its weights differ from the source's by more than 8 steps, which "
            f"rounding does not do; the weights have {weights.sqnr_db or 0:.1f} dB where {sound}.",
            again,
            layer.name,
        )
    # Per-tensor weights are not a fault as such: some targets need them, and equalized layers lose
    # little by them.
    share = next(cause.error_share for cause in analysis.causes if cause.cause == "weights")
    coarse = [pair for pair in weighted if _is_coarse(pair[1]) and share >= _MOST]
    for layer, weights in coarse[:1]:
        yield _per_tensor(layer.name, weights, len(coarse), equalized)
    for layer in [x for x in analysis.layers if (x.bias_gain_db or 0) < -_BIAS_DB][:1]:
        better = -(layer.bias_gain_db or 0)
        evidence = f"with the source's bias the layer would be {better:.1f} dB better."
        yield _finding("bias", evidence, again, layer.name)


def _is_changed(weights: WeightsReport) -> bool:
    sound = weights.granularity == "float" and (weights.sqnr_db or 0) >= _FLOAT_WEIGHTS_DB
    return weights.far > 0 and not sound


def _is_coarse(weights: WeightsReport) -> bool:
    if weights.sqnr_db is None or weights.per_channel_sqnr_db is None:
        return False
    coarser = weights.per_channel_sqnr_db - weights.sqnr_db
    return weights.granularity == "per-tensor" and coarser > _COARSER_DB


def _per_tensor(layer: str, weights: WeightsReport, count: int, equalized: bool) -> Finding:
    advice = "Quantize per channel, or equalize the channels first if the target needs one scale."
    if equalized:
        advice = "The channels are already equalized: quantize per channel if the target allows it."
    return _finding(
        "per-tensor weights",
        f"this is the worst of {count} such layers; {100 * weights.coarse_channels:.0f} % of its "
        f"channels reach fewer than 8 quantized values; its weights have {weights.sqnr_db:.1f} dB, "
        f"and {weights.per_channel_sqnr_db:.1f} with a scale per channel.",
        advice,
        layer,
    )


def _activations(analysis: Analysis) -> Iterator[Finding]:
    rounded = [x for x in analysis.layers if x.error_over_step is not None and x.kind != "SOFTMAX"]
    clipped = [x for x in rounded if (x.saturated or 0) > _CLIPPED]
    for layer in [x for x in clipped if (x.error_over_step or 0) > SUSPICIOUS_STEPS][:1]:
        yield _finding(
            "clipped activations",
            f"{100 * (layer.saturated or 0):.1f} % of the float values are outside its range, and "
            f"its error is {layer.error_over_step:.1f} steps, where rounding alone gives 0.29.",
            "If these images are like those of the application, calibrate on such images; if not, "
            "explain the file with --images DIR.",
            layer.name,
        )
    wide = [x for x in rounded if (x.range_use or 0) < _UNUSED]
    for layer in [x for x in wide if (x.below_median_db or 0) > _COARSER_DB][:1]:
        yield _finding(
            "unused range",
            f"the float values use {100 * (layer.range_use or 0):.0f} % of its range, and it "
            f"is {layer.below_median_db:.1f} dB below the median layer.",
            "Look for an outlier among the calibration images, or clip the range.",
            layer.name,
        )


def _kernel(analysis: Analysis, can_overflow: Mapping[str, bool]) -> Iterator[Finding]:
    # Kernels look softmax up in a table, which is some tenths of a step off.
    exact = [layer for layer in analysis.layers if layer.kind != "SOFTMAX"]
    wrong = [layer for layer in exact if (layer.kernel_steps or 0) > _KERNEL_STEPS]
    for layer in sorted(wrong, key=lambda layer: -(layer.kernel_steps or 0))[:1]:
        steps = layer.kernel_steps
        evidence = f"its output is {steps:.1f} steps from exact arithmetic on the same inputs."
        yield _finding("kernel", evidence, _kernel_advice(layer.name, can_overflow), layer.name)


def _kernel_advice(layer: str, can_overflow: Mapping[str, bool]) -> str:
    """Return what to do about a kernel, depending on the lint for 16-bit overflow in that layer."""
    # A format may name the layer differently: then any layer that can overflow counts.
    if can_overflow.get(layer, any(can_overflow.values())):
        return (
            "On x86 without VNNI this is 16-bit saturation: see `edgezoo inspect`, and export with "
            "EdgeZoo's pair-safe weights."
        )
    return (
        "It is not 16-bit saturation, which this layer's kernel or weights rule out (see `edgezoo "
        "inspect`): try another release of the runtime, or another machine."
    )
