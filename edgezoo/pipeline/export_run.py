"""The state of one export: staged files, and the child processes that make them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from edgezoo.calibration import sources
from edgezoo.calibration.observation import UNSTABLE
from edgezoo.core.artifact import Artifact, InputContract, WeightsRecord
from edgezoo.core.calibration_metadata import Stability
from edgezoo.core.errors import EdgeZooError, counted
from edgezoo.core.protocols import ExportJob, Intermediate
from edgezoo.core.ran_on import RanOn
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import Grid
from edgezoo.core.versions import artifact_versions
from edgezoo.images.folders import named
from edgezoo.networks import user_models
from edgezoo.pipeline import children
from edgezoo.pipeline.attempts import Attempts, refusal_of
from edgezoo.pipeline.plan import Plan
from edgezoo.system import process, sandbox

Progress = Callable[[str], None]
P = ParamSpec("P")
T = TypeVar("T")


class Work:
    """Staged files and what the steps reported."""

    def __init__(self, plan: Plan, stage: Path, progress: Progress, debug: bool) -> None:
        self.plan, self.stage, self.progress = plan, stage, progress
        # Temporary files of libraries that are killed are removed with the stage.
        self._launcher = sandbox.workshop(
            _strangers(plan), stage, debug=debug, trust=plan.request.trust
        )
        self.calibration: Path | None = None
        self.means: Path | None = None
        self.verification: Path | None = None
        self.labelled: children.LabelledPixels | None = None
        self.paths: dict[str, tuple[Path, ...]] = {}
        self.ran_on: dict[Path, RanOn] = {}
        self.attempts = Attempts(plan, self._launcher)
        self.usage = self.attempts.usage
        self.unreadable = 0
        self.warnings: list[str] = [
            *plan.notes,
            *([plan.weights.note] if plan.weights.note else []),
        ]
        self.contract = _contract(plan)
        self.recipe = Recipe(
            plan.request.effort, plan.request.granularity, qdq=plan.request.qdq or "asymmetric"
        )

    def choose_images(self) -> None:
        """Decode calibration and verification images once, for all steps."""
        request = self.plan.request
        if not (self.plan.needs_calibration or self.plan.needs_means or request.verify):
            return  # making or decoding them costs a CPU second
        self.progress("Choosing images")
        counts = self.plan.chosen_images, request.verify_count
        resize = self.plan.spec.resize
        choice = children.Choice(
            request.calibration, self.plan.frame, *counts, request.seed, resize
        )
        names = "calibration" if self.plan.needs_calibration else "means"
        files = (names, "verification" if request.verify else None)
        if request.calibration == "synthetic":  # nobody's files
            chosen = children.store_images(self.stage, choice, files)
        else:
            chosen = self._call(children.store_images, self.stage, choice, files)
        self.unreadable, self.verification = chosen.unreadable, chosen.held_out
        if self.plan.needs_calibration:
            self.calibration = chosen.path
            self._warn_about(chosen)
        if self.plan.needs_calibration or self.plan.needs_means:
            self.means = chosen.path
        if request.images is not None:
            self.labelled = self._call(
                children.decode_labelled,
                self.stage,
                self.contract,
                request.images,
                request.ground_truth,
                self.calibration,
                resize,
            )
            self.warnings += self.labelled.remarks

    def _warn_about(self, chosen: children.ChosenImages) -> None:
        if chosen.source == "synthetic":
            self.warnings.append(
                "Calibrated on synthetic images. Real images keep more accuracy: "
                "--calibration DIR with 100 to 500 images like those the model will see."
            )
        if len(chosen.names) < sources.FEW_IMAGES:
            self.warnings.append(
                f"Only {counted(len(chosen.names), 'calibration image')}: with fewer than "
                f"{sources.FEW_IMAGES} the ranges depend on which ones."
            )
        if chosen.unreadable:
            # Few enough to name all of them: at most a tenth of the images that were wanted.
            names = named(chosen.unreadable_files, all_of_them=True)
            self.warnings.append(f"{chosen.unreadable} unreadable images were skipped: {names}.")
        if chosen.left_out:
            self.warnings.append(f"Left out of the calibration: {named(chosen.left_out)}.")
        if chosen.repeated:
            self.warnings.append(
                f"{counted(chosen.repeated, 'calibration image')} repeat others byte for byte."
            )
        if chosen.note and self.plan.request.verify:
            self.warnings.append(f"Too few images to hold some out: {chosen.note}.")

    def make_source(self) -> None:
        """Build, trace, freeze and convert in the one process that loads TensorFlow."""
        self.progress("Building, tracing and freezing the network")
        plan = self.plan
        stored = (self.verification, self.labelled and self.labelled.pixels)
        asked = tuple(children.Question(pixels, answers_to(pixels)) for pixels in stored if pixels)
        wanted = tuple(sorted(self._intermediates()))
        made = self._call(
            children.make_source, self.stage, plan.network, self.contract, wanted, asked
        )
        record = self.contract.weights
        if plan.weights.source == "random":
            record = replace(record, sha256=made.weights_sha256)
        self.contract = replace(self.contract, output_shape=made.output_shape, weights=record)
        self._lose_from(made.onnx_refusal, ("float.onnx", "fp16.onnx", "prepared.onnx"))

    def _intermediates(self) -> set[Intermediate]:
        """The float intermediates that the jobs start from."""
        intermediates: set[Intermediate] = set()
        for exporter, job in self.attempts.jobs:
            intermediates.update(exporter.intermediates(self.contract, job))
        return intermediates

    def _lose_from(self, refusal: children.Refusal | None, names: Collection[str]) -> None:
        """Go on without the files that start from some intermediates."""
        lost = [
            job
            for exporter, job in self.attempts.jobs
            if not set(names).isdisjoint(exporter.intermediates(self.contract, job))
        ]
        if refusal is not None:
            self.attempts.lose(lost, refusal)

    def correct_fp16(self) -> None:
        """Let biases compensate for weights in float16, where a job has such."""
        wanted = tuple(sorted(x for x in self._intermediates() if x.startswith("fp16.")))
        if wanted and self.means is not None:
            self.progress("Choosing float16 values")
            job = process.job(children.correct_fp16, self.stage, self.contract, self.means, wanted)
            answer = self.attempts.many([job], ["fp16"], "correct")["fp16"]
            if isinstance(answer, EdgeZooError):
                self._lose_from(refusal_of(answer), wanted)
            else:
                self._lose_from(answer, ("fp16.onnx",))

    def prepare(self) -> None:
        """Make the network ready for 8 bits, once for each way in which weights are rounded."""
        wanted = sorted(x for x in self._intermediates() if x.startswith("prepared."))
        if not wanted:
            return
        self.progress("Observing ranges, choosing roundings, correcting biases")
        images = self._calibration_images()
        job = process.job(children.observe_network, self.stage, self.contract, images)
        seen = self.attempts.many([job], ["network"], "observe")["network"]
        if isinstance(seen, EdgeZooError):
            self._lose_from(refusal_of(seen), wanted)
            return
        self._judge(seen)
        work = children.prepare_intermediate
        jobs = [
            process.job(work, self.stage, self.contract, images, name, self._recipe(name))
            for name in wanted
        ]
        errors = self.attempts.many(jobs, wanted, "prepare")
        for name in wanted:
            error = errors[name]
            if error is not None:
                self._lose_from(refusal_of(error), (name,))

    def _judge(self, stability: Stability | None) -> None:
        """Warn where the ranges depend on which images were taken."""
        if stability is None:
            self.warnings.append(
                "With one calibration image the stability of the ranges is unknown."
            )
        elif stability.score < UNSTABLE:
            self.warnings.append(
                f"The calibration images are too few or too different: the ranges of two halves "
                f"of them differ by {1 - stability.score:.0%} at {stability.worst_tensor}."
            )

    def _recipe(self, intermediate: Intermediate, float_layers: tuple[str, ...] = ()) -> Recipe:
        """The request's recipe on the grid that the quantizers of a intermediate round to."""
        grid: Grid = "pair-safe" if intermediate == "prepared.onnx" else "full"
        return replace(self.recipe, grid=grid, float_layers=float_layers)

    def remake(self, name: str, float_layers: tuple[str, ...]) -> None:
        """Make the int8 file of one format again, with some layers in float."""
        exporter, job = next(
            (e, j) for e, j in self.plan.jobs if j.format == name and j.precision == "int8"
        )
        (intermediate,) = exporter.intermediates(self.contract, job)
        images, recipe = self._calibration_images(), self._recipe(intermediate, float_layers)
        self._call(
            children.prepare_intermediate, self.stage, self.contract, images, intermediate, recipe
        )
        entry = children.FileJob(job, self.plan.file_stem(job))
        self._call(children.export_files, self.stage, self.contract, (entry,), images)

    def load(self, paths: Iterable[Path]) -> tuple[Artifact, ...]:
        """Read the contracts of files that were written."""
        return self._launcher.call(children.load_files, tuple(paths)).value

    def ranking(self) -> tuple[str, ...]:
        """Layers, those that lose most in 8 bits first."""
        images, recipe = self._calibration_images(), self._recipe("prepared.tflite")
        return self._call(children.rank_layers, self.stage, self.contract, images, recipe)

    def _calibration_images(self) -> Path:
        assert self.calibration is not None
        return self.calibration

    def export_files(self) -> None:
        """Each format in a process of its own, as many at once as there are cores."""
        groups: dict[str, list[ExportJob]] = defaultdict(list)
        for _, job in self.attempts.jobs:
            groups[job.format].append(job)
        self.progress(f"Writing {', '.join(groups)}")

        def start(jobs: Sequence[ExportJob]) -> process.Job[tuple[children.Outcome, ...]]:
            entries = tuple(children.FileJob(job, self.plan.file_stem(job)) for job in jobs)
            return process.job(
                children.attempt_exports, self.stage, self.contract, entries, self.calibration
            )

        for name, made in self.attempts.each(groups, start, "export").items():
            self.paths[name] = tuple(outcome.path for outcome in made.values() if outcome.path)
            for job, outcome in made.items():
                if outcome.refusal is not None:
                    self.attempts.lose([job], outcome.refusal)

    def answers(self, paths: Mapping[str, Sequence[Path]], pixels: Path) -> dict[Path, Path]:
        """Run files on stored images, each format in an own process; where the answers are.

        A file that its runtime does not run is taken back. What computed the others is kept in
        `ran_on`.
        """

        def place(path: Path) -> Path:
            return path.with_name(f"{path.name}.{pixels.stem}.npy")

        def start(group: Sequence[Path]) -> process.Job[tuple[children.Outcome, ...]]:
            places = tuple(map(place, group))
            return process.job(children.attempt_predictions, tuple(group), pixels, places)

        outputs: dict[Path, Path] = {}
        for name, made in self.attempts.each(paths, start, "verify").items():
            for path, outcome in made.items():
                if outcome.path is not None:
                    outputs[path] = outcome.path
                    if outcome.ran_on is not None:
                        self.ran_on[path] = outcome.ran_on
                elif outcome.refusal is not None:
                    self._take_back(name, path, outcome.refusal)
        return outputs

    def _take_back(self, name: str, path: Path, refusal: children.Refusal) -> None:
        """Remove a file that was written."""
        self.paths[name] = tuple(other for other in self.paths[name] if other != path)
        for artifact in self.load([path]):
            for file in artifact.files:
                file.unlink(missing_ok=True)
        lost = [
            job
            for exporter, job in self.attempts.jobs
            if self.plan.file_stem(job) + exporter.suffix == path.name
        ]
        self.attempts.lose(lost, refusal)

    def _call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        answer = self._launcher.call(function, *args, **kwargs)
        self.usage[function.__name__] = answer.usage
        return answer.value


