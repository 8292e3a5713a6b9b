"""The state of one export: staged files, and the child processes that make them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from edgezoo.calibration import fingerprints, sources
from edgezoo.calibration.observation import UNSTABLE
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.calibration_metadata import Stability
from edgezoo.core.errors import DataError, RefusedError, counted
from edgezoo.core.protocols import Intermediate
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import Grid
from edgezoo.core.versions import artifact_versions
from edgezoo.images.labelled import find_labelled
from edgezoo.images.preprocessing import load_many
from edgezoo.networks import user_models
from edgezoo.pipeline import children
from edgezoo.pipeline.plan import Plan
from edgezoo.system import process
from edgezoo.system.staging import new_array

Progress = Callable[[str], None]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelledPixels:
    """Decoded images with the index of their class."""

    pixels: Path
    classes: tuple[int, ...]


class Work:
    """Staged files and what the steps reported."""

    def __init__(self, plan: Plan, stage: Path, progress: Progress, debug: bool) -> None:
        self.plan, self.stage, self.progress = plan, stage, progress
        # Temporary files of libraries that are killed are removed with the stage.
        self._launcher = process.Launcher(debug, scratch=stage.resolve())
        self.calibration: sources.StoredImages | None = None
        self.means: Path | None = None
        self.verification: Path | None = None
        self.labelled: LabelledPixels | None = None
        self.paths: dict[str, tuple[Path, ...]] = {}
        self.usage: dict[str, process.Usage] = {}
        self.unreadable = 0
        self.warnings: list[str] = [
            *plan.notes,
            *([plan.weights.note] if plan.weights.note else []),
        ]
        self.contract = _contract(plan)
        self.recipe = Recipe(plan.request.effort, plan.request.granularity)

    def choose_images(self) -> None:
        """Decode calibration and verification images once, for all steps."""
        request = self.plan.request
        if not (self.plan.needs_calibration or self.plan.needs_means or request.verify):
            return  # making or decoding them costs a CPU second
        self.progress("Choosing images")
        size, resize = self.plan.frame, self.plan.spec.resize
        counts = self.plan.chosen_images, request.verify_count
        chosen, held_out = sources.choose(request.calibration, size, *counts, request.seed, resize)
        self.unreadable = chosen.unreadable
        if self.plan.needs_calibration:
            self.calibration = sources.store(chosen, size, self.stage, "calibration")
            self._warn_about(chosen)
            self.means = self.calibration.path
        elif self.plan.needs_means:
            self.means = sources.store(chosen, size, self.stage, "means").path
        if request.verify:
            self.verification = sources.store(held_out, size, self.stage, "verification").path
        if request.images is not None:
            self.labelled = self._decode_labelled(request.images)

    def _warn_about(self, chosen: sources.ImageSet) -> None:
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
            self.warnings.append(f"{chosen.unreadable} unreadable images were skipped.")
        if chosen.note and self.plan.request.verify:
            self.warnings.append(f"Too few images to hold some out: {chosen.note}.")

    def _decode_labelled(self, folder: Path) -> LabelledPixels:
        """The images that the accuracy guard measures on; none is a calibration image."""
        size = self.plan.frame
        found = find_labelled(folder, self.contract, self.plan.request.ground_truth)
        if self.calibration is not None:
            shared = fingerprints.overlapping(
                self.calibration.metadata, found.paths, size, self.plan.spec.resize
            )
            if shared:
                raise RefusedError(
                    f"{len(shared)} of {len(found.paths)} images in {folder} are calibration "
                    "images too, and prove nothing.",
                    "Give --images other images than --calibration.",
                )
        path = self.stage / "labelled.npy"
        kept: list[int] = []
        pixels = new_array(path, np.uint8, (len(found.paths), *size.shape))
        decoded_images = load_many(found.paths, size, self.plan.spec.resize)
        for label, (_, decoded) in zip(found.labels, decoded_images, strict=True):
            if decoded is not None:
                pixels[len(kept)] = decoded
                kept.append(label)
        if len(kept) < len(found.paths):
            raise DataError(
                f"{len(found.paths) - len(kept)} of {len(found.paths)} files in {folder} are not "
                "readable images.",
                "Take them out of the folder.",
            )
        return LabelledPixels(path, tuple(kept))

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

    def _intermediates(self) -> set[Intermediate]:
        """The float intermediates that the jobs start from."""
        intermediates: set[Intermediate] = set()
        for exporter, job in self.plan.jobs:
            intermediates.update(exporter.intermediates(self.contract, job))
        return intermediates

    def correct_fp16(self) -> None:
        """Let biases compensate for weights in float16, where a job has such."""
        wanted = tuple(sorted(x for x in self._intermediates() if x.startswith("fp16.")))
        if wanted and self.means is not None:
            self.progress("Choosing float16 values")
            self._call(children.correct_fp16, self.stage, self.contract, self.means, wanted)

    def prepare(self) -> None:
        """Make the network ready for 8 bits, once for each way in which weights are rounded."""
        self.progress("Observing ranges, choosing roundings, correcting biases")
        images = self._calibration_images()
        self._judge(self._call(children.observe_network, self.stage, self.contract, images))
        wanted = sorted(x for x in self._intermediates() if x.startswith("prepared."))
        work = children.prepare_intermediate
        jobs = [
            process.job(work, self.stage, self.contract, images, name, self._recipe(name))
            for name in wanted
        ]
        self._call_many(jobs, [*wanted], "prepare")

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

    def ranking(self) -> tuple[str, ...]:
        """Layers, those that lose most in 8 bits first."""
        images, recipe = self._calibration_images(), self._recipe("prepared.tflite")
        return self._call(children.rank_layers, self.stage, self.contract, images, recipe)

    def _calibration_images(self) -> Path:
        assert self.calibration is not None
        return self.calibration.path

    def export_files(self) -> None:
        """Each format in a process of its own, as many at once as there are cores."""
        groups: dict[str, list[children.FileJob]] = defaultdict(list)
        for _, job in self.plan.jobs:
            groups[job.format].append(children.FileJob(job, self.plan.file_stem(job)))
        self.progress(f"Writing {', '.join(groups)}")
        images = self.calibration.path if self.calibration else None
        jobs = [
            process.job(children.export_files, self.stage, self.contract, tuple(group), images)
            for group in groups.values()
        ]
        self.paths |= self._call_many(jobs, list(groups), "export")

    def answers(self, paths: Mapping[str, Sequence[Path]], pixels: Path) -> dict[Path, Path]:
        """Run files on stored images, each format in an own process; where the answers are."""
        outputs: dict[Path, Path] = {}
        jobs = []
        for group in paths.values():
            places = {path: path.with_name(f"{path.name}.{pixels.stem}.npy") for path in group}
            answers = tuple(places.values())
            jobs.append(process.job(children.predict_files, tuple(places), pixels, answers))
            outputs |= places
        self._call_many(jobs, list(paths), "verify")
        return outputs

    def _call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        answer = self._launcher.call(function, *args, **kwargs)
        self.usage[function.__name__] = answer.usage
        return answer.value

    def _call_many(
        self, jobs: Sequence[process.Job[T]], names: list[str], prefix: str
    ) -> dict[str, T]:
        answers: dict[str, T] = {}
        for index, answer in self._launcher.run_many(jobs, min(2, os.cpu_count() or 1)):
            self.usage[f"{prefix}_{names[index]}"] = answer.usage
            answers[names[index]] = answer.value
        return {name: answers[name] for name in names}


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
