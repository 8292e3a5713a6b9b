"""What a user asks an export for: checked as it stands, and completed by its target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError, did_you_mean
from edgezoo.core.files import require_utf8
from edgezoo.core.input_options import InputOptions
from edgezoo.core.protocols import Target
from edgezoo.core.recipe import EFFORTS, GRANULARITIES, QDQ_FORMS, Effort, Qdq
from edgezoo.core.rounding import Granularity
from edgezoo.core.spec import (
    INFERENCE_PRECISIONS,
    INPUT_KINDS,
    IO_TYPES,
    LAYOUTS,
    MOST_IMAGES,
    MOST_SEED,
    PRECISIONS,
    BuildArguments,
)

DEFAULT_CALIBRATION_COUNT = 200
DEFAULT_VERIFY_COUNT = 64
_DEFAULT_PRECISION = "float32"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The options of `edgezoo export`.

    `precisions` of None become float32, or those of `target`. `cache` answers an equal request
    with the files of the first one.
    """

    model: str
    arguments: BuildArguments = field(default_factory=BuildArguments)
    formats: tuple[str, ...] = ("all",)
    precisions: tuple[str, ...] | None = None
    weights: str = "imagenet"
    seed: int = 0
    calibration: str = "synthetic"
    calibration_count: int = DEFAULT_CALIBRATION_COUNT
    effort: Effort = "default"
    granularity: Granularity = "per-channel"
    input_kind: str = "pixels"
    input_layout: str = "nhwc"
    io: str | None = None
    output: Path = field(default_factory=lambda: Path("exported"))
    verify: bool = True
    verify_count: int = DEFAULT_VERIFY_COUNT
    min_agreement: float | None = None
    max_drop_points: float | None = None
    images: Path | None = None
    ground_truth: Path | None = None
    target: str | None = None
    preprocessing: str | None = None
    labels: Path | None = None
    trust: bool = False
    embed_resize: bool = False
    openvino_precision: str | None = None
    qdq: Qdq | None = None
    cache: bool = True
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    bgr: bool = False
    resize: str | None = None
    crop_fraction: float | None = None
    head: str | None = None

    @property
    def stated(self) -> InputOptions:
        """What it states about a network of the user's own."""
        return InputOptions(
            self.preprocessing,
            self.scale,
            self.offset,
            self.bgr,
            self.resize,
            self.crop_fraction,
            labels=self.labels,
            head=self.head,
        )


def completed(request: ExportRequest) -> ExportRequest:
    """The request with the precisions, formats and input/output type of its target.

    Raises:
        UsageError: there is no such target.
        RefusedError: the request asks for something that the target does not load.
    """
    given = request.precisions
    if request.target is None:
        return replace(request, precisions=(_DEFAULT_PRECISION,) if given is None else given)
    target = registry.target(request.target)
    formats = target.formats[:1] if "all" in request.formats else request.formats
    precisions = target.precisions[:1] if given is None else given
    _check_target(target, "--format", formats, target.formats)
    _check_target(target, "--precision", precisions, target.precisions)
    _check_target(target, "--input", (request.input_kind,), target.input_kinds)
    if request.io is not None:
        _check_target(target, "--io", (request.io,), target.io)
    if request.qdq is not None:
        _check_target(target, "--qdq", (request.qdq,), (target.qdq,))
    io = request.io or target.io[0]
    return replace(request, formats=formats, precisions=precisions, io=io, qdq=target.qdq)