def _strangers(plan: Plan) -> tuple[Path, ...]:
    """Return the files of others that an export opens."""
    own = plan.network.user_model
    weights = plan.weights.path if plan.weights.source == "file" else None
    return tuple(path for path in (own.path if own else None, weights) if path is not None)


def answers_to(pixels: Path) -> Path:
    """Where the Keras network's answers to stored images are."""
    return pixels.with_name(f"keras.{pixels.name}")


def _contract(plan: Plan) -> InputContract:
    weights, trained = plan.weights, plan.weights.source != "random"
    chosen = plan.network.arguments
    seed = None if trained else plan.request.seed
    licence = plan.spec.weights_licence if weights.source == "imagenet" else None
    file = weights.sha256 or "", weights.file
    return InputContract(
        model=plan.spec.name,
        precision="float32",
        preprocessing=plan.spec.preprocessing,
        weights=WeightsRecord(weights.source, *file, seed, trained, licence, weights.note),
        output_kind=chosen.output_kind,
        input_kind=plan.jobs[0][1].input_kind,
        **user_models.contract_facts(plan.network.user_model, plan.spec.resize),
        labels=plan.network.labels,
        versions=artifact_versions(),
        **{**asdict(chosen), "input_size": plan.size, "classes": chosen.classes or 0},
    )
