"""Checks and completes a request before any heavy work.

Every mistake that a user can make is reported here, within a second.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from edgezoo.calibration.fp16 import IMAGES
from edgezoo.calibration.sources import check_source
from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.input_options import InputOptions
from edgezoo.core.labels import read_labels
from edgezoo.core.protocols import Exporter, ExportJob
from edgezoo.core.spec import (
    IMAGENET_CLASSES,
    BuildArguments,
    Frame,
    InferencePrecision,
    InputKind,
    Layout,
    ModelSpec,
    Precision,
)
from edgezoo.exporters._unsupported import refuse_unsupported
from edgezoo.formats.keras_files.reading import is_user_model, read
from edgezoo.images import imagenet_classes
from edgezoo.images.finding import image_files
from edgezoo.networks import arguments, building, user_heads, user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import LocatedWeights, locate
from edgezoo.pipeline.request import ExportRequest, check_words, completed
from edgezoo.system import process, sandbox
from edgezoo.system.scratch import scratch


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every default filled in and every refusal ruled out."""

    request: ExportRequest
    network: BuildJob
    jobs: tuple[tuple[Exporter, ExportJob], ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
        """Height of the input in pixels, and its width where it is a square."""
        return self.network.size

    @property
    def stem(self) -> str:
        """The common start of the names of this network's files."""
        chosen = self.network.arguments
        if self.network.user_model is not None:
            chosen = replace(chosen, classes=None)
        parts = [self.spec.name, *arguments.words(chosen), self.frame.text]
        if self.request.input_kind == "normalized":
            parts.append("normalized")
        if self.weights.source == "random":
            parts.append("untrained")
        return "_".join(parts)

    @property
    def frame(self) -> Frame:
        """Height, width and channels of the input."""
        return self.network.frame

    def file_stem(self, job: ExportJob) -> str:
        """Name of one file without its suffix, with each choice that is not the default."""
        io = f"_{job.io}" if job.io else ""
        layout = "" if job.layout == "NHWC" else f"_{job.layout.lower()}"
        granularity = "_per-tensor" if job.granularity == "per-tensor" else ""
        qdq = "_symmetric" if job.qdq == "symmetric" else ""
        resizes = "_resizes" if job.embed_resize else ""
        asked = f"_{job.inference_precision}" if job.inference_precision else ""
        return f"{self.stem}_{job.precision}{granularity}{qdq}{io}{layout}{resizes}{asked}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of choices in this export, as sentences."""
        found = [exporter.remark(job) for exporter, job in self.jobs]
        return tuple(dict.fromkeys(remark for remark in found if remark))

    @property
    def chosen_images(self) -> int:
        """How many images shape a file; at least one, to check that there are images."""
        if self.needs_calibration:
            return self.request.calibration_count
        return min(IMAGES, self.request.calibration_count) if self.needs_means else 1

    @property
    def needs_means(self) -> bool:
        """True where a file keeps the means of layers, as float16 files do."""
        return any(job.precision == "float16" for _, job in self.jobs)

    @property
    def needs_calibration(self) -> bool:
        """True where an int8 file is made."""
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
    _check_resize(request, spec, chosen)
    for exporter in {exporter.name: exporter for exporter, _ in jobs}.values():
        registry.require_packages(
            exporter.packages, exporter.extra, f"Exporting to {exporter.name}"
        )
    if request.verify or any(job.precision != "float32" for _, job in jobs):
        check_source(request.calibration)
    _check_labelled(request)
    if own is not None:
        network = BuildJob(spec.name, chosen, own.weights, request.seed, own.user_model, labels)
        network = _examined(network, request)
        return Plan(request, network, jobs, skipped, (*own.notes, *_of_head(network)))
    if chosen.output_layer is not None:
        registry.require_packages(("keras", "tensorflow"), "export", "Building a model")
        fresh = BuildJob(spec.name, chosen, LocatedWeights("random", None, None))
        process.call(building.check_output_layer, fresh)
    weights = locate(spec, chosen, request.weights)
    network = BuildJob(spec.name, chosen, weights, request.seed, labels=labels)
    return Plan(request, network, jobs, skipped)


def _check_labelled(request: ExportRequest) -> None:
    """Check that the images of the accuracy guard and their list exist, without reading them."""
    if request.images is not None and not image_files(request.images):
        raise DataError(
            f"{request.images} contains no images.", "Images end in .jpg, .png and so on."
        )
    if request.ground_truth is not None and not request.ground_truth.is_file():
        raise DataError(
            f"There is no ground-truth file {request.ground_truth}.", "Give --ground-truth FILE."
        )


def _check_resize(request: ExportRequest, spec: ModelSpec, chosen: BuildArguments) -> None:
    """Refuse a resize in the file that is not the crop of a square out of a colour image."""
    if not request.embed_resize:
        return
    what = None
    if spec.resize.mode != "crop":
        what = f"resizes by {spec.resize.mode}"
    elif chosen.input_width is not None or spec.channels != 3:
        what = "takes grey images" if spec.channels != 3 else "takes rectangles"
    if what:
        raise RefusedError(
            f"--embed-resize makes files that cut a square out of colour images, and {spec.name} "
            f"{what}.",
            "Leave --embed-resize out, or give --resize crop.",
        )


def _own(request: ExportRequest) -> user_models.Chosen | None:
    """The user model, where the model is a path."""
    if is_user_model(request.model):
        chosen = user_models.choose(
            request.model,
            request.arguments,
            request.stated,
            weights=request.weights,
            trust=request.trust,
        )
        config = read(chosen.user_model.path).config
        if config is not None:
            refuse_unsupported(chosen.user_model.path.name, config)
        return chosen
    require_known(request.model, request.stated)
    return None


def require_known(model: str, stated: InputOptions) -> None:
    """Refuse options that describe a user's network for a model of the zoo.

    Raises:
        UsageError: one of them is given.
    """
    for option in stated.given():
        if option != "--labels":
            what = {"--resize": "resize", "--crop-fraction": "resize", "--head": "output"}
            raise UsageError(
                f"The {what.get(option, 'preprocessing')} of {model} is known.",
                f"Leave {option} out.",
            )


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
    """A user model with its number of classes, built once where only that shows it."""
    chosen, model = network.arguments, network.user_model
    if chosen.classes is not None or model is None:
        return network
    registry.require_packages(("keras", "tensorflow"), "export", "Loading a network")
    with scratch() as folder:
        start = sandbox.workshop([Path(request.model)], folder, trust=request.trust)
        if chosen.output_kind == "features":
            start.call(building.output_shape, network)
            return network
        found = start.call(building.classes_of, network).value
    user_models.check_labels(network.labels, found.count, request.labels or request.model)
    finished = replace(model, head=found.head)
    complete = replace(chosen, classes=found.count)
    return replace(network, arguments=complete, user_model=finished)


def _of_head(network: BuildJob) -> tuple[str, ...]:
    """What to say about an output that becomes probabilities."""
    model = network.user_model
    note = user_heads.note(model.head, model.path.name) if model else None
    return (note,) if note else ()


def _check_features(request: ExportRequest, chosen: BuildArguments) -> None:
    """Refuse bounds on classes for a network that returns features."""
    if chosen.output_kind == "probabilities":
        return
    for option, value in (
        ("--min-agreement", request.min_agreement),
        ("--max-drop", request.max_drop_points),
        ("--labels", request.labels),
    ):
        if value is not None:
            raise UsageError(
                f"{option} needs classes, and without its last layer the network returns features.",
                f"Leave {option} out.",
            )


def _jobs(
    request: ExportRequest, spec: ModelSpec
) -> tuple[tuple[tuple[Exporter, ExportJob], ...], tuple[str, ...]]:
    """Every format with every precision, and a sentence for each that "all" leaves out.

    A refusal of a named format stops the export; "all" means all formats that do not refuse.
    """
    every = "all" in request.formats
    names = registry.exporters() if every else dict.fromkeys(request.formats)
    exporters = [registry.exporter(name) for name in names]
    # check_words has checked the words below.
    precisions: dict[Precision, None] = dict.fromkeys(request.precisions or ())  # type: ignore[arg-type]
    kind: InputKind = request.input_kind  # type: ignore[assignment]
    layout: Layout = request.input_layout.upper()  # type: ignore[assignment]
    common = request.seed, layout, request.embed_resize
    asked: InferencePrecision | None = request.openvino_precision  # type: ignore[assignment]
    if asked and not any(exporter.inference_precisions for exporter in exporters):
        raise UsageError(
            f"--openvino-precision {asked} has no effect: there is no OpenVINO file.",
            "Add --format openvino, or leave it out.",
        )
    jobs, refused = [], []
    for exporter, precision in itertools.product(exporters, precisions):
        granularity = request.granularity if precision == "int8" else "per-channel"
        job = ExportJob(exporter.name, precision, kind, request.io, granularity, *common)
        if precision == "int8":
            job = replace(job, qdq=request.qdq or "asymmetric")
        if asked in exporter.inference_precisions:
            job = replace(job, inference_precision=asked)
        reason = exporter.refusal(spec, job)
        if reason:
            refused.append(
                f"{spec.name} cannot be exported to {exporter.name} {precision}: {reason}."
            )
        else:
            jobs.append((exporter, job))
    if refused and not (every and jobs):
        raise RefusedError(
            refused[0], "Choose another format or precision, or leave out the option that it names."
        )
    return tuple(jobs), tuple(refused)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that an export would write.

    Attributes:
        path: where.
        format: its format.
        precision: its precision.
        bytes_about: its size, from the number of parameters; null where only building the network
            shows that number.
    """

    path: Path
    format: str
    precision: Precision
    bytes_about: int | None


@dataclass(frozen=True, slots=True)
class ExportEstimate:
    """What an export would write.

    Attributes:
        model: name of the model.
        alpha: its width; null for families without widths.
        input_size: height and width in pixels.
        parameters: how many; null where only building the network shows it.
        weights: "imagenet", "file", "random" or "network".
        artifacts: the files.
        cpu_seconds_about: CPU seconds, a fit to runs on one x86-64 machine.
    """

    model: str
    alpha: float | None
    input_size: int
    parameters: int | None
    weights: str
    artifacts: tuple[PlannedFile, ...]
    cpu_seconds_about: int


def estimate(plan: Plan) -> ExportEstimate:
    """Estimate sizes and CPU time of an export without doing it."""
    chosen = plan.network.arguments
    parameters = plan.spec.parameter_count(chosen.alpha)
    family = chosen.alpha, chosen.depth_multiplier and 1, chosen.dropout
    plain = BuildArguments(
        chosen.input_size, True, None, IMAGENET_CLASSES, *family, input_width=chosen.input_width
    )
    known = chosen == plain and plan.network.user_model is None
    files = tuple(
        PlannedFile(
            plan.request.output / f"{plan.file_stem(job)}{exporter.suffix}",
            exporter.name,
            job.precision,
            plan.spec.bytes_about(job.precision, chosen.alpha) if known else None,
        )
        for exporter, job in plan.jobs
    )
    layers, millions = plan.spec.depth, parameters / 1e6
    seconds = 10 + 0.06 * layers + 0.3 * millions + 1.5 * len(plan.jobs)
    if plan.needs_calibration:
        images = plan.request.calibration_count
        pixels = plan.frame.height * plan.frame.width
        work = millions * pixels / plan.spec.default_input_size**2
        seconds += 3 + images * (0.01 + 0.004 * work)
    return ExportEstimate(
        plan.spec.name,
        chosen.alpha,
        plan.size,
        parameters if known else None,
        plan.weights.source,
        files,
        round(seconds),
    )
