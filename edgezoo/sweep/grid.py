"""The request of a sweep, and the variants that it expands to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError, RefusedError, UsageError, did_you_mean
from edgezoo.core.files import not_a_file
from edgezoo.core.protocols import ExportJob
from edgezoo.core.spec import MOST_THREADS, PRECISIONS, BuildArguments
from edgezoo.measurement.protocol import Settings
from edgezoo.networks import arguments
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.results.record import GridPlace
from edgezoo.system.machine import usable_cores

# Compilers that estimate take this format, with int8 precision.
_ESTIMATED_FORMAT = "tflite"
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What a user requests, as of `edgezoo benchmark`.

    Attributes:
        models: names of the zoo; empty where `files` are given.
        files: artifacts that exist already.
        threads: numbers, or "all" for every usable physical core.
        target: devices whose compiler estimates the time of int8 .tflite files.
        batch: images of one inference, of files that take any number.
        images: labelled images for accuracy; None measures latency only.
        output: the results store.
    """

    models: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    alpha: tuple[float, ...] = ()
    input_size: tuple[int, ...] = ()
    format: tuple[str, ...] = ("all",)
    precision: tuple[str, ...] = ("float32",)
    threads: tuple[str, ...] = ("1",)
    device: tuple[str, ...] = ("cpu",)
    target: tuple[str, ...] = ()
    images: Path | None = None
    ground_truth: Path | None = None
    limit: int | None = None
    weights: str = "imagenet"
    seed: int = 0
    calibration: str = "synthetic"
    calibration_count: int = 200
    pin: bool = False
    self_check: bool = True
    batch: int = 1
    output: Path | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Variant(GridPlace):
    """A variant to be recorded: a file on a device with a number of threads.

    Attributes:
        path: of a file that exists already; the file states the network then.
        estimated: by the compiler of the target that `device` names.
    """

    path: Path | None = None
    estimated: bool = False

    @property
    def file(self) -> Variant:
        """The variant without what the variants of one file differ in."""
        return replace(self, device="", threads=0, estimated=False)

    @property
    def name(self) -> str:
        """For file names and progress: mobilenet_0.25_128_int8_tflite_cpu_t1."""
        width = None if self.alpha is None else f"{self.alpha:g}"
        own = self.path.stem if self.path else self.model
        parts = (own, width, self.input_size, self.precision, self.format, self.device)
        return "_".join(str(p) for p in (*parts, f"t{self.threads}") if p is not None)


@dataclass(frozen=True, slots=True)
class Network:
    """All formats and precisions of one network, which one export makes.

    Attributes:
        plan: None where `error` says why there is none, or where the files exist already.
        refused: variants that an exporter refuses, with its reason.
    """

    variants: tuple[Variant, ...]
    plan: Plan | None = None
    error: EdgeZooError | None = None
    refused: tuple[tuple[Variant, str], ...] = ()

    @property
    def files(self) -> tuple[Variant, ...]:
        """One variant per file."""
        return tuple(dict.fromkeys(variant.file for variant in self.variants))

    @property
    def every(self) -> tuple[Variant, ...]:
        """All variants, also those that are refused."""
        return (*self.variants, *(variant for variant, _ in self.refused))


def expand(request: SweepRequest) -> list[Network]:
    """Return all networks of a grid, with their variants.

    Raises:
        UsageError: unknown names, invalid values.
    """
    for name in ("format", "precision", "threads", "device"):
        if not getattr(request, name):
            raise UsageError(f"--{name} names nothing.", f"Name some, or leave --{name} out.")
    threads = thread_counts(request.threads)
    _check_targets(request)
    if request.images is None and (request.limit or request.ground_truth):
        option = "--limit" if request.limit else "--ground-truth"
        raise UsageError(f"{option} needs --images.", f"Add --images, or leave {option} out.")
    for device in request.device:
        registry.require_device(device)
    if request.files:
        return [_existing(request, threads)]
    if not request.models:
        raise UsageError("A sweep needs models or files.", "Name some: edgezoo benchmark mobilenet")
    for precision in request.precision:
        if precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {precision!r}.", did_you_mean(precision, PRECISIONS)
            )
    return [
        _network(request, model, alpha, size, threads)
        for model in dict.fromkeys(request.models)
        for alpha in dict.fromkeys(request.alpha) or (None,)
        for size in dict.fromkeys(request.input_size) or (None,)
    ]


