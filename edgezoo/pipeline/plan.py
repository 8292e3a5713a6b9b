"""A request is checked and completed before any heavy work.

Everything that a user can get wrong is said here, within a second.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

from edgezoo.calibration.fp16 import PICTURES
from edgezoo.calibration.sources import check_source
from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.labels import read_labels
from edgezoo.core.protocols import Exporter, ExportJob
from edgezoo.core.spec import (
    IMAGENET_CLASSES,
    BuildArguments,
    InputKind,
    Layout,
    ModelSpec,
    Precision,
)
from edgezoo.formats.keras_files.reading import is_user_model
from edgezoo.images import imagenet_classes
from edgezoo.images.labelled import image_files
from edgezoo.networks import arguments, building, user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import LocatedWeights, locate
from edgezoo.pipeline.request import ExportRequest, check_words, completed
from edgezoo.system import process


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every default filled in and every refusal ruled out."""

    request: ExportRequest
    network: BuildJob
    jobs: tuple[tuple[Exporter, ExportJob], ...]
    skipped: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The facts about the model."""
        return self.network.spec

    @property
    def weights(self) -> LocatedWeights:
        """Of the network."""
        return self.network.weights

    @property
    def size(self) -> int:
        """Height and width of the input in pixels."""
        return self.network.size

    @property
    def stem(self) -> str:
        """What all file names of this network start with."""
        chosen = self.network.arguments
        if self.network.own is not None:
            chosen = replace(chosen, classes=None)
        parts = [self.spec.name, *arguments.words(chosen), str(self.size)]
        if self.request.input_kind == "normalized":
            parts.append("normalized")
        if self.weights.source == "random":
            parts.append("untrained")
        return "_".join(parts)

    def file_stem(self, job: ExportJob) -> str:
        """Name of one file without its ending; the border type where it is not the default."""
        border = f"_{job.io}" if job.io else ""
        border += "" if job.layout == "NHWC" else f"_{job.layout.lower()}"
        coarse = "_per-tensor" if job.granularity == "per-tensor" else ""
        resizes = "_resizes" if job.embed_resize else ""
        return f"{self.stem}_{job.precision}{coarse}{border}{resizes}"

    @property
    def chosen_images(self) -> int:
        """Images that shape a file, or at least one to see that there are such."""
        if self.needs_calibration:
            return self.request.calibration_count
        return min(PICTURES, self.request.calibration_count) if self.needs_means else 1

    @property
    def needs_means(self) -> bool:
        """Whether a file keeps the means of layers: those in float16 do."""
        return any(job.precision == "float16" for _, job in self.jobs)

    @property
    def needs_calibration(self) -> bool:
        """True where an int8 file is to be made."""
        return any(job.precision == "int8" for _, job in self.jobs)


def resolve(request: ExportRequest) -> Plan:
    """Check a request and find its weights.

    Raises:
        UsageError: an unknown name or illegal value.
        RefusedError: a combination that cannot be done.
        MissingError: packages that are not installed.
        DataError: weights that are not here and cannot be fetched.
    """
    own = _own(request)
    spec = own.spec if own else registry.model(request.model)
    request = completed(request)
    chosen = own.arguments if own else arguments.complete(spec, request.arguments)
    labels = own.labels if own else _labels(request, chosen)
    _check_features(request, chosen)
    check_words(request)
    jobs, skipped = _jobs(request, spec)
    for exporter in {exporter.name: exporter for exporter, _ in jobs}.values():
        registry.require_packages(
            exporter.packages, exporter.extra, f"Exporting to {exporter.name}"
        )
    if request.verify or any(job.precision != "float32" for _, job in jobs):
        check_source(request.calibration)
    _check_labelled(request)
    if own is not None:
        network = BuildJob(spec.name, chosen, own.weights, request.seed, own.own, labels)
        return Plan(request, _examined(network, request), jobs, skipped)
    if chosen.output_layer is not None:
        registry.require_packages(("keras", "tensorflow"), "export", "Building a model")
        fresh = BuildJob(spec.name, chosen, LocatedWeights("random", None, None))
        process.call(building.check_output_layer, fresh)
    weights = locate(spec, chosen, request.weights)
    network = BuildJob(spec.name, chosen, weights, request.seed, labels=labels)
    return Plan(request, network, jobs, skipped)


def _check_labelled(request: ExportRequest) -> None:
    """See that the images of the accuracy guard and their list are there, without reading them.

    Raises:
        DataError: they are not.
    """
    if request.images is not None and not image_files(request.images):
        raise DataError(
            f"{request.images} holds no images.", "Endings such as .jpg and .png count."
        )
    if request.ground_truth is not None and not request.ground_truth.is_file():
        raise DataError(
            f"There is no ground-truth file {request.ground_truth}.", "Give --ground-truth FILE."
        )


def _own(request: ExportRequest) -> user_models.Chosen | None:
    """The user's network, where a path stands for the model."""
    if is_user_model(request.model):
        return user_models.choose(
            request.model,
            request.arguments,
            weights=request.weights,
            preprocessing=request.preprocessing,
            labels=request.labels,
            trust=request.trust,
        )
    if request.preprocessing is not None:
        raise UsageError(
            f"The preprocessing of {request.model} is known.", "Leave --preprocessing out."
        )
    return None


