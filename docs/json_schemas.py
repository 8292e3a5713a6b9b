"""JSON Schemas of what commands print and files hold, made from the classes that hold it.

Each row names the class; `edgezoo.core.typed_json.schema` does the rest. To document a new JSON
object, write its class with `Attributes:` in the docstring and add a row.
"""

from __future__ import annotations

import importlib
import json

from edgezoo.core import typed_json

# name of the schema: module, class or union of classes, title
CLASSES: dict[str, tuple[str, str, str]] = {
    "benchmark": ("edgezoo.sweep.entry", "Printed", "edgezoo benchmark --json"),
    "bundle": ("edgezoo.bundling.make", "BundleResult", "edgezoo bundle --json"),
    "classify": ("edgezoo.inference.classification", "ClassifyResult", "edgezoo classify --json"),
    "compile": ("edgezoo.inspection.compile_file", "CompileResult", "edgezoo compile --json"),
    "doctor": ("edgezoo.inspection.diagnosis", "DoctorResult", "edgezoo doctor --json"),
    "environment": ("edgezoo.system.machine", "Environment", "where a figure was measured"),
    "evaluate": ("edgezoo.evaluation.find_preprocessing", "Printed", "edgezoo evaluate --json"),
    "inspect": ("edgezoo.inspection.inspect_file", "InspectResult", "edgezoo inspect --json"),
    "protocol": ("edgezoo.measurement.protocol", "Settings", "numbers of the measuring protocol"),
    "recommend": (
        "edgezoo.reporting.recommendation",
        "RecommendResult",
        "edgezoo recommend --json",
    ),
    "record": ("edgezoo.results.record", "Record", "a record of a results store"),
    "remote": ("edgezoo.core.ran_on", "Remote", "remote, in the result of a command with --on"),
    "completion": ("edgezoo.cli.completion", "CompletionScript", "edgezoo completion --json"),
    "explain": ("edgezoo.explanation.explain_result", "ExplainResult", "edgezoo explain --json"),
    "finetune": ("edgezoo.finetuning.finetune_result", "FinetuneResult", "edgezoo finetune --json"),
    "list": ("edgezoo.networks.catalogue", "ModelList", "edgezoo list --json"),
    "samples": ("edgezoo.images.samples.fetch_samples", "SamplesResult", "edgezoo samples --json"),
    "show": ("edgezoo.networks.catalogue", "ModelDescription", "edgezoo show --json"),
    "contract": ("edgezoo.core.artifact", "InputContract", "The contract of one file"),
    "export": ("edgezoo.pipeline.export_result", "Printed", "edgezoo export --json"),
    "artifact": ("edgezoo.pipeline.export_result", "ExportedFile", "One exported file"),
    "manifest": ("edgezoo.pipeline.export_result", "Manifest", "The manifest"),
    "verify": ("edgezoo.pipeline.reproduce", "Printed", "edgezoo verify --json"),
    "cache": ("edgezoo.pipeline.export_cache", "CacheResult", "edgezoo cache --json"),
    "report": ("edgezoo.reporting.report_files", "Printed", "edgezoo report --json"),
    "trust": ("edgezoo.measurement.trust", "Trust", "how far a latency can be trusted"),
}


def schemas() -> dict[str, str]:
    """The text of each generated file by its name, such as "schemas/show.json"."""
    return {f"schemas/{name}.json": _text(name, *row) for name, row in CLASSES.items()}


def _text(name: str, module: str, described: str, title: str) -> str:
    found = getattr(importlib.import_module(module), described)
    return json.dumps(typed_json.schema(found, title, name), indent=2) + "\n"