def _check_targets(request: SweepRequest) -> None:
    for name in request.target:
        if registry.target(name).compile is None:
            raise RefusedError(
                f"No compiler estimates the time of a file on {name}.", "Name an ethos-u target."
            )
    made = "int8" in request.precision and {"all", _ESTIMATED_FORMAT} & set(request.format)
    if request.target and request.models and not made:
        raise UsageError(
            "--target estimates int8 .tflite files, and this sweep makes none.",
            "Add --precision int8, or leave --target out.",
        )


def thread_counts(words: Iterable[str]) -> Counts:
    """Return numbers of threads; "all" is every usable physical core.

    Raises:
        UsageError: neither a number of 1 or more nor "all".
    """
    counts = []
    for word in words:
        if word != "all" and not (word.isdecimal() and 1 <= int(word) <= MOST_THREADS):
            raise UsageError(f"--threads {word} is illegal.", f"Give 1 to {MOST_THREADS}, or all.")
        counts.append(usable_cores() if word == "all" else int(word))
    return tuple(dict.fromkeys(counts))


def _existing(request: SweepRequest, threads: Counts) -> Network:
    for path in request.files:
        if not path.is_file():
            raise not_a_file(path)
    formats = {path: registry.runtime_for(path).format for path in request.files}
    unknown = (None, None, None, None)
    variants = [
        Variant(*unknown, format, device, count, path)
        for count in threads
        for device in request.device
        for path, format in formats.items()
    ]
    variants += [
        Variant(*unknown, _ESTIMATED_FORMAT, target, 1, path, estimated=True)
        for target in dict.fromkeys(request.target)
        for path, format in formats.items()
        if format == _ESTIMATED_FORMAT
    ]
    return Network(tuple(variants))


def _network(
    request: SweepRequest, model: str, alpha: float | None, size: int | None, threads: Counts
) -> Network:
    spec = registry.model(model)
    try:
        chosen = arguments.complete(spec, BuildArguments(alpha=alpha, input_size=size))
        width, pixels = chosen.alpha, chosen.input_size or spec.default_input_size
    except UsageError as error:
        # One corner of a grid need not suit every model; a grid of one must.
        if len(request.models) * max(1, len(request.alpha)) * max(1, len(request.input_size)) == 1:
            raise
        every = _variants(request, spec.name, alpha, size or spec.default_input_size, threads)
        return Network(every, None, error)
    possible, refused = [], []
    for variant in _variants(request, spec.name, width, pixels, threads):
        job = ExportJob(variant.format, variant.precision)  # type: ignore[arg-type]
        reason = registry.exporter(variant.format).refusal(spec, job)
        if reason is None:
            possible.append(variant)
        elif "all" not in request.format:
            text = f"{spec.name} cannot be exported to {job.format} {job.precision}: {reason}."
            refused.append((variant, text))
    try:
        plan = resolve(export_request(request, possible)) if possible else None
    except EdgeZooError as error:
        return Network(tuple(possible), None, error, tuple(refused))
    return Network(tuple(possible), plan, None, tuple(refused))


def _variants(
    request: SweepRequest, model: str, alpha: float | None, size: int, threads: Counts
) -> tuple[Variant, ...]:
    names = registry.exporters() if "all" in request.format else dict.fromkeys(request.format)
    formats = [registry.exporter(name).name for name in names]
    measured = tuple(
        Variant(model, alpha, size, precision, name, device, count)
        for count in threads
        for device in request.device
        for name in formats
        for precision in dict.fromkeys(request.precision)
    )
    return measured + tuple(
        Variant(model, alpha, size, "int8", _ESTIMATED_FORMAT, target, 1, estimated=True)
        for target in dict.fromkeys(request.target)
    )


def export_request(request: SweepRequest, variants: Iterable[Variant]) -> ExportRequest:
    """Return the export that makes the files of some variants of one network."""
    variants = list(variants)
    first = variants[0]
    assert first.model is not None
    return ExportRequest(
        model=first.model,
        arguments=BuildArguments(alpha=first.alpha, input_size=first.input_size),
        formats=tuple(dict.fromkeys(variant.format for variant in variants)),
        precisions=tuple(dict.fromkeys(str(variant.precision) for variant in variants)),
        weights=request.weights,
        seed=request.seed,
        calibration=request.calibration,
        calibration_count=request.calibration_count,
        output=(request.output or Path()) / "artifacts",
    )
