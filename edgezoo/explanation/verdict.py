"""From findings to a verdict: the first finding, or that nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from edgezoo.evaluation.agreement import LOW_AGREEMENT
from edgezoo.evaluation.drop import share_interval
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.causes import CauseName
from edgezoo.explanation.findings import FAULTS, FaultName, Finding

_NOUNS = {"kernel": "the kernels"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion.

    Attributes:
        healthy: no fault was found; the text says if there were too few images.
        text: the fault, its layer, the evidence and what to do, as a paragraph.
    """

    healthy: bool
    cause: CauseName | None
    fault: FaultName | None
    layer: str | None
    text: str


def conclude(analysis: Analysis, findings: list[Finding]) -> Verdict:
    """Return the verdict: the first finding, or that nothing is wrong."""
    images = analysis.images
    kept = round(analysis.agreement_top1 * images)
    low, high = share_interval(kept, images)
    loss = (
        f"{kept} of {images} images keep the source's top-1 "
        f"({100 * kept / images:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f})"
    )
    if findings:
        first = findings[0]
        where = f" ({first.layer})" if first.layer else ""
        text = f"{FAULTS[first.fault][1]}{where}: {first.evidence} {loss}. {first.next}"
        return Verdict(False, first.cause, first.fault, first.layer, text)
    largest = max(analysis.causes, key=lambda cause: cause.error_share)
    worst = next((layer for layer in analysis.layers if layer.weights is not None), None)
    source = _NOUNS.get(largest.cause, largest.cause)
    rest = f"{100 * largest.error_share:.0f} % of the logits' error comes from {source}"
    if worst is not None and (below := worst.below_median_db) is not None:
        rest += f"; the worst layer is {worst.name}, {below:.1f} dB below the median"
    if kept / images >= LOW_AGREEMENT:
        few = f"No fault was found, but {images} images are too few to be sure"
        found = "Nothing is wrong" if low >= LOW_AGREEMENT else few
        return Verdict(True, None, None, None, f"{found}: {loss}. {rest}.")
    text = f"{FAULTS['rounding'][1]}: {loss}, and no single fault stands out. {rest}. "
    if high >= LOW_AGREEMENT:
        text += "With so few images this may be chance: run more with --count."
    else:
        text += (
            "Calibrate on more images like those of the application, or keep the worst layers in "
            "higher precision."
        )
    layer = worst.name if worst is not None else None
    return Verdict(False, largest.cause, "rounding", layer, text)
