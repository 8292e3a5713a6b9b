"""`edgezoo classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import (
    PATH,
    common,
    limited,
    place,
    refuse_remote_limits,
    remote,
    third_party,
    trusted,
)
from edgezoo.core.spec import MOST_THREADS


@click.command("classify")
@click.argument("artifact", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to name."
)
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=1, show_default=True)
@place
@third_party
@trusted
@remote
@limited
@common
def COMMAND(
    artifact: Path,
    images: tuple[Path, ...],
    top: int,
    threads: int,
    device: str,
    runtime: str | None,
    preprocessing: str | None,
    labels: Path | None,
    trust: bool,
    on: str | None,
    max_memory: float | None,
    max_seconds: float | None,
    as_json: bool,
    debug: bool,
) -> None:
    """Name what is on each IMAGE, with probabilities.

    The file's own contract tells how to resize, crop and normalise.

    \b
    Examples:
      edgezoo classify mobilenet_0.5_160_int8.tflite cat.jpg --top 3
      edgezoo classify m.onnx cat.jpg dog.jpg --json
      edgezoo classify downloaded.tflite cat.jpg --preprocessing tf \\
          --labels labels.txt
      edgezoo classify m.tflite cat.jpg --on ssh://pi@raspberrypi
    """
    refuse_remote_limits(on, max_memory, max_seconds)
    options: dict[str, Any] = {
        "artifact": artifact,
        "images": images,
        "top": top,
        "device": device,
        "runtime": runtime,
        "threads": threads,
        "preprocessing": preprocessing,
        "labels": labels,
        "trust": trust,
    }
    from edgezoo.inference.classification import classify

    if on is not None:
        with _console.status(not debug) as progress:
            progress(f"Classifying on {on}")
            facts = classify(**options, on=on)
    else:
        from edgezoo.system import sandbox

        limits = sandbox.limits_for(
            [artifact], memory_gb=max_memory, seconds=max_seconds, device=device, trust=trust
        )
        facts = sandbox.Sandbox((artifact,), limits, debug=debug).call(classify, **options)
    if as_json:
        _console.print_json(facts)
        return
    for result in facts["results"]:
        _console.say(result["image"])
        for entry in result["classes"]:
            if entry["probability"] == 0 and entry is not result["classes"][0]:
                break  # an 8-bit output shows nothing below 1/256: the order means nothing there
            _console.say(f"  {entry['probability']:.3f}  {entry['label']}")
    _console.note_place(facts["ran_on"])
    _console.ran_on(facts)
    if not facts["trained"]:
        _console.warn("Untrained weights: the answers mean nothing.")
    _console.next_command(f"edgezoo evaluate {artifact} --images FOLDER_OF_CLASSES")