def _labels(request: ExportRequest, chosen: BuildArguments) -> tuple[str, ...]:
    """Names of the classes of a model of the zoo."""
    if chosen.classes is None:
        return ()
    if request.labels is not None:
        names = read_labels(request.labels)
        user_models.check_labels(names, chosen.classes, request.labels)
        return names
    imagenet = tuple(name for _, name in imagenet_classes.classes())
    return imagenet if chosen.classes == len(imagenet) else ()


def _examined(network: BuildJob, request: ExportRequest) -> BuildJob:
    """A user's network, built once where only that tells what it gives."""
    chosen = network.arguments
    if chosen.classes is not None:
        return network
    registry.require_packages(("keras", "tensorflow"), "export", "Loading a network")
    shape = process.call(building.output_shape, network)
    if chosen.output_kind == "features":
        return network
    classes = shape[-1]
    user_models.check_labels(network.labels, classes, request.labels or request.model)
    return replace(network, arguments=replace(chosen, classes=classes))


def _check_features(request: ExportRequest, chosen: BuildArguments) -> None:
    """Refuse bounds on classes that a network without its top does not name."""
    if chosen.output_kind == "probabilities":
        return
    for option, value in (
        ("--min-agreement", request.min_agreement),
        ("--max-drop", request.max_drop_points),
        ("--labels", request.labels),
    ):
        if value is not None:
            raise UsageError(
                f"{option} speaks of classes, and without its last layer the network gives "
                "features.",
                f"Leave {option} out.",
            )


def _jobs(
    request: ExportRequest, spec: ModelSpec
) -> tuple[tuple[tuple[Exporter, ExportJob], ...], tuple[str, ...]]:
    """Every format with every precision, and what "all" leaves out, in words.

    A format that was named and refuses stops everything; "all" means all that can.
    """
    every = "all" in request.formats
    exporters = (
        list(registry.exporters().values())
        if every
        else [registry.exporter(name) for name in dict.fromkeys(request.formats)]
    )
    jobs, refused = [], []  # check_words has seen that the words below are known ones
    for exporter, precision in itertools.product(
        exporters, dict.fromkeys(request.precisions or ())
    ):
        checked: Precision = precision
        kind: InputKind = request.input_kind  # type: ignore[assignment]
        granularity = request.granularity if checked == "int8" else "per-channel"
        layout: Layout = request.input_layout.upper()  # type: ignore[assignment]
        job = ExportJob(
            exporter.name,
            checked,
            kind,
            request.io,
            granularity,
            request.seed,
            layout,
            request.embed_resize,
        )
        reason = exporter.refusal(spec, job)
        if reason:
            refused.append(
                f"{spec.name} cannot be exported to {exporter.name} {precision}: {reason}."
            )
        else:
            jobs.append((exporter, job))
    if refused and not (every and jobs):
        raise RefusedError(
            refused[0], "Choose another format or precision, or leave out what stands in the way."
        )
    return tuple(jobs), tuple(refused)


def estimate(plan: Plan) -> dict[str, Any]:
    """What would be made, about how large and in about how many CPU seconds.

    Sizes follow from the parameters; they are None where arguments change how many there are in a
    way that only building the network tells. The time is a fit to runs on one x86-64 machine, for
    the model with its top.
    """
    chosen = plan.network.arguments
    parameters = plan.spec.parameter_count(chosen.alpha)
    plain = BuildArguments(
        chosen.input_size,
        classes=IMAGENET_CLASSES,
        alpha=chosen.alpha,
        depth_multiplier=chosen.depth_multiplier and 1,
        dropout=chosen.dropout,
    )
    known = chosen == plain and plan.network.own is None
    files = [
        {
            "path": str(plan.request.output / f"{plan.file_stem(job)}{exporter.suffix}"),
            "format": exporter.name,
            "precision": job.precision,
            "bytes_about": plan.spec.bytes_about(job.precision, chosen.alpha) if known else None,
        }
        for exporter, job in plan.jobs
    ]
    layers, millions = plan.spec.depth, parameters / 1e6
    seconds = 10 + 0.06 * layers + 0.3 * millions + 1.5 * len(plan.jobs)
    if plan.needs_calibration:
        images = plan.request.calibration_count
        work = millions * (plan.size / plan.spec.default_input_size) ** 2
        seconds += 3 + images * (0.01 + 0.004 * work)
    return {
        "model": plan.spec.name,
        "alpha": chosen.alpha,
        "input_size": plan.size,
        "parameters": parameters if known else None,
        "weights": plan.weights.source,
        "artifacts": files,
        "cpu_seconds_about": round(seconds),
    }
