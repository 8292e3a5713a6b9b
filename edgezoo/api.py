"""The Python API: the same words as the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgezoo.bundling.make import bundle
from edgezoo.core import registry
from edgezoo.evaluation.accuracy import evaluate
from edgezoo.finetuning import finetune as finetuning
from edgezoo.finetuning.finetune_request import FinetuneRequest
from edgezoo.images.imagenet_utils import decode_predictions, preprocess_input
from edgezoo.inference.classification import classify
from edgezoo.inference.predict import open_artifact
from edgezoo.inspection.compile_file import compile_artifact, estimate
from edgezoo.inspection.diagnosis import diagnose
from edgezoo.inspection.inspect_file import inspect
from edgezoo.networks import arguments, catalogue
from edgezoo.networks.building import build
from edgezoo.pipeline.explain_file import explain_file
from edgezoo.pipeline.plan import ExportRequest
from edgezoo.pipeline.run import ExportResult, require_passed, run
from edgezoo.pipeline.verify_files import verify_files
from edgezoo.reporting import files, recommendation
from edgezoo.reporting.recommendation import Budgets, Preference, RecommendResult
from edgezoo.reporting.rows import rows
from edgezoo.results.store import read_stores
from edgezoo.sweep import entry
from edgezoo.sweep.entry import BenchmarkResult

__all__ = [
    "benchmark",
    "build",
    "bundle",
    "classify",
    "compile",
    "decode_predictions",
    "doctor",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "inspect",
    "list_models",
    "open_artifact",
    "preprocess_input",
    "recommend",
    "report",
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
        model: a name of the zoo, or the path of a network of your own.
        output: folder for the files and their manifest.
        **options: fields of `ExportRequest`, such as precisions=("int8",), formats=("tflite",),
            calibration="photos/"; and of `BuildArguments`, such as alpha=0.5, include_top=False,
            with `input_shape`, such as (224, 224, 3), in place of `input_size` where you like.

    Returns:
        What was written, with the evidence.

    Raises:
        UsageError, RefusedError, MissingError, DataError: nothing was written.
        ThresholdError: the files were written, but a bound does not hold.
    """
    for name in ("precisions", "formats"):
        if isinstance(options.get(name), str):
            options[name] = (options[name],)
    chosen = arguments.taken_from(options)
    result = run(ExportRequest(model, chosen, output=Path(output), **options))
    require_passed(result)
    return result


def finetune(model: str, data: Path | str, **options: Any) -> dict[str, Any]:
    """Teach a network the classes of a folder.

    Args:
        model: a name of the zoo, or the path of a network.
        data: holds a folder a class.
        **options: fields of `FinetuneRequest`, such as epochs=10, output=Path("flowers.keras");
            and of `BuildArguments`, such as alpha=0.5.

    Returns:
        The object of `edgezoo finetune --json`.

    Raises:
        UsageError, RefusedError, MissingError, DataError: nothing was written.
    """
    for name in ("output", "held_out"):
        if isinstance(options.get(name), str):
            options[name] = Path(options[name])
    chosen = arguments.taken_from(options)
    return finetuning.finetune(FinetuneRequest(model, Path(data), chosen, **options)).facts


def benchmark(
    *what: Path | str,
    on: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    measure_on: str | None = None,
    **options: Any,
) -> BenchmarkResult:
    """Measure files against one another, or sweep over models into a results store.

    Args:
        *what: files, names of models, or one TOML file.
        on: a device to measure files on, as ssh://user@host.
        cluster, workers, measure_on: a Dask cluster for a sweep, see docs/clusters.md.
        **options: fields of `SweepRequest`, such as alpha=(0.25, 0.5), threads=("1", "all"),
            images=Path("val"), output=Path("results").

    Returns:
        The object of `edgezoo benchmark --json`.
    """
    request = entry.request_for(what, options)
    if request.output is None:
        return entry.measure_files(request, on=on)
    return entry.sweep(request, cluster=cluster, workers=workers, measure_on=measure_on)


def report(
    *stores: Path | str, kinds: tuple[str, ...] = ("html",), output: Path | str | None = None
) -> files.ReportResult:
    """Write reports of results stores: the object of `edgezoo report --json`."""
    places = [Path(store) for store in stores]
    return files.write(places, kinds, Path(output) if output else places[-1])


def recommend(
    *stores: Path | str, prefer: Preference = "accuracy", machine: str | None = None, **budgets: Any
) -> RecommendResult:
    """The best variant under budgets: the object of `edgezoo recommend --json`.

    Args:
        *stores: results stores.
        prefer: "accuracy", "latency" or "size".
        machine: part of its name, where there are several.
        **budgets: fields of `Budgets`, such as max_latency_ms=20, max_bytes=2_000_000.
    """
    parts, _ = read_stores([Path(store) for store in stores])
    records = [record for records in parts for record in records]
    return recommendation.recommend(rows(records), Budgets(**budgets), prefer, machine)


def list_models() -> list[str]:
    """Names of the zoo."""
    return sorted(registry.models())


def show(model: str) -> dict[str, Any]:
    """What is known about a model."""
    return catalogue.describe(model)
