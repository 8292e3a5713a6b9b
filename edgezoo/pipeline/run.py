"""Runs a plan: source, files, verification, publication."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgezoo import artifact as artifacts
from edgezoo import registry
from edgezoo.artifact import Artifact, InputContract
from edgezoo.errors import ThresholdError
from edgezoo.pipeline import steps
from edgezoo.pipeline.guard import INTERVAL, Guarded, keep_within
from edgezoo.pipeline.plan import ExportRequest, Plan, resolve
from edgezoo.pipeline.staging import publish, staging
from edgezoo.pipeline.work import Progress, Work, answers_to
from edgezoo.statistics import Drop, paired_drop
from edgezoo.verification import Comparison, compare


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export left on disk.

    Attributes:
        artifacts: the objects of `edgezoo export --json`.
        manifest: path of the manifest.
        warnings: sentences that a user should read.
        failures: bounds that do not hold, in words.
        usage: CPU seconds and peak memory of each child process.
    """

    artifacts: tuple[dict[str, Any], ...]
    manifest: Path
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    usage: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """The object that `edgezoo export --json` prints."""
        return {
            "artifacts": list(self.artifacts),
            "manifest": str(self.manifest),
            "warnings": list(self.warnings),
            "failures": list(self.failures),
            "usage": self.usage,
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
    """Run a plan that `resolve` made."""
    with staging(plan.request.output) as stage:
        work = Work(plan, stage, progress, debug)
        work.choose_images()
        work.make_source()
        if plan.needs_calibration:
            work.prepare()
        work.export_files()
        limit = plan.request.max_drop
        guarded = _guard(work, limit) if limit is not None else []
        comparisons = _verify(work) if plan.request.verify else {}
        return _publish(work, comparisons, guarded)


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


def _guard(work: Work, max_drop: float) -> list[Guarded]:
    """Hold the drop of each int8 file's top-1 under a limit, on labelled images."""
    import numpy as np

    assert work.labelled is not None
    labelled = work.labelled
    classes = np.asarray(labelled.classes)
    right = np.load(answers_to(labelled.pixels)).argmax(1) == classes
    ranked: list[str] = []

    def ranking() -> list[str]:
        work.progress("Ranking layers by what they lose in 8 bits")
        ranked[:] = ranked or work.ranking()
        return ranked

    def measure(name: str, path: Path) -> Drop:
        output = work.answers({name: [path]}, labelled.pixels)[path]
        return paired_drop(right, np.load(output).argmax(1) == classes, INTERVAL)

    found = []
    for name, paths in work.paths.items():
        for path in paths:
            if registry.load_artifact(path).required_contract().precision != "int8":
                continue

            def attempt(layers: tuple[str, ...], name: str = name, path: Path = path) -> Drop:
                work.progress(f"{name}: {len(layers)} layers in float")
                work.remake(name, layers)
                return measure(name, path)

            work.progress(f"{name}: measuring the drop on {len(right)} images")
            found.append(keep_within(path.name, max_drop, measure(name, path), ranking, attempt))
    return found


def _publish(
    work: Work, comparisons: dict[Path, Comparison], guarded: list[Guarded]
) -> ExportResult:
    """Move the files to their place, the manifest last."""
    request = work.plan.request
    entries = []
    failures = [f"{guard.file}: {guard.failure}" for guard in guarded if guard.failure]
    by_name = {guard.file: guard for guard in guarded}
    for path in (path for paths in work.paths.values() for path in paths):
        staged = registry.load_artifact(path)
        placed = publish(list(staged.files), request.output)
        final = Artifact(placed[0], staged.format, tuple(placed), staged.contract)
        entry = final.to_json()
        entry["contract"] = _without_labels(staged.required_contract())
        comparison = comparisons.get(path)
        entry["verification"] = _evidence(comparison, work.plan)
        if placed[0].name in by_name:
            entry["guard"] = by_name[placed[0].name].to_json()
        if comparison is not None:
            failures += [f"{placed[0].name}: {text}" for text in comparison.failures]
            work.warnings += [f"{placed[0].name}: {text}" for text in comparison.warnings]
        entries.append(entry)
    manifest = request.output / f"{work.plan.stem}.manifest.json"
    artifacts.merge_manifest(manifest, [_relative(entry) for entry in entries], _facts(work))
    return ExportResult(tuple(entries), manifest, tuple(work.warnings), tuple(failures), work.usage)


def _facts(work: Work) -> dict[str, Any]:
    """What the manifest says of the whole run."""
    return {
        "model": work.plan.spec.name,
        "trained": work.contract.weights.trained,
        "weights": asdict(work.contract.weights),
        "request": _portable(work.plan.request),
        "versions": steps.versions(),
        "usage": work.usage,
    }


def _portable(request: ExportRequest) -> dict[str, Any]:
    """The request for the manifest, without paths of this machine."""
    facts = asdict(request)
    del facts["output"]
    facts |= facts.pop("arguments")
    for name in ("model", "calibration", "weights", "images", "ground_truth", "labels"):
        facts[name] = facts[name] and Path(facts[name]).name
    return facts


def _without_labels(contract: InputContract) -> dict[str, Any]:
    """The contract for the manifest: a thousand labels stand in the files already."""
    return {key: value for key, value in contract.to_json().items() if key != "labels"}


def _evidence(comparison: Comparison | None, plan: Plan) -> dict[str, Any]:
    if comparison is None:
        return {"verdict": "skipped", "reason": "--no-verify"}
    source = _portable(plan.request)["calibration"]
    return {**comparison.to_json(), "reference": "keras", "source": source}


def _relative(entry: dict[str, Any]) -> dict[str, Any]:
    """The same entry with paths relative to the manifest, so that the folder can be moved."""
    files = [{**file, "path": Path(file["path"]).name} for file in entry["files"]]
    return {**entry, "path": Path(entry["path"]).name, "files": files}


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
