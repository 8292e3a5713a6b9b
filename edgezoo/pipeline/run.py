"""Runs a plan: source, files, verification, publication."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry, typed_json
from edgezoo.core.arrays import load_rows
from edgezoo.core.errors import DataError, RefusedError, ThresholdError, counted
from edgezoo.evaluation.agreement import Comparison, Verification, compare
from edgezoo.evaluation.drop import Drop, above_chance, paired_drop
from edgezoo.pipeline import export_cache, provenance
from edgezoo.pipeline.export_result import (
    ExportedFile,
    ExportResult,
    MadeFiles,
    ManifestHead,
    OriginalWeights,
)
from edgezoo.pipeline.export_run import Progress, Work, answers_to
from edgezoo.pipeline.guard import Guarded, keep_within
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.results.manifest import SUFFIX, publish_with_manifest
from edgezoo.system.staging import staging

_LOST_MARKS = (
    "{}: this CPU's OpenVINO computes some layers in bfloat16, although the file asks for float32. "
    "Set INFERENCE_PRECISION_HINT to f32 in your session, as was done here."
)


def run(
    request: ExportRequest, progress: Progress = lambda text: None, debug: bool = False
) -> ExportResult:
    """Export one model as a request says.

    Raises:
        EdgeZooError: with one sentence and an exit code; no partial files remain.
    """
    return execute(resolve(request), progress, debug)


def execute(plan: Plan, progress: Progress, debug: bool = False) -> ExportResult:
    """Run a plan that `resolve` made, or return cached files."""
    request = plan.request
    key = provenance.request_key(plan) if request.cache and export_cache.limit() else None
    with staging(request.output, plan.stem) as stage:
        told: list[str] = []
        made = export_cache.fetch(key, stage, told.append) if key else None
        cached = made is not None
        if made is None:
            work = Work(plan, stage, progress, debug)
            made = _make(work)
            # The key knows no images but those that are tried where all can be read.
            if key and not work.unreadable and not made.not_made:
                progress("Keeping the files in the cache")
                files = [stage / file.path for entry in made.artifacts for file in entry.files]
                export_cache.keep(key, files, made)
        manifest = request.output / f"{plan.stem}{SUFFIX}"
        entries, head = typed_json.encode(made.artifacts), typed_json.encode(made.head)
        publish_with_manifest(stage, manifest, entries, head)
    placed = (replace(entry.moved(request.output), request=None) for entry in made.artifacts)
    return ExportResult(
        tuple(placed),
        manifest,
        (*told, *made.warnings),
        made.failures,
        made.head.usage,
        cached,
        not_made=made.not_made,
    )


def _make(work: Work) -> MadeFiles:
    """Export and verify the files, on the stage."""
    plan = work.plan
    work.choose_images()
    work.make_source()
    work.correct_fp16()
    if plan.needs_calibration:
        work.prepare()
    work.export_files()
    limit = plan.request.max_drop_points
    guarded = _guard(work, limit) if limit is not None else []
    comparisons = _verify(work) if plan.request.verify else {}
    return _described(work, comparisons, guarded)


def _verify(work: Work) -> dict[Path, Comparison]:
    """Open every file in its own runtime, and compare with the Keras network."""
    assert work.verification is not None
    work.progress("Verifying every file in its runtime")
    reference = load_rows(answers_to(work.verification))
    kind = work.contract.output_kind
    found = {}
    answers = work.answers(work.paths, work.verification)
    for artifact, (path, output) in zip(work.load(answers), answers.items(), strict=True):
        precision = artifact.required_contract().precision
        bound = work.plan.request.min_agreement
        got = load_rows(output)
        # A file that asks for float32 and is computed otherwise is held to its bounds.
        chosen = work.plan.request.openvino_precision == "auto"
        rounded = chosen and work.ran_on[path].in_bfloat16
        if work.ran_on[path].asked_by_session:
            work.warnings.append(_LOST_MARKS.format(path.name))
        several = work.contract.multi_label
        found[path] = compare(reference, got, precision, bound, kind, rounded, multi_label=several)
    return found


def _guard(work: Work, max_drop_points: float) -> list[Guarded]:
    """Keep the top-1 drop of each int8 file under a limit, on labelled images."""
    assert work.labelled is not None
    labelled = work.labelled
    classes = np.asarray(labelled.classes)
    answers = load_rows(answers_to(labelled.pixels)).argmax(1)
    right = answers == classes
    _require_knowledge(answers, classes, work)
    ranked: list[str] = []

    def ranking() -> list[str]:
        work.progress("Ranking layers by what they lose in 8 bits")
        ranked[:] = ranked or work.ranking()
        return ranked

    def measure(name: str, path: Path) -> Drop:
        output = work.answers({name: [path]}, labelled.pixels).get(path)
        if output is None:
            raise RefusedError(work.attempts.not_made[-1].reason, work.attempts.not_made[-1].hint)
        return paired_drop(right, load_rows(output).argmax(1) == classes)

    found = []
    for name, path in _int8_files(work):

        def attempt(layers: tuple[str, ...], name: str = name, path: Path = path) -> Drop:
            work.progress(f"{name}: {len(layers)} layers in float")
            work.remake(name, layers)
            return measure(name, path)

        work.progress(f"{name}: measuring the drop on {len(right)} images")
        first, top1, only = measure(name, path), float(right.mean()), _only_int8(work.plan)
        kept = keep_within(path.name, max_drop_points, top1, first, ranking, attempt, only)
        found.append(kept)
    return found


def _int8_files(work: Work) -> Iterator[tuple[str, Path]]:
    """Each int8 file with the name of its format."""
    for name, paths in work.paths.items():
        for path, artifact in zip(paths, work.load(paths), strict=True):
            if artifact.required_contract().precision == "int8":
                yield name, path


def _only_int8(plan: Plan) -> str | None:
    """The option that rules out float layers; None where they may be tried."""
    target = plan.request.target
    if target is None or set(registry.target(target).precisions) != {"int8"}:
        return None
    return f"--target {target}"


def _require_knowledge(answers: NDArray[np.int64], classes: NDArray[np.int64], work: Work) -> None:
    """Refuse to guard a network whose top-1 on the images is not better than chance.

    Chance is the agreement of predictions and classes that are independent, with the same shares
    (J. Cohen, Educational and Psychological Measurement 20, 1960), and at least 1 / classes.
    Images of a single class always agree by that measure: of those, half must be right.
    """
    images, count = len(classes), max(2, work.contract.classes)
    right = int((answers == classes).sum())
    shares = np.bincount(answers, minlength=count) * np.bincount(classes, minlength=count)
    chance = max(1 / count, float(shares.sum()) / images**2)
    alone = len(set(classes.tolist())) == 1 and 2 * right >= images
    if alone or above_chance(right, images, chance):
        return
    raise DataError(
        f"The float network classifies {right} of {counted(images, 'image')} in "
        f"{work.plan.request.images} correctly, no more than chance: no drop can be proved on "
        "them.",
        "Check their classes (the folders' names, or --ground-truth), the weights and the "
        "preprocessing; edgezoo evaluate scores the float file.",
    )


def _described(
    work: Work, comparisons: dict[Path, Comparison], guarded: list[Guarded]
) -> MadeFiles:
    request = work.plan.request
    entries = []
    failures = [f"{guard.file}: {guard.failure}" for guard in guarded if guard.failure]
    for guard in guarded:
        work.warnings += [f"{guard.file}: {text}" for text in _notes(guard, request)]
    by_name = {guard.file: guard for guard in guarded}
    written = [path for paths in work.paths.values() for path in paths]
    for path, staged in zip(written, work.load(written), strict=True):
        comparison = comparisons.get(path)
        record, contract = staged.record(), staged.required_contract().to_json()
        del contract["labels"]  # a thousand, which the file holds
        entry = ExportedFile(
            **{field.name: getattr(record, field.name) for field in fields(record)},
            contract=contract,
            verification=_verification(comparison, work.plan),
            guard=by_name[path.name].record() if path.name in by_name else None,
            request=provenance.portable(request),
        )
        if comparison is not None:
            failures += [f"{path.name}: {text}" for text in comparison.failures]
            work.warnings += [f"{path.name}: {text}" for text in comparison.warnings]
        entries.append(entry.moved(Path()))
    lost = work.attempts.not_made
    return MadeFiles(tuple(entries), _head(work), tuple(work.warnings), tuple(failures), lost)


def _notes(guard: Guarded, request: ExportRequest) -> list[str]:
    """Sentences that a user should read about a guarded file."""
    found = guard.warnings
    if guard.float_layers and request.granularity == "per-tensor":
        found.append(
            f"{counted(len(guard.float_layers), 'layer')} in float: a device that needs "
            "per-tensor scales often takes int8 only. Name it with --target, or leave --max-drop "
            "out."
        )
    return found


def _head(work: Work) -> ManifestHead:
    request, weights, maker = work.plan.request, work.contract.weights, provenance.maker()
    origin = provenance.origin(work.plan.spec, weights)
    return ManifestHead(
        model=work.plan.spec.name,
        trained=weights.trained,
        weights=OriginalWeights(**asdict(weights), origin=origin),
        request=provenance.portable(request),
        command=provenance.command(request),
        edgezoo=maker.edgezoo,
        versions=maker.packages,
        platform=maker.platform,
        reproducible_within=provenance.limits(request, weights),
        usage=work.usage,
    )


def _verification(comparison: Comparison | None, plan: Plan) -> Verification:
    if comparison is None:
        return Verification("skipped", reason="--no-verify")
    return Verification.of(comparison, provenance.portable(plan.request)["calibration"])


def require_passed(result: ExportResult) -> None:
    """Raise where a bound does not hold, or a file could not be made.

    Raises:
        ThresholdError: with every failure; the files and their manifest stay.
        RefusedError: with the files that are not there; the others stay.
    """
    if result.failures:
        raise ThresholdError(
            f"Verification failed: {'; '.join(result.failures)}.",
            f"The files and their evidence are kept; see {result.manifest}.",
        )
    if result.not_made:
        lost = (f"{entry.format} {entry.precision}: {entry.reason}" for entry in result.not_made)
        raise RefusedError(
            f"Not all files could be made. {' '.join(lost)}",
            f"The others are kept; see {result.manifest}. {result.not_made[0].hint}",
        )
