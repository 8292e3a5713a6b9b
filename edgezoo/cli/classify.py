"""`edgezoo classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import COUNT, PATH, common, limited_process, option, running, thresholded
from edgezoo.core.escapes import shell
from edgezoo.core.spec import MOST_THREADS

if TYPE_CHECKING:
    from edgezoo.inference.classification import ClassifyResult


@click.command("classify")
@click.argument("artifact", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@option("--top", "Classes to print.", COUNT, shown=5)
@option("--threads", type=click.IntRange(1, MOST_THREADS), shown=1)
@thresholded
@running
@common
def COMMAND(artifact: Path, as_json: bool, **options: Any) -> None:
    """Classify each IMAGE, with probabilities.

    The contract in the file defines how to resize, crop and normalise.

    \b
    Examples:
      edgezoo classify mobilenet_0.5_160_int8.tflite cat.jpg --top 3
      edgezoo classify m.onnx cat.jpg dog.jpg --json
      edgezoo classify downloaded.tflite cat.jpg --preprocessing tf \\
          --labels labels.txt
      edgezoo classify m.tflite cat.jpg --on ssh://pi@raspberrypi
    """
    from edgezoo.inference.classification import classify

    debug = options["debug"]
    process = limited_process([artifact], options, items=len(options["images"]))
    if options["on"] is not None:
        with _console.status(not debug) as progress:
            progress(f"Classifying on {options['on']}")
            result = classify(artifact, **options)
    else:
        result = process.call(classify, artifact, **options)
    if as_json:
        _console.print_json(result)
    else:
        _show(artifact, result)


def _show(artifact: Path, result: ClassifyResult) -> None:
    for note in result.notes or ():
        _console.note(note)
    for image in result.results:
        _console.say(str(image.image))
        for score in image.classes:
            if score.probability == 0 and score is not image.classes[0]:
                break  # an 8-bit output cannot represent less than 1/256: the order is arbitrary
            above = image.above_threshold
            found = "" if above is None or score.index not in above else "  found"
            _console.say(f"  {score.probability:.3f}  {score.label}{found}")
    _console.note_place(result.ran_on)
    _console.ran_on(result.remote)
    if not result.trained:
        _console.warn("Untrained weights: the classes are meaningless.")
    _console.next_command(f"edgezoo evaluate {shell(artifact)} --images FOLDER_OF_CLASSES")
