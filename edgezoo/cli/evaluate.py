"""`edgezoo evaluate`."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import (
    COUNT,
    PATH,
    common,
    flag,
    limited_process,
    option,
    quiet,
    running,
    thresholded,
)
from edgezoo.core.errors import UsageError, counted
from edgezoo.core.escapes import shell
from edgezoo.core.spec import MOST_THREADS
from edgezoo.images.class_names import LABELS_FROM
from edgezoo.images.folders import named

if TYPE_CHECKING:
    from edgezoo.evaluation.accuracy import EvaluateResult

_ONE_EACH = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic")
_SMALLEST = 64  # bytes of an image in an archive
_POINTS = click.FloatRange(0, 100)
_ABOVE_0_POINTS = click.FloatRange(0, 100, min_open=True)
_THREADS = click.IntRange(1, MOST_THREADS)
# Options of --find-preprocessing, and those that it finds out or does not use.
_TAKEN_TO_FIND = (
    *("ground_truth", "split", "labels_from", "labels", "input_size", "head", "output_name"),
    *("limit",),
    *("runtime", "device", "threads", "trust"),
)
_TRIES = 9 * 3 * 500  # inferences of --find-preprocessing
_FOUND_OUT = (
    *("preprocessing", "scale", "offset", "bgr", "resize", "crop_fraction"),
    *("reference", "equal_within_points", "max_drop_points", "on"),
)


@click.command("evaluate", short_help="Top-1 and top-5 accuracy, with intervals.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@option("--images DIR|FILE", "Labelled images.", PATH, required=True)
@option("--split NAME", "Score this folder of --images alone, such as val.")
@option(
    "--labels-from WORD",
    "How folders name classes: index (0 to 999), wnid, or folders (sorted, in the order of the "
    "outputs).",
    click.Choice(LABELS_FROM),
)
@option(
    "--ground-truth FILE",
    "Classes of a flat folder: `file class` lines, or the list of ILSVRC2012.",
    PATH,
)
@option(
    "--reference ARTIFACT",
    "Compare with this file, image by image: agreement, drop, verdict.",
    PATH,
)
@option(
    "--equal-within POINTS",
    "A difference of top-1 that does not matter, for the verdict (default: 1).",
    _ABOVE_0_POINTS,
    to="equal_within_points",
)
@option(
    "--max-drop POINTS",
    "Exit 6 unless the interval of the drop stays below.",
    _POINTS,
    to="max_drop_points",
)
@flag(
    "--find-preprocessing",
    "Try every preprocessing and resize on the images, and report which one fits.",
)
@flag(
    "--allow-overlap",
    "Also score images that a file was calibrated on; the result records how many.",
)
@option("--limit N", "Score N images, spread over the folder.", COUNT)
@option("--threads", "Of the runtime, for one image.", _THREADS, shown=1)
@option("--jobs N", "Images at a time (default: all cores).", COUNT)
@option("--resume/--no-resume", "Continue an interrupted evaluation.", default=True)
@thresholded
@running
@quiet
@common
def COMMAND(
    artifacts: tuple[Path, ...], images: Path, quiet: bool, as_json: bool, **options: Any
) -> int:
    """Top-1 and top-5 accuracy on labelled images, with a 95 % interval.

    DIR contains a folder for each class (named by wnid, by the model's label or by its number),
    or the flat ILSVRC2012 validation images with their ground-truth file. Either of them, or
    WebDataset shards, may be in .tar, .tar.gz or .zip files; Hugging Face's are .parquet files.
    With --reference the result has the drop of top-1 in percentage points, with its interval on
    the same images and a verdict.

    \b
    Examples:
      edgezoo evaluate m_int8.tflite m_int8.onnx --images val/
      edgezoo evaluate m_int8.tflite --images val/ \\
          --reference m_float32.tflite --max-drop 1
      edgezoo evaluate m.onnx --images ILSVRC2012_img_val/ \\
          --ground-truth ILSVRC2012_validation_ground_truth.txt
      edgezoo evaluate downloaded.tflite --images val/ --labels labels.txt \\
          --find-preprocessing
    """
    from edgezoo.evaluation import checkpoint
    from edgezoo.evaluation.accuracy import evaluate
    from edgezoo.system import notes

    if options.pop("find_preprocessing"):
        return _find(artifacts, images, quiet, as_json, options)
    reference = options["reference"]
    files = (*artifacts, *([reference] if reference else []))
    with _console.bar(not quiet, None, "Scoring images") as progress:
        process = limited_process(files, options, progress, items=_most(images))
        if options["on"] is not None:
            result = evaluate(artifacts, images, **options)
        else:
            if options["resume"]:
                notes.remove_expired(checkpoint.home())
                process = replace(process, notes=notes.folder_for(checkpoint.home(), files))
            result = process.call(evaluate, artifacts, images, **options)
    if as_json:
        _console.print_json(result)
    else:
        _show(images, result)
        _console.ran_on(result.remote)
    _note(images, result)
    if not as_json:
        _console.next_command(f"edgezoo explain {shell(artifacts[0])} --images {shell(images)}")
    return 6 if result.failures else 0


def _most(images: Path) -> int:
    """Return at least the number of images in a folder or archive, without reading it."""
    if not images.is_dir():
        return _most_in(images)
    return sum(
        1 if name.lower().endswith(_ONE_EACH) else _most_in(Path(folder, name))
        for folder, _, names in os.walk(images)
        for name in names
    )


def _most_in(archive: Path) -> int:
    with contextlib.suppress(OSError):
        return 1 + archive.stat().st_size // _SMALLEST
    return 1


def _find(
    artifacts: tuple[Path, ...], images: Path, quiet: bool, as_json: bool, options: dict[str, Any]
) -> int:
    """Try every preprocessing on one file."""
    from edgezoo.evaluation.find_preprocessing import find_preprocessing

    if len(artifacts) != 1:
        raise UsageError("--find-preprocessing takes one file.", "Give it one after the other.")
    for name in _FOUND_OUT:
        if options[name] not in (None, False):
            option = {"equal_within_points": "equal-within", "max_drop_points": "max-drop"}
            raise UsageError(
                f"--{option.get(name, name.replace('_', '-'))} has no effect next to "
                "--find-preprocessing.",
                "Leave one of them out.",
            )
    with _console.bar(not quiet, None, "Trying") as progress:
        process = limited_process(artifacts, options, progress, items=_TRIES + _most(images))
        given = {name: options[name] for name in _TAKEN_TO_FIND}
        result = process.call(find_preprocessing, artifacts[0], images, **given)
    if as_json:
        _console.print_json(result)
        return 0
    rows = []
    for tried in result.tried:
        if tried.same_as is not None:
            continue
        interval = "{:.1f} to {:.1f}".format(*(100 * end for end in tried.top1_ci95))
        fits = "yes" if tried.fits else ""
        top1, loss = _console.percent(tried.top1), f"{tried.log_loss:.3f}"
        rows.append((tried.options, top1, interval, loss, fits))
    columns = ("options", "top-1", "95 % interval", "log loss", "fits")
    _console.table(f"{artifacts[0].name} on {result.images} images", columns, rows)
    for text in result.left_out:
        _console.note(text)
    _console.say(result.verdict)
    _console.next_command(
        f"edgezoo evaluate {shell(artifacts[0])} --images {shell(images)} {result.tried[0].options}"
    )
    return 0


def _note(images: Path, result: EvaluateResult) -> None:
    """Print what a reader of the result must know, on standard error."""
    for text in result.notes or ():
        _console.note(text)
    for entry in result.results:
        if entry.resumed:
            before = f"an interrupted run had scored {entry.resumed} images"
            _console.note(f"{entry.artifact}: {before}.")
        if entry.overlap:
            _console.warn(f"{entry.overlap} of the images calibrated {entry.artifact}.")
    unreadable = max((entry.unreadable_files for entry in result.results), key=len)
    for files, what in ((unreadable, " could not be read as images and"), (result.left_out, "")):
        if files:
            names, verb = named(files, _console.verbose()), "was" if len(files) == 1 else "were"
            count = counted(len(files), "file" if what else "entry")
            _console.warn(f"{count} in {images}{what} {verb} left out: {names}.")
    for text in result.warnings:
        _console.warn(text)
    for text in result.failures:
        _console.note(f"Failed: {text}")


def _show(images: Path, result: EvaluateResult) -> None:
    rows = []
    for entry in result.results:
        interval = "{:.1f} to {:.1f}".format(*(100 * end for end in entry.top1_ci95))
        top1, top5, agrees = map(_console.percent, (entry.top1, entry.top5, entry.agreement_top1))
        rows.append((entry.artifact.name, entry.images, top1, interval, top5, agrees))
    columns = ("file", "images", "top-1", "95 % interval", "top-5", "agrees")
    _console.table(f"Accuracy on {images}", columns, rows)
    _show_multi_label(result)
    _show_drops(result)
    _console.note_place(result.results[0].ran_on)
    if any(not entry.trained for entry in result.results):
        _console.warn("Untrained weights: the accuracy is meaningless.")


def _show_multi_label(result: EvaluateResult) -> None:
    rows = [
        (
            entry.artifact.name,
            f"{found.threshold:g}",
            *(f"{value:.3f}" for value in (found.micro_f1, found.macro_f1)),
            f"{found.mean_average_precision:.3f}",
        )
        for entry in result.results
        if (found := entry.multi_label) is not None
    ]
    if rows:
        title = "Classes that do not exclude one another"
        _console.table(title, ("file", "threshold", "micro F1", "macro F1", "mAP"), rows)


def _show_drops(result: EvaluateResult) -> None:
    rows, hints = [], []
    for entry in result.results:
        if entry.drop_points is None or entry.drop_points_ci95 is None:
            return
        equal = f"equal within {result.equal_within_points:g}"
        verdict = equal if entry.verdict == "equal" else entry.verdict
        interval = "{:.2f} to {:.2f}".format(*entry.drop_points_ci95)
        rows.append((entry.artifact.name, f"{entry.drop_points:.2f}", interval, verdict))
        if entry.images_needed is not None:
            about = round(entry.images_needed, 2 - len(str(entry.images_needed)))
            hints.append(f"{entry.artifact.name}: about {about} images would give a verdict.")
    reference = result.results[0].reference
    title = f"Drop of top-1 against {reference.name if reference else ''}, in points"
    _console.table(title, ("file", "drop", "95 % interval", "verdict"), rows)
    for hint in hints:
        _console.say(hint)
