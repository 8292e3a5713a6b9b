"""The result of an explanation, as `edgezoo explain --json` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.protocols import FileFault
from edgezoo.core.typed_json import Count, optional, shared
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.findings import Finding
from edgezoo.explanation.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Analysis):
    """The figures about one file, and what they mean.

    Attributes:
        findings: all faults, starting with that of the verdict.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult(Explanation):
    """Where a quantized file loses accuracy.

    Attributes:
        reference: keras, or the path of the float file.
        image_source: synthetic, samples, or the path of the images.
        unlabelled: why the classes of the images are not known; null if they are.
        overlap: images that calibrated the file; null if it does not record them.
        file_faults: what some readers of the file get wrong, whatever it answers here.
        page: the HTML page, if one was requested.
        notes: what was assumed for a file without a contract.
    """

    artifact: Path
    format: str
    model: str
    reference: str
    image_source: str
    unlabelled: str | None
    overlap: Count | None
    file_faults: tuple[FileFault, ...]
    page: Path | None = None
    notes: tuple[str, ...] | None = optional()


def with_verdict(analysis: Analysis, findings: list[Finding], verdict: Verdict) -> Explanation:
    """Add findings and verdict to an analysis."""
    figures = shared(analysis, Analysis)
    return Explanation(**figures, verdict=verdict, findings=tuple(findings))
