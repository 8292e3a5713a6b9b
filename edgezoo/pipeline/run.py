"""Runs a plan: source, files, verification, publication."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgezoo import artifact as artifacts
from edgezoo import process, registry
from edgezoo.artifact import Artifact, InputContract, WeightsRecord
from edgezoo.building import CLASSES
from edgezoo.calibration import sources
from edgezoo.calibration.recipe import Recipe
from edgezoo.contracts import Form
from edgezoo.errors import ThresholdError
from edgezoo.models import _imagenet
from edgezoo.pipeline import steps
from edgezoo.pipeline.plan import ExportRequest, Plan, resolve
from edgezoo.pipeline.staging import publish, staging
from edgezoo.verification import Comparison, compare

Progress = Callable[[str], None]


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
        work = _Work(plan, stage, progress, debug)
        work.choose_images()
        work.make_source()
        if plan.needs_calibration:
            work.prepare()
        work.export_files()
        comparisons = work.verify() if plan.request.verify else {}
        return work.publish(comparisons)


class _Work:
    """State of one run: the stage's files and what the steps reported."""

    def __init__(self, plan: Plan, stage: Path, progress: Progress, debug: bool) -> None:
        self.plan, self.stage, self.progress, self.debug = plan, stage, progress, debug
        self.calibration: sources.StoredImages | None = None
        self.verification: Path | None = None
        self.paths: dict[str, list[Path]] = {}
        self.usage: dict[str, dict[str, float]] = {}
        self.warnings: list[str] = [plan.weights.note] if plan.weights.note else []
        self.contract = _contract(plan)
        self.recipe = Recipe(plan.request.effort, plan.request.granularity)

    def choose_images(self) -> None:
        """Decode calibration and verification images once, for all steps."""
        request = self.plan.request
        self.progress("Choosing images")
        count = request.calibration_count if self.plan.needs_calibration else 1
        chosen, held_out = sources.choose(
            request.calibration, self.plan.size, count, request.verify_count, request.seed
        )
        if self.plan.needs_calibration:
            self.calibration = sources.store(chosen, self.plan.size, self.stage, "calibration")
            self._warn_about(chosen)
        if request.verify:
            self.verification = sources.store(
                held_out, self.plan.size, self.stage, "verification"
            ).path

    def _warn_about(self, chosen: sources.ImageSet) -> None:
        if chosen.source == "synthetic":
            self.warnings.append(
                "Calibrated on procedural pictures. Real samples keep more accuracy: "
                "--calibration DIR with 100 to 500 images like those the model will see."
            )
        elif len(chosen.names) < sources.FEW_IMAGES:
            self.warnings.append(
                f"Only {len(chosen.names)} calibration images: with fewer than "
                f"{sources.FEW_IMAGES} the ranges depend on which ones."
            )
        if chosen.unreadable:
            self.warnings.append(f"{chosen.unreadable} unreadable images were skipped.")
        if chosen.note:
            self.warnings.append(f"Too few images to hold some out: {chosen.note}.")

    def make_source(self) -> None:
        """Build, trace, freeze and convert in the one process that loads TensorFlow."""
        self.progress("Building, tracing and freezing the network")
        plan = self.plan
        facts = self._call(
            "make_source",
            directory=str(self.stage),
            **_network(plan),
            contract=self.contract.to_json(),
            forms=sorted(self._forms()),
            verification=str(self.verification) if self.verification else None,
        )
        if plan.weights.source == "random":
            record = WeightsRecord(
                "random", facts["weights_sha256"], seed=plan.request.seed, trained=False
            )
            self.contract = self.contract.for_file(weights=record)

    def _forms(self) -> set[Form]:
        """The float forms that the jobs start from."""
        forms: set[Form] = set()
        for exporter, job in self.plan.jobs:
            forms.update(exporter.forms(self.contract, job))
        return forms

    def prepare(self) -> None:
        """Make the network ready for 8 bits, once for each way in which weights are rounded."""
        assert self.calibration is not None
        self.progress("Observing ranges and correcting biases")
        common = {
            "directory": str(self.stage),
            "contract": self.contract.to_json(),
            "calibration": str(self.calibration.path),
        }
        self._call("observe_network", **common)
        forms = sorted(form for form in self._forms() if form.startswith("prepared."))
        calls = [
            (_step("prepare_form"), {**common, "form": form, "recipe": asdict(self._recipe(form))})
            for form in forms
        ]
        for _ in self._call_many(calls, [*forms], "prepare"):
            pass

    def _recipe(self, form: Form) -> Recipe:
        """The request's recipe on the grid that the quantizers of a form round to."""
        return self.recipe.on("pair-safe" if form == "prepared.onnx" else "full")

    def export_files(self) -> None:
        """Each format in a process of its own, as many at once as there are cores."""
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for _, job in self.plan.jobs:
            entry = {"job": asdict(job), "stem": self.plan.file_stem(job)}
            groups[job.format].append(entry)
        self.progress(f"Writing {', '.join(groups)}")
        payload = {
            "directory": str(self.stage),
            "contract": self.contract.to_json(),
            "calibration": str(self.calibration.path) if self.calibration else None,
        }
        calls = [(_step("export_files"), {**payload, "jobs": jobs}) for jobs in groups.values()]
        for name, facts in self._call_many(calls, list(groups), "export"):
            self.paths[name] = [Path(path) for path in facts["paths"]]

    def verify(self) -> dict[Path, Comparison]:
        """Open every file in its own runtime, and compare with the Keras network."""
        import numpy as np

        self.progress("Verifying every file in its runtime")
        reference = np.load(self.stage / steps.REFERENCE)
        outputs = {
            path: path.with_name(f"{path.name}.npy") for paths in self.paths.values()
            for path in paths
        }  # fmt: skip
        calls = [
            (
                _step("predict_files"),
                {
                    "paths": [str(p) for p in paths],
                    "pixels": str(self.verification),
                    "outputs": [str(outputs[p]) for p in paths],
                },
            )
            for paths in self.paths.values()
        ]
        for _ in self._call_many(calls, list(self.paths), "verify"):
            pass
        found = {}
        for path, output in outputs.items():
            precision = registry.load_artifact(path).required_contract().precision
            bound = self.plan.request.min_agreement
            found[path] = compare(reference, np.load(output), precision, bound)
        return found

    def publish(self, comparisons: dict[Path, Comparison]) -> ExportResult:
        """Move the files to their place, the manifest last."""
        request = self.plan.request
        entries, failures = [], []
        for path in (path for paths in self.paths.values() for path in paths):
            staged = registry.load_artifact(path)
            placed = publish(list(staged.files), request.output)
            final = Artifact(placed[0], staged.format, tuple(placed), staged.contract)
            entry = final.to_json()
            entry["contract"] = _without_labels(staged.required_contract())
            comparison = comparisons.get(path)
            entry["verification"] = _evidence(comparison, self.plan)
            if comparison is not None:
                failures += [f"{placed[0].name}: {text}" for text in comparison.failures]
                self.warnings += [f"{placed[0].name}: {text}" for text in comparison.warnings]
            entries.append(entry)
        manifest = request.output / f"{self.plan.stem}.manifest.json"
        artifacts.merge_manifest(manifest, [_relative(entry) for entry in entries], self._facts())
        return ExportResult(
            tuple(entries), manifest, tuple(self.warnings), tuple(failures), self.usage
        )

    def _facts(self) -> dict[str, Any]:
        """What the manifest says of the whole run."""
        return {
            "model": self.plan.spec.name,
            "trained": self.contract.weights.trained,
            "weights": asdict(self.contract.weights),
            "request": _portable(self.plan.request),
            "versions": steps.versions(),
            "usage": self.usage,
        }

    def _call(self, function: str, **payload: Any) -> dict[str, Any]:
        facts = process.call(_step(function), payload, self.debug)
        self.usage[function] = facts.pop("_usage")
        return facts

    def _call_many(
        self, calls: list[tuple[str, dict[str, Any]]], names: list[str], prefix: str
    ) -> list[tuple[str, dict[str, Any]]]:
        answers = []
        for index, facts in process.call_many(calls, min(2, os.cpu_count() or 1), self.debug):
            self.usage[f"{prefix}_{names[index]}"] = facts.pop("_usage")
            answers.append((names[index], facts))
        return sorted(answers, key=lambda answer: names.index(answer[0]))


