"""The Python API: the same words as the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgezoo import registry, zoo
from edgezoo.building import build
from edgezoo.bundling.make import bundle
from edgezoo.classification import classify
from edgezoo.compilation import compile_artifact, estimate
from edgezoo.diagnosis import diagnose
from edgezoo.evaluation import evaluate
from edgezoo.inference import open_artifact
from edgezoo.inspection import inspect
from edgezoo.pipeline.explain import explain_file
from edgezoo.pipeline.plan import ExportRequest
from edgezoo.pipeline.run import ExportResult, require_passed, run
from edgezoo.pipeline.verify import verify_files

__all__ = [
    "build",
    "bundle",
    "classify",
    "compile",
    "doctor",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "inspect",
    "list_models",
    "open_artifact",
    "show",
    "verify",
]

verify = verify_files
explain = explain_file
doctor = diagnose
compile = compile_artifact


def export(model: str, *, output: Path | str = "exported", **options: Any) -> ExportResult:
    """Export a model and verify every file.

    Args:
        model: a name of the zoo.
        output: folder for the files and their manifest.
        **options: fields of `ExportRequest`, such as alpha=0.5, precisions=("int8",),
            formats=("tflite",), calibration="photos/".

    Returns:
        What was written, with the evidence.

    Raises:
        UsageError, RefusedError, MissingError, DataError: nothing was written.
        ThresholdError: the files were written, but a bound does not hold.
    """
    for name in ("precisions", "formats"):
        if isinstance(options.get(name), str):
            options[name] = (options[name],)
    result = run(ExportRequest(model=model, output=Path(output), **options))
    require_passed(result)
    return result


def list_models() -> list[str]:
    """Names of the zoo."""
    return sorted(registry.models())


def show(model: str) -> dict[str, Any]:
    """What is known about a model."""
    return zoo.describe(model)
