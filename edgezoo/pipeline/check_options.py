"""What the options of an export may say, before anything is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.recipe import EFFORTS, GRANULARITIES
from edgezoo.core.spec import INPUT_KINDS, IO_TYPES, LAYOUTS, PRECISIONS

if TYPE_CHECKING:
    from edgezoo.pipeline.plan import ExportRequest


def check_words(request: ExportRequest) -> None:
    """Check each option, and those that belong together.

    Raises:
        UsageError: an unknown word, an illegal value, or an option that would do nothing.
    """
    for precision in request.precisions or ():
        if precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {precision!r}.", did_you_mean(precision, PRECISIONS)
            )
    for option, value, known in (
        ("effort", request.effort, EFFORTS),
        ("granularity", request.granularity, GRANULARITIES),
    ):
        if value not in known:
            raise UsageError(f"There is no --{option} {value!r}.", did_you_mean(value, known))
    if request.input_kind not in INPUT_KINDS:
        raise UsageError(
            f"There is no input kind {request.input_kind!r}.",
            did_you_mean(request.input_kind, INPUT_KINDS),
        )
    layouts = tuple(layout.lower() for layout in LAYOUTS)
    if request.input_layout.lower() not in layouts:
        raise UsageError(
            f"There is no --input-layout {request.input_layout!r}.",
            did_you_mean(request.input_layout, layouts),
        )
    if request.io is not None and request.io not in IO_TYPES:
        raise UsageError(f"There is no --io {request.io!r}.", did_you_mean(request.io, IO_TYPES))
    if request.io is not None and request.input_kind == "normalized":
        raise UsageError(
            "--io and --input normalized contradict each other: normalised input is float32.",
            "Leave one of them out.",
        )
    if not request.formats or not request.precisions:
        raise UsageError("No format or no precision was named.", "Leave the option out for all.")
    if request.seed < 0:
        raise UsageError(f"--seed {request.seed} is illegal.", "Give 0 or more.")
    for option, count, fewest in (
        ("--calibration-count", request.calibration_count, 1),
        ("--verify-images", request.verify_count, 2),
    ):
        if count < fewest:
            raise UsageError(f"{option} {count} is too few.", f"Give {fewest} or more.")
    _check_guard(request)
    _check_used(request)
    if request.min_agreement is not None and not 0 <= request.min_agreement <= 1:
        raise UsageError(
            f"--min-agreement {request.min_agreement:g} is not a share.", "Give 0 to 1."
        )


def _check_used(request: ExportRequest) -> None:
    """Refuse what would be asked for in vain."""
    if request.min_agreement is not None and not request.verify:
        raise UsageError(
            "--min-agreement is a bound on what --no-verify leaves out.", "Leave one of them out."
        )
    if request.ground_truth is not None and request.images is None:
        raise UsageError(
            "--ground-truth tells the classes of --images, and there are none.",
            "Add --images and --max-drop, or leave it out.",
        )
    plain = set(request.precisions or ()) <= {"float32"}
    if request.calibration != "synthetic" and plain and not request.verify:
        raise UsageError(
            f"--calibration {request.calibration} is for int8 and float16 files and for "
            "verification, and none of them is asked for.",
            "Add --int8, or leave it out.",
        )
    if "int8" in (request.precisions or ()):
        return
    for option, value, usual in (
        ("effort", request.effort, "default"),
        ("granularity", request.granularity, "per-channel"),
    ):
        if value != usual:
            raise UsageError(
                f"--{option} {value} is for int8 files, and none is asked for.", "Add --int8."
            )


def _check_guard(request: ExportRequest) -> None:
    if (request.max_drop_points is None) != (request.images is None):
        raise UsageError(
            "--max-drop and --images belong together.",
            "Give a limit in percentage points, and labelled images to hold it on.",
        )
    if request.max_drop_points is None:
        return
    if request.max_drop_points <= 0:
        raise UsageError(
            f"--max-drop {request.max_drop_points:g} is not above 0.", "Give points, as 1.0."
        )
    if "int8" not in (request.precisions or ()):
        raise UsageError("--max-drop guards int8 files, and none is asked for.", "Add --int8.")
    if request.weights == "random":
        raise UsageError("Untrained weights have no accuracy to guard.", "Leave --max-drop out.")