def _step(function: str) -> str:
    return f"edgezoo.pipeline.steps:{function}"


def _network(plan: Plan) -> dict[str, Any]:
    """The fields that name a network, for the steps that build it."""
    weights = asdict(plan.weights)
    path = plan.weights.path
    return {
        "model": plan.spec.name,
        "alpha": plan.alpha,
        "depth_multiplier": plan.depth_multiplier,
        "input_size": plan.size,
        "weights": {**weights, "path": str(path) if path else None},
        "seed": plan.request.seed,
    }


def _contract(plan: Plan) -> InputContract:
    weights = plan.weights
    kind = plan.jobs[0][1].input_kind
    return InputContract(
        model=plan.spec.name,
        precision="float32",
        input_size=plan.size,
        preprocessing=plan.spec.preprocessing,
        weights=WeightsRecord(
            weights.source,
            weights.sha256 or "",
            weights.path.name if weights.path else None,
            plan.request.seed if weights.source == "random" else None,
            weights.source != "random",
            plan.spec.weights_licence if weights.source == "imagenet" else None,
            weights.note,
        ),
        classes=CLASSES,
        alpha=plan.alpha,
        depth_multiplier=plan.depth_multiplier,
        input_kind=kind,
        labels=tuple(name for _, name in _imagenet.classes()),
        versions=steps.versions(),
    )


def _portable(request: ExportRequest) -> dict[str, Any]:
    """The request for the manifest, without paths of this machine."""
    facts = asdict(request)
    del facts["output"]
    for name in ("calibration", "weights"):
        facts[name] = Path(facts[name]).name
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
