"""`edgezoo evaluate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import (
    PATH,
    common,
    limited,
    place,
    quiet,
    refuse_remote_limits,
    remote,
    third_party,
    trusted,
)
from edgezoo.core.errors import UsageError, counted
from edgezoo.core.spec import MOST_THREADS
from edgezoo.evaluation.drop import EQUAL_WITHIN


@click.command("evaluate", short_help="Top-1 and top-5 accuracy, with intervals.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@click.option("--images", required=True, type=PATH, metavar="DIR|TAR", help="Labelled images.")
@click.option(
    "--ground-truth",
    type=PATH,
    metavar="FILE",
    help="Classes of a flat folder: `file class` lines, or ILSVRC2012's own list.",
)
@click.option(
    "--reference",
    type=PATH,
    metavar="ARTIFACT",
    help="Compare with it, image by image: agreement, drop, verdict.",
)
@click.option(
    "--equal-within",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="POINTS",
    help="A difference of top-1 that does not matter, for the verdict (default: 1).",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Exit 6 unless the interval of the drop stays below.",
)
@click.option(
    "--allow-overlap",
    is_flag=True,
    help="Score images that a file was calibrated on too; the result says so.",
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Score N images, spread over the folder."
)
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    default=1,
    show_default=True,
    help="Of the runtime, for one image.",
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Images at a time (default: all cores)."
)
@click.option(
    "--resume/--no-resume", default=True, help="Go on where the same evaluation was interrupted."
)
@place
@third_party
@trusted
@remote
@limited
@quiet
@common
def COMMAND(
    artifacts: tuple[Path, ...],
    images: Path,
    ground_truth: Path | None,
    reference: Path | None,
    equal_within: float | None,
    max_drop: float | None,
    allow_overlap: bool,
    limit: int | None,
    threads: int,
    jobs: int | None,
    resume: bool,
    device: str,
    runtime: str | None,
    preprocessing: str | None,
    labels: Path | None,
    trust: bool,
    on: str | None,
    max_memory: float | None,
    max_seconds: float | None,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Top-1 and top-5 accuracy on labelled images, with a 95 % interval.

    DIR holds a folder a class (named by wnid or by the model's label), the flat ILSVRC2012
    validation images with their ground-truth file, or either of them, or WebDataset's shards, in
    .tar files. With --reference the drop of top-1 is given in points, with its own interval from
    the same images and a verdict.

    \b
    Examples:
      edgezoo evaluate m_int8.tflite m_int8.onnx --images val/
      edgezoo evaluate m_int8.tflite --images val/ \\
          --reference m_float32.tflite --max-drop 1
      edgezoo evaluate m.onnx --images ILSVRC2012_img_val/ \\
          --ground-truth ILSVRC2012_validation_ground_truth.txt
    """
    if equal_within is not None and reference is None:
        raise UsageError(
            "--equal-within is for the verdict on a drop, and there is nothing to drop from.",
            "Add --reference with the float file, or leave it out.",
        )
    refuse_remote_limits(on, max_memory, max_seconds)
    options: dict[str, Any] = {
        "artifacts": artifacts,
        "images": images,
        "ground_truth": ground_truth,
        "reference": reference,
        "equal_within": EQUAL_WITHIN if equal_within is None else equal_within / 100,
        "max_drop": None if max_drop is None else max_drop / 100,
        "allow_overlap": allow_overlap,
        "limit": limit,
        "device": device,
        "runtime": runtime,
        "threads": threads,
        "jobs": jobs,
        "resume": resume,
        "preprocessing": preprocessing,
        "labels": labels,
        "trust": trust,
    }
    with _console.bar(not quiet, None, "Scoring images") as progress:
        if on is not None:
            from edgezoo.evaluation.accuracy import evaluate

            facts = evaluate(**options, on=on)
        else:
            facts = _limited(options, max_memory, max_seconds, progress, debug)
    if as_json:
        _console.print_json(facts)
    else:
        _show(images, facts)
        _console.ran_on(facts)
    for entry in facts["results"]:
        if entry["resumed"]:
            _console.note(
                f"{entry['artifact']}: an interrupted run had scored {entry['resumed']} images."
            )
        if entry["overlap"]:
            _console.warn(f"{entry['overlap']} of the images calibrated {entry['artifact']}.")
    unreadable = max(entry["unreadable"] for entry in facts["results"])
    if unreadable:
        _console.warn(
            f"{counted(unreadable, 'file')} in {images} could not be read as images and "
            f"{'was' if unreadable == 1 else 'were'} left out."
        )
    for text in facts["failures"]:
        _console.note(f"Failed: {text}")
    if not as_json:
        _console.next_command(f"edgezoo explain {artifacts[0]} --images {images}")
    return 6 if facts["failures"] else 0


def _limited(
    options: dict[str, Any],
    max_memory: float | None,
    max_seconds: float | None,
    progress: Callable[[int], None],
    debug: bool,
) -> dict[str, Any]:
    """The evaluation in a process that may use only so much."""
    from edgezoo.core.paths import cache_home
    from edgezoo.evaluation import accuracy
    from edgezoo.system import sandbox

    reference = options["reference"]
    files = [*options["artifacts"], *([reference] if reference else [])]
    limits = sandbox.limits_for(
        files,
        memory_gb=max_memory,
        seconds=max_seconds,
        jobs=options["jobs"],
        device=options["device"],
        trust=options["trust"],
    )
    with contextlib.suppress(OSError):
        cache_home().mkdir(parents=True, exist_ok=True)  # keeps what an interrupted run has done
    limited = sandbox.Sandbox(tuple(files), limits, (cache_home(),), progress, debug)
    return limited.call(accuracy.evaluate, **options)


def _show(images: Path, facts: dict[str, Any]) -> None:
    results = facts["results"]
    _console.table(
        f"Accuracy on {images}",
        ("file", "images", "top-1", "95 % interval", "top-5", "agrees"),
        [
            (
                Path(entry["artifact"]).name,
                entry["images"],
                _console.percent(entry["top1"]),
                "{:.1f} to {:.1f}".format(*(100 * end for end in entry["top1_ci95"])),
                _console.percent(entry["top5"]),
                _console.percent(entry["agreement_top1"]),
            )
            for entry in results
        ],
    )
    if results[0]["reference"] is not None:
        equal = f"equal within {100 * facts['equal_within']:g}"
        _console.table(
            f"Drop of top-1 against {Path(results[0]['reference']).name}, in points",
            ("file", "drop", "95 % interval", "verdict"),
            [
                (
                    Path(entry["artifact"]).name,
                    f"{100 * entry['drop']:.2f}",
                    "{:.2f} to {:.2f}".format(*(100 * end for end in entry["drop_ci95"])),
                    equal if entry["verdict"] == "equal" else entry["verdict"],
                )
                for entry in results
            ],
        )
        for entry in results:
            if entry["images_needed"] is not None:
                about = round(entry["images_needed"], 2 - len(str(entry["images_needed"])))
                _console.say(f"{Path(entry['artifact']).name}: about {about} images would tell.")
    _console.note_place(results[0]["ran_on"])
    if any(not entry["trained"] for entry in results):
        _console.warn("Untrained weights: the accuracy means nothing.")
