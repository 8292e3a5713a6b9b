"""`edgezoo benchmark` for the command line and for Python: words in, the object of --json out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError, UsageError
from edgezoo.core.files import not_a_file
from edgezoo.images import labelled
from edgezoo.inspection import compile_file
from edgezoo.measurement import comparisons, session
from edgezoo.measurement.protocol import Settings
from edgezoo.reporting import html, report_files
from edgezoo.results.store import Record
from edgezoo.sweep import cluster as clusters
from edgezoo.sweep import records, steps
from edgezoo.sweep.grid import SweepRequest, expand
from edgezoo.sweep.keys import images_hash
from edgezoo.sweep.runner import Outcome, run
from edgezoo.sweep.state import Progress
from edgezoo.sweep.steps import REAL
from edgezoo.sweep.sweep_file import read_toml, strange_to_files
from edgezoo.system import remote


def request_for(what: Sequence[str | Path], given: dict[str, Any]) -> SweepRequest:
    """What a user named: files, models of the zoo, or one TOML file.

    Args:
        what: one kind only.
        given: fields of `SweepRequest`; they overrule a TOML file.

    Raises:
        UsageError: kinds are mixed, or an option does not go with files.
    """
    words = [str(word) for word in what]
    suffixes = {s for runtime in registry.runtimes().values() for s in runtime.suffixes}
    kinds = {
        "toml"
        if word.endswith(".toml")
        else "files"
        if Path(word).suffix.lower() in suffixes
        else "models"
        for word in words
    }
    if len(kinds) > 1 or (kinds == {"toml"} and len(words) > 1):
        raise UsageError(
            "Files, models and sweeps cannot be mixed.", "Name one kind, and one TOML file only."
        )
    (kind,) = kinds
    asked = read_toml(Path(words[0])) if kind == "toml" else {}
    if kind == "files" or "files" in asked:
        strange = strange_to_files(given)
        if strange:
            raise UsageError(
                f"--{strange.replace('_', '-')} says how files are made; these exist already.",
                "Leave it out, or name a model.",
            )
    if kind == "toml":
        return SweepRequest(**{**asked, **given})
    if kind == "files":
        return SweepRequest(files=tuple(map(Path, words)), **given)
    return SweepRequest(models=tuple(words), **given)


def measure_files(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    debug: bool = False,
    on: str | None = None,
) -> dict[str, Any]:
    """Measure files against one another, and keep nothing.

    Args:
        request: with files.
        progress: see `run`; silent for a device.
        debug: let the processes write to this terminal.
        on: a device to measure on, as ssh://user@host; see `remote.device.call`.

    Raises:
        UsageError: what needs a place for its results.
        EdgeZooError: the first thing that stands in the way of a file.
    """
    for name in request.models:
        registry.model(name)
    if request.models:
        raise UsageError("A sweep needs a place for its results.", "Give --output DIR (or -o DIR).")
    estimates = _estimates(request)  # first: where none can be made, nothing is measured in vain
    if on is not None:
        return {**_measure_there(request, on), **estimates}
    (network,) = expand(request)
    subjects = [
        session.Subject(v.path, v.device, v.threads)
        for v in network.variants
        if v.path and not v.estimated
    ]
    accuracies = _accuracies(request, progress)
    measured = session.measure(
        subjects,
        request.settings,
        pin=request.pin,
        self_check=request.self_check,
        progress=lambda done: progress("Measuring", done),
        debug=debug,
    )
    results = []
    for result in measured.results:
        if isinstance(result, EdgeZooError):
            raise result
        results.append({**result, "accuracy": accuracies.get(result["artifact"])})
    return {"results": results, **comparisons.to_json(measured), "report": None, **estimates}


def _accuracies(request: SweepRequest, progress: Progress) -> dict[str, dict[str, Any]]:
    """Accuracy of each file by its name, if images are given."""
    if request.images is None:
        return {}
    progress("Scoring", 0.0)
    images = images_hash(request)
    entries = steps.evaluate(request, list(dict.fromkeys(request.files)), None)
    return {entry["artifact"]: records.accuracy(entry, images) for entry in entries}


def _measure_there(request: SweepRequest, on: str) -> dict[str, Any]:
    images, truth = None, request.ground_truth
    if request.images is not None:
        paths, truth = labelled.wanted_files(request.images, truth, request.limit)
        images = remote.Tree(request.images, paths)
    for path in request.files:
        if not path.is_file():
            raise not_a_file(path)
    return remote.call(
        on,
        "edgezoo.sweep.entry:measure_here",
        files=list(request.files),
        images=images,
        ground_truth=truth,
        limit=request.limit,
        threads=list(request.threads),
        device=list(request.device),
        pin=request.pin,
        self_check=request.self_check,
        settings=asdict(request.settings),
    )


def measure_here(
    files: list[str], images: str | None, ground_truth: str | None, **options: Any
) -> dict[str, Any]:
    """`measure_files` on a device, from what JSON can carry."""
    options |= {name: tuple(options[name]) for name in ("threads", "device")}
    options["settings"] = Settings(**options["settings"])
    return measure_files(
        SweepRequest(
            files=tuple(map(Path, files)),
            images=Path(images) if images else None,
            ground_truth=Path(ground_truth) if ground_truth else None,
            **options,
        )
    )


def _estimates(request: SweepRequest) -> dict[str, Any]:
    """What the compilers of `request.target` expect of the files; nothing without a target.

    Raises:
        EdgeZooError: no file can be estimated.
    """
    if not request.target:
        return {}
    found, errors = [], []
    for path in dict.fromkeys(request.files):
        for target in dict.fromkeys(request.target):
            try:
                found.append(compile_file.estimate(path, target))
            except EdgeZooError as error:
                errors.append((path, target, error))
    if not found and errors:
        raise errors[0][2]
    return {
        "estimates": found,
        "not_estimated": [
            {"artifact": str(path), "target": target, "reason": str(error)}
            for path, target, error in errors
        ],
    }


def sweep(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    *,
    retry_failed: bool = False,
    cluster: str | None = None,
    workers: int | None = None,
    measure_on: str | None = None,
) -> dict[str, Any]:
    """Run a sweep, or go on with one, and make its page where jinja2 and plotly are there.

    Args:
        request: with an `output`.
        progress: see `run`.
        retry_failed: see `run`.
        cluster, workers, measure_on: see `cluster.connected`; without them all runs here.
    """
    output = request.output
    assert output is not None
    with contextlib.ExitStack() as stack:
        own = REAL
        if cluster is not None or workers is not None:
            own = stack.enter_context(clusters.connected(request, cluster, workers, measure_on))
        outcome = run(request, progress, steps=own, retry_failed=retry_failed)
    page = None
    if all(map(registry.has_package, html.PACKAGES)):
        page = report_files.write([output], ("html",), output)["reports"][0]
    return {**_to_json(outcome, output), "report": page}


def _to_json(outcome: Outcome, output: Path) -> dict[str, Any]:
    good = [record for record in outcome.records if record["status"] == "measured"]
    return {
        "results": [_result(r, output) for r in good if r["kind"] == "measurement"],
        "estimates": [
            {"artifact": _place(r, output), "target": r["variant"]["device"], **r["estimate"]}
            for r in good
            if r["kind"] == "estimate"
        ],
        "failed": [
            {"name": _name(record), "variant": record["variant"], "error": record["error"]}
            for record in outcome.records
            if record["status"] == "failed"
        ],
        "done_before": outcome.done_before,
        "sessions": list(outcome.sessions),
        "store": str(output),
    }


def _result(record: Record, output: Path) -> dict[str, Any]:
    artifact, variant = record["artifact"], record["variant"]
    latency = {name: value for name, value in record["latency"].items() if name != "blocks_ms"}
    return {
        "artifact": _place(record, output),
        **{name: artifact[name] for name in ("sha256", "bytes", "trained")},
        **variant,
        **latency,
        "accuracy": record["accuracy"],
        "trust": record["trust"],
    }


def _place(record: Record, output: Path) -> str:
    inside = output / record["artifact"]["path"]
    return str(inside) if inside.is_file() else record["artifact"]["path"]


def _name(record: Record) -> str:
    variant, file = record["variant"], record["file"]
    words = ("model", "alpha", "input_size", "precision", "format", "device")
    told = [str(variant[word]) for word in words if variant[word] is not None]
    if file is not None:  # somebody's own: it may say nothing of its network
        told = [file, variant["device"]]
    return "_".join((*told, f"t{variant['threads']}"))
