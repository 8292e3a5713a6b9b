"""`edgezoo benchmark`, for the command line and for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError, UsageError
from edgezoo.core.files import not_a_file
from edgezoo.core.ran_on import Remote
from edgezoo.core.typed_json import Count, optional, shared
from edgezoo.images import labelled
from edgezoo.inspection import compile_file
from edgezoo.inspection.compile_file import TargetEstimate
from edgezoo.measurement import comparisons, session
from edgezoo.measurement.comparisons import Comparison, SessionResult
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import Figures, Measurement
from edgezoo.measurement.statistics import ReportedRatio
from edgezoo.reporting import html, report_files
from edgezoo.results.record import Accuracy, Estimated, Failed, Failure, RecordedVariant
from edgezoo.sweep import cluster as clusters
from edgezoo.sweep import records, steps
from edgezoo.sweep.estimate import SweepPlan
from edgezoo.sweep.grid import SweepRequest, expand
from edgezoo.sweep.keys import images_hash
from edgezoo.sweep.records import Progress
from edgezoo.sweep.runner import Outcome, run
from edgezoo.sweep.sweep_file import not_for_files, read_toml
from edgezoo.system import remote
from edgezoo.system.machine import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult(Measurement):
    """A measured file.

    Attributes:
        accuracy: null without images
    """

    accuracy: Accuracy | None = None


@dataclass(frozen=True, slots=True)
class NotEstimated:
    """A file that a target's compiler could not estimate."""

    artifact: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedResult:
    """A variant of a sweep without figures."""

    name: str
    variant: RecordedVariant
    error: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """What was measured. Files have comparisons; a sweep has sessions with comparisons.

    Attributes:
        report: path of the page of a sweep
        self_check: one file in two processes (A/A); null for a sweep
        noise_floor: the smallest difference that counts, as a share
        estimates: of --target
        done_before: variants that an earlier run had done
        store: folder of the results of a sweep
        remote: the device that measured
    """

    results: tuple[FileResult, ...]
    report: str | None = None
    comparisons: tuple[Comparison, ...] | None = optional()
    self_check: ReportedRatio | None = None
    noise_floor: float | None = optional()
    protocol: Settings | None = optional()
    environment: Environment | None = optional()
    estimates: tuple[TargetEstimate, ...] | None = optional()
    not_estimated: tuple[NotEstimated, ...] | None = optional()
    failed: tuple[FailedResult, ...] | None = optional()
    done_before: Count | None = optional()
    sessions: tuple[SessionResult, ...] | None = optional()
    store: str | None = optional()
    remote: Remote | None = optional()


Printed = BenchmarkResult | SweepPlan


def request_for(what: Sequence[str | Path], given: dict[str, Any]) -> SweepRequest:
    """Return the request for files, models of the zoo, or one TOML file.

    Args:
        what: one kind only.
        given: fields of `SweepRequest`; they override a TOML file.

    Raises:
        UsageError: kinds are mixed, or an option does not apply to files.
    """
    words = [str(word) for word in what]
    kinds = {_kind(word) for word in words}
    if len(kinds) > 1 or (kinds == {"toml"} and len(words) > 1):
        raise UsageError(
            "Files, models and sweeps cannot be mixed.", "Name one kind, and one TOML file only."
        )
    if kinds == {"toml"}:
        asked = read_toml(Path(words[0]))
    elif kinds == {"files"}:
        asked = {"files": tuple(map(Path, words))}
    else:
        asked = {"models": tuple(words)}
    extra = not_for_files(given) if "files" in asked else None
    if extra:
        raise UsageError(
            f"--{extra.replace('_', '-')} says how files are made; these exist already.",
            "Leave it out, or name a model.",
        )
    request = SweepRequest(**{**asked, **given})
    _check_shape(request)
    return request


def _check_shape(request: SweepRequest) -> None:
    """Refuse a batch, or sizes of files, that are not measured."""
    if request.batch != 1 and (request.models or request.output is not None):
        raise UsageError(
            "--batch measures files and keeps nothing: a sweep's files take one image at a time.",
            "Leave --batch out, or name files without --output.",
        )
    if request.files and (len(request.input_size) > 1 or (request.input_size and request.output)):
        raise UsageError(
            "--input-size of files is the one size at which those of open size are measured.",
            "Give one size, without --output.",
        )


def _kind(word: str) -> str:
    if word.endswith(".toml"):
        return "toml"
    suffixes = {s for runtime in registry.runtimes().values() for s in runtime.suffixes}
    return "files" if Path(word).suffix.lower() in suffixes else "models"


def measure_files(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    debug: bool = False,
    on: str | None = None,
) -> BenchmarkResult:
    """Measure files against one another, and keep nothing.

    Args:
        request: with files.
        progress: see `run`; silent for a device.
        debug: let the processes write to this terminal.
        on: a device to measure on, as ssh://user@host; see `remote.device.call`.

    Raises:
        UsageError: models, whose results need a folder.
        EdgeZooError: the first error of a file.
    """
    for name in request.models:
        registry.model(name)
    if request.models:
        raise UsageError("A sweep needs a place for its results.", "Give --output DIR (or -o DIR).")
    # First: where no estimate can be made, nothing needs to be measured.
    estimates, not_estimated = _estimates(request) if request.target else (None, None)
    measured = _measure(request, progress, debug) if on is None else _measure_there(request, on)
    return replace(measured, estimates=estimates, not_estimated=not_estimated)


