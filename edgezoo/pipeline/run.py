"""Runs a plan: source, files, verification, publication."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, ThresholdError, counted
from edgezoo.evaluation.agreement import Comparison, compare
from edgezoo.evaluation.drop import Drop, above_chance, paired_drop
from edgezoo.pipeline import export_cache, provenance
from edgezoo.pipeline.export_run import Progress, Work, answers_to
from edgezoo.pipeline.guard import Guarded, keep_within
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.results.manifest import SUFFIX, publish_with_manifest
from edgezoo.system.staging import staging

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export left on disk.

    Attributes:
        artifacts: the objects of `edgezoo export --json`.
        manifest: path of the manifest.
        warnings: sentences that a user should read.
        failures: bounds that do not hold, in words.
        usage: CPU seconds and peak memory of each child process that made the files.
        cached: they come from the cache.
    """

    artifacts: tuple[dict[str, Any], ...]
    manifest: Path
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    usage: dict[str, dict[str, float]]
    cached: bool = False

    def to_json(self) -> dict[str, Any]:
        """The object that `edgezoo export --json` prints."""
        return {
            "artifacts": list(self.artifacts),
            "manifest": str(self.manifest),
            "warnings": list(self.warnings),
            "failures": list(self.failures),
            "usage": self.usage,
            "cached": self.cached,
        }


def run(
    request: ExportRequest, progress: Progress = lambda text: None, debug: bool = False
) -> ExportResult:
    """Export one model as a request says.

    Raises:
        EdgeZooError: one sentence and an exit code; nothing half-written stays.
    """
    return execute(resolve(request), progress, debug)


def execute(plan: Plan, progress: Progress, debug: bool = False) -> ExportResult:
    """Run a plan that `resolve` made, or find what it gave before."""
    request = plan.request
    key = provenance.request_key(plan) if request.cache and export_cache.limit() else None
    with staging(request.output, plan.stem) as stage:
        made = export_cache.fetch(key, stage) if key else None
        cached = made is not None
        if made is None:
            work = Work(plan, stage, progress, debug)
            made = _make(work)
            # The key knows no images but those that are tried where all can be read.
            if key and not work.unreadable:
                progress("Keeping the files in the cache")
                export_cache.keep(
                    key, [stage / f["path"] for e in made["entries"] for f in e["files"]], made
                )
        manifest = request.output / f"{plan.stem}{SUFFIX}"
        publish_with_manifest(stage, manifest, made["entries"], made["facts"])
    return ExportResult(
        tuple(_placed(entry, request.output) for entry in made["entries"]),
        manifest,
        tuple(made["warnings"]),
        tuple(made["failures"]),
        made["facts"]["usage"],
        cached,
    )


def _make(work: Work) -> dict[str, Any]:
    """Make and judge the files, on the stage.

    Returns:
        {"entries": of the manifest, "facts": of its head, "warnings", "failures"}.
    """
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
    import numpy as np

    assert work.verification is not None
    work.progress("Verifying every file in its runtime")
    reference = np.load(answers_to(work.verification), mmap_mode="r")
    kind = work.contract.output_kind
    found = {}
    for path, output in work.answers(work.paths, work.verification).items():
        precision = registry.load_artifact(path).required_contract().precision
        bound = work.plan.request.min_agreement
        got = np.load(output, mmap_mode="r")
        found[path] = compare(reference, got, precision, bound, kind)
    return found


def _guard(work: Work, max_drop_points: float) -> list[Guarded]:
    """Hold the drop of each int8 file's top-1 under a limit, on labelled images."""
    import numpy as np

    assert work.labelled is not None
    labelled = work.labelled
    classes = np.asarray(labelled.classes)
    answers = np.load(answers_to(labelled.pixels)).argmax(1)
    right = answers == classes
    _require_knowledge(answers, classes, work)
    ranked: list[str] = []

    def ranking() -> list[str]:
        work.progress("Ranking layers by what they lose in 8 bits")
        ranked[:] = ranked or work.ranking()
        return ranked

    def measure(name: str, path: Path) -> Drop:
        output = work.answers({name: [path]}, labelled.pixels)[path]
        return paired_drop(right, np.load(output).argmax(1) == classes)

    found = []
    for name, path in _int8_files(work):

        def attempt(layers: tuple[str, ...], name: str = name, path: Path = path) -> Drop:
            work.progress(f"{name}: {len(layers)} layers in float")
            work.remake(name, layers)
            return measure(name, path)

        work.progress(f"{name}: measuring the drop on {len(right)} images")
        first, top1 = measure(name, path), float(right.mean())
        found.append(
            keep_within(
                path.name, max_drop_points, top1, first, ranking, attempt, _only_int8(work.plan)
            )
        )
    return found


def _int8_files(work: Work) -> Iterator[tuple[str, Path]]:
    """Each int8 file with the name of its format."""
    for name, paths in work.paths.items():
        for path in paths:
            if registry.load_artifact(path).required_contract().precision == "int8":
                yield name, path


def _only_int8(plan: Plan) -> str | None:
    """What takes no float layers, as its user called it; None where they may be tried."""
    target = plan.request.target
    if target is None or set(registry.target(target).precisions) != {"int8"}:
        return None
    return f"--target {target}"