def _check_target(
    target: Target, option: str, asked: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    for word in asked:
        if word not in taken:
            raise RefusedError(
                f"--target {target.name} and {option} {word} contradict each other: it takes "
                f"{' or '.join(taken)}.",
                f"Leave {option} or --target out.",
            )


def check_words(request: ExportRequest) -> None:
    """Check each option, and the options that depend on one another.

    Raises:
        UsageError: an unknown word, an illegal value, or an option without effect.
    """
    require_utf8(request.output)
    for precision in request.precisions or ():
        _check_word("precision", precision, PRECISIONS)
    _check_word("--effort", request.effort, EFFORTS)
    _check_word("--granularity", request.granularity, GRANULARITIES)
    if request.qdq is not None:
        _check_word("--qdq", request.qdq, QDQ_FORMS)
    _check_word("input kind", request.input_kind, INPUT_KINDS)
    if request.input_layout.upper() not in LAYOUTS:
        layouts = tuple(layout.lower() for layout in LAYOUTS)
        _check_word("--input-layout", request.input_layout, layouts)
    if request.io is not None:
        _check_word("--io", request.io, IO_TYPES)
    if request.openvino_precision is not None:
        _check_word("--openvino-precision", request.openvino_precision, INFERENCE_PRECISIONS)
    if request.io is not None and request.input_kind == "normalized":
        raise UsageError(
            "--io and --input normalized contradict each other: normalized input is float32.",
            "Leave one of them out.",
        )
    if not request.formats or not request.precisions:
        raise UsageError("No format or no precision was named.", "Leave the option out for all.")
    if not 0 <= request.seed <= MOST_SEED:
        raise UsageError(f"--seed {request.seed} is illegal.", f"Give 0 to {MOST_SEED}.")
    for option, count, fewest in (
        ("--calibration-count", request.calibration_count, 1),
        ("--verify-images", request.verify_count, 2),
    ):
        if count < fewest:
            raise UsageError(f"{option} {count} is too few.", f"Give {fewest} or more.")
        if count > MOST_IMAGES:
            raise UsageError(f"{option} {count} is too many.", f"Give at most {MOST_IMAGES}.")
    _check_guard(request)
    _check_used(request)
    if request.min_agreement is not None and not 0 <= request.min_agreement <= 1:
        raise UsageError(
            f"--min-agreement {request.min_agreement:g} is not a share.", "Give 0 to 1."
        )


def _check_word(title: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"There is no {title} {value!r}.", did_you_mean(value, known))


def _check_used(request: ExportRequest) -> None:
    """Refuse options without effect."""
    if request.min_agreement is not None and not request.verify:
        raise UsageError(
            "--min-agreement is a bound on the verification, which --no-verify leaves out.",
            "Leave one of them out.",
        )
    if request.ground_truth is not None and request.images is None:
        raise UsageError(
            "--ground-truth lists the classes of --images, and --images is not given.",
            "Add --images and --max-drop, or leave it out.",
        )
    plain = set(request.precisions or ()) <= {"float32"}
    if request.calibration != "synthetic" and plain and not request.verify:
        raise UsageError(
            f"--calibration {request.calibration} has no effect: there is no int8 or float16 "
            "file and no verification.",
            "Add --int8, or leave it out.",
        )
    if "int8" in (request.precisions or ()):
        return
    for option, value, usual in (
        ("effort", request.effort, "default"),
        ("granularity", request.granularity, "per-channel"),
        ("qdq", request.qdq or "asymmetric", "asymmetric"),
    ):
        if value != usual:
            raise UsageError(
                f"--{option} {value} has no effect: there is no int8 file.", "Add --int8."
            )


def _check_guard(request: ExportRequest) -> None:
    if (request.max_drop_points is None) != (request.images is None):
        raise UsageError(
            "--max-drop and --images belong together.",
            "Give a limit in percentage points, and labelled images to measure it on.",
        )
    if request.max_drop_points is None:
        return
    if request.max_drop_points <= 0:
        raise UsageError(
            f"--max-drop {request.max_drop_points:g} is not above 0.", "Give points, as 1.0."
        )
    if "int8" not in (request.precisions or ()):
        raise UsageError("--max-drop has no effect: there is no int8 file.", "Add --int8.")
    if request.weights == "random":
        raise UsageError("Untrained weights have no accuracy to guard.", "Leave --max-drop out.")
