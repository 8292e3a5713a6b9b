"""The result of an explanation, as `edgezoo explain --json` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edgezoo.core.typed_json import Count, Length, Positive, Range, Share
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.causes import CAUSES, Cause, Stage
from edgezoo.explanation.findings import Finding
from edgezoo.explanation.input_view import InputView
from edgezoo.explanation.layers import LayerReport
from edgezoo.explanation.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All figures about one file.

    Attributes:
        agreement_top1: share of images that keep the source's top-1; of equal best classes the
            first counts.
        findings: all faults, starting with that of the verdict.
        lost_agreement: from the source to the file; here and below, equal best classes share an
            image.
        lost_top1: negative for a gain; null without labels.
        causes: their shares add up to the whole loss.
        layers: lowest local_sqnr_db first.
        unmatched_layers: weighted layers of the float network that are not in the file.
        trace_difference: largest difference of a score between an ordinary session and the one
            that shows inner tensors.
    """

    images: Positive
    agreement_top1: Share
    verdict: Verdict
    findings: tuple[Finding, ...]
    lost_agreement: float
    lost_top1: float | None
    stages: tuple[Stage, ...]
    causes: Annotated[tuple[Cause, ...], Length(len(CAUSES), len(CAUSES))]
    input: InputView
    layers: tuple[LayerReport, ...]
    unmatched_layers: tuple[str, ...]
    trace_difference: Annotated[float, Range(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult(Explanation):
    """Where a quantized file loses accuracy.

    Attributes:
        reference: keras, or the path of the float file.
        image_source: synthetic, samples, or the path of the images.
        unlabelled: why the classes of the images are not known; null if they are.
        overlap: images that calibrated the file; null if it does not record them.
        page: the HTML page, if one was requested.
    """

    artifact: Path
    format: str
    model: str
    reference: str
    image_source: str
    unlabelled: str | None
    overlap: Count | None
    page: Path | None = None


def summarize(analysis: Analysis, findings: list[Finding], verdict: Verdict) -> Explanation:
    """Collect all figures of an analysis."""
    file, source = analysis.stages["file"], analysis.stages["source"]
    return Explanation(
        images=analysis.images,
        agreement_top1=analysis.kept / analysis.images,
        verdict=verdict,
        findings=tuple(findings),
        lost_agreement=1 - file.agreement_top1,
        lost_top1=None if file.top1 is None or source.top1 is None else source.top1 - file.top1,
        stages=tuple(analysis.stages.values()),
        causes=analysis.causes,
        input=analysis.view,
        layers=analysis.layers,
        unmatched_layers=analysis.unmatched,
        trace_difference=analysis.trace_difference,
    )