def _require_knowledge(answers: NDArray[np.int64], classes: NDArray[np.int64], work: Work) -> None:
    """Refuse to guard a network that knows nothing of the images: it can lose nothing.

    Chance is the agreement of answers with classes that have nothing to do with them, in the same
    shares (J. Cohen, Educational and Psychological Measurement 20, 1960), and 1 / classes at least.
    Images of a single class always agree by it: of those, half must be named rightly.

    Raises:
        DataError: its answers are not better than by chance.
    """
    import numpy as np

    images, count = len(classes), max(2, work.contract.classes)
    right = int((answers == classes).sum())
    shares = np.bincount(answers, minlength=count) * np.bincount(classes, minlength=count)
    chance = max(1 / count, float(shares.sum()) / images**2)
    alone = len(set(classes.tolist())) == 1 and 2 * right >= images
    if alone or above_chance(right, images, chance):
        return
    raise DataError(
        f"The float network names {right} of {counted(images, 'image')} in "
        f"{work.plan.request.images} rightly, no more than by chance: no drop can be proved on "
        "them.",
        "Check their classes (the folders' names, or --ground-truth), the weights and the "
        "preprocessing; edgezoo evaluate scores the float file.",
    )


def _described(
    work: Work, comparisons: dict[Path, Comparison], guarded: list[Guarded]
) -> dict[str, Any]:
    """What was made, and how good it is; see `_make`."""
    request = work.plan.request
    entries = []
    failures = [f"{guard.file}: {guard.failure}" for guard in guarded if guard.failure]
    for guard in guarded:
        work.warnings += [f"{guard.file}: {text}" for text in _told(guard, request)]
    by_name = {guard.file: guard for guard in guarded}
    for path in (path for paths in work.paths.values() for path in paths):
        staged = registry.load_artifact(path)
        comparison = comparisons.get(path)
        entry = {
            **staged.to_json(),
            "contract": _without_labels(staged.required_contract()),
            "verification": _evidence(comparison, work.plan),
            "request": provenance.portable(request),
        }
        if path.name in by_name:
            entry["guard"] = typed_json.encode(by_name[path.name].record())
        if comparison is not None:
            failures += [f"{path.name}: {text}" for text in comparison.failures]
            work.warnings += [f"{path.name}: {text}" for text in comparison.warnings]
        entries.append(_relative(entry))
    facts = {"entries": entries, "facts": _facts(work), "failures": failures}
    return {**facts, "warnings": work.warnings}


def _told(guard: Guarded, request: ExportRequest) -> list[str]:
    """What a user should know of a guarded file."""
    found = guard.warnings
    if guard.float_layers and request.granularity == "per-tensor":
        found.append(
            f"{counted(len(guard.float_layers), 'layer')} in float: a device that needs "
            "per-tensor scales often takes int8 alone. Name it with --target, or leave --max-drop "
            "out."
        )
    return found


def _facts(work: Work) -> dict[str, Any]:
    """What the manifest says of the whole run."""
    request, weights, maker = work.plan.request, work.contract.weights, provenance.maker()
    return {
        "model": work.plan.spec.name,
        "trained": weights.trained,
        "weights": {**asdict(weights), "origin": provenance.origin(work.plan.spec, weights)},
        "request": provenance.portable(request),
        "command": provenance.command(request),
        "edgezoo": maker["edgezoo"],
        "versions": maker["packages"],
        "platform": maker["platform"],
        "reproducible_within": provenance.limits(request, weights),
        "usage": typed_json.encode(work.usage),
    }


def _without_labels(contract: InputContract) -> dict[str, Any]:
    """The contract for the manifest: a thousand labels stand in the files already."""
    return {key: value for key, value in contract.to_json().items() if key != "labels"}


def _evidence(comparison: Comparison | None, plan: Plan) -> dict[str, Any]:
    if comparison is None:
        return {"verdict": "skipped", "reason": "--no-verify"}
    source = provenance.portable(plan.request)["calibration"]
    return {**typed_json.encode(comparison), "reference": "keras", "source": source}


def _relative(entry: dict[str, Any]) -> dict[str, Any]:
    """The same entry with paths relative to the manifest, so that the folder can be moved."""
    files = [{**file, "path": Path(file["path"]).name} for file in entry["files"]]
    return {**entry, "path": Path(entry["path"]).name, "files": files}


def _placed(entry: dict[str, Any], output: Path) -> dict[str, Any]:
    """The same entry with the paths of the files in their place, as `export --json` has it."""
    files = [{**file, "path": str(output / file["path"])} for file in entry["files"]]
    placed = {**entry, "path": str(output / entry["path"]), "files": files}
    del placed["request"]
    return placed


def require_passed(result: ExportResult) -> None:
    """Raise where a bound does not hold.

    Raises:
        ThresholdError: with every failure; the files and their manifest stay.
    """
    if result.failures:
        raise ThresholdError(
            f"Verification failed: {'; '.join(result.failures)}.",
            f"The files and their evidence are kept; see {result.manifest}.",
        )
