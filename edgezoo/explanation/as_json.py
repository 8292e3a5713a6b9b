"""The figures and words of an explanation as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.findings import Finding
from edgezoo.explanation.verdict import Verdict


def record(analysis: Analysis, findings: list[Finding], verdict: Verdict) -> dict[str, Any]:
    """What docs/schemas/explain.json describes, but for what the command itself knows."""
    file = analysis.stages["file"]
    source = analysis.stages["source"]
    lost = None if file.top1 is None or source.top1 is None else source.top1 - file.top1
    return {
        "images": analysis.images,
        "agreement_top1": analysis.kept / analysis.images,
        "verdict": asdict(verdict),
        "findings": [asdict(finding) for finding in findings],
        "lost_agreement": 1 - file.agreement_top1,
        "lost_top1": lost,
        "stages": [asdict(stage) for stage in analysis.stages.values()],
        "causes": [asdict(cause) for cause in analysis.causes],
        "input": asdict(analysis.view),
        "layers": [asdict(layer) for layer in analysis.layers],
        "unmatched_layers": list(analysis.unmatched),
        "trace_difference": analysis.trace_difference,
    }