def _measure(request: SweepRequest, progress: Progress, debug: bool) -> BenchmarkResult:
    (network,) = expand(request)
    to_measure = [v for v in network.variants if not v.estimated]
    shape = request.batch, request.input_size[0] if request.input_size else None
    subjects = [session.Subject(v.path, v.device, v.threads, *shape) for v in to_measure if v.path]
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
        accuracy = accuracies.get(result.artifact)
        results.append(FileResult(**shared(result, Measurement), accuracy=accuracy))
    common = shared(comparisons.result(measured), SessionResult)
    del common["id"]
    return BenchmarkResult(results=tuple(results), **common)


def _accuracies(request: SweepRequest, progress: Progress) -> dict[str, Accuracy]:
    """Return the accuracy of each file by its path, if there are images."""
    if request.images is None:
        return {}
    progress("Scoring", 0.0)
    images, paths = images_hash(request), list(dict.fromkeys(request.files))
    found = [records.accuracy(entry, images) for entry in steps.evaluate(request, paths, None)]
    return dict(zip(map(str, paths), found, strict=True))


def _measure_there(request: SweepRequest, on: str) -> BenchmarkResult:
    images, truth = None, request.ground_truth
    if request.images is not None:
        paths, truth = labelled.wanted_files(request.images, truth, request.limit)
        images = remote.only(request.images, paths)
    for path in request.files:
        if not path.is_file():
            raise not_a_file(path)
    bare = replace(request, files=(), images=None, ground_truth=None)
    result, place = remote.call(on, measure_here, bare, request.files, images, truth)
    return replace(result, remote=place)


def measure_here(
    request: SweepRequest, files: tuple[Path, ...], images: Path | None, ground_truth: Path | None
) -> BenchmarkResult:
    """Run `measure_files` on a device, which has paths of its own."""
    return measure_files(replace(request, files=files, images=images, ground_truth=ground_truth))


def _estimates(
    request: SweepRequest,
) -> tuple[tuple[TargetEstimate, ...], tuple[NotEstimated, ...]]:
    """Ask the compilers of `request.target` about the files; raise where none can be estimated."""
    found, not_estimated, first = [], [], None
    for path in dict.fromkeys(request.files):
        for target in dict.fromkeys(request.target):
            try:
                found.append(compile_file.estimate(path, target))
            except EdgeZooError as error:
                first = first or error
                not_estimated.append(NotEstimated(str(path), target, str(error)))
    if first and not found:
        raise first
    return tuple(found), tuple(not_estimated)


def sweep(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    *,
    retry_failed: bool = False,
    cluster: str | None = None,
    workers: int | None = None,
    measure_on: str | None = None,
) -> BenchmarkResult:
    """Run or resume a sweep, and make its page where jinja2 and plotly are installed.

    Args:
        request: with an `output`.
        progress: see `run`.
        retry_failed: see `run`.
        cluster, workers, measure_on: see `cluster.connected`; without them everything runs here.
    """
    output = request.output
    assert output is not None
    with contextlib.ExitStack() as stack:
        own = steps.REAL
        if cluster is not None or workers is not None:
            own = stack.enter_context(clusters.connected(request, cluster, workers, measure_on))
        outcome = run(request, progress, steps=own, retry_failed=retry_failed)
    page = None
    if all(map(registry.has_package, html.PACKAGES)):
        page = report_files.write([output], ("html",), output).reports[0]
    return _result(outcome, output, page)


def _result(outcome: Outcome, output: Path, page: str | None) -> BenchmarkResult:
    results, estimates, failed = [], [], []
    for record in outcome.records:
        if isinstance(record, Failed):
            failed.append(FailedResult(_name(record), record.variant, record.error))
            continue
        file = record.artifact
        inside = output / file.path
        place = str(inside) if inside.is_file() else file.path
        if isinstance(record, Estimated):
            own, target = shared(record.estimate, type(record.estimate)), record.variant.device
            estimates.append(TargetEstimate(**own, artifact=Path(place), target=target))
        else:
            figures = {**shared(record.variant, RecordedVariant), **shared(record.latency, Figures)}
            figures |= {"sha256": file.sha256, "bytes": file.bytes, "trained": file.trained}
            scored, trust = record.accuracy, record.trust
            results.append(FileResult(**figures, artifact=place, accuracy=scored, trust=trust))
    return BenchmarkResult(
        results=tuple(results),
        report=page,
        estimates=tuple(estimates),
        failed=tuple(failed),
        done_before=outcome.done_before,
        sessions=outcome.sessions,
        store=str(output),
    )


def _name(record: Failed) -> str:
    variant = record.variant
    network = (variant.model, variant.alpha, variant.input_size, variant.precision, variant.format)
    words = (record.file,) if record.file is not None else network
    known = [str(word) for word in words if word is not None]
    return "_".join([*known, variant.device, f"t{variant.threads}"])
