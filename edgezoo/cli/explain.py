"""`edgezoo explain`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, SEED, SEVERAL, common, option, protected, quiet, third_party
from edgezoo.core.escapes import shell

if TYPE_CHECKING:
    from edgezoo.explanation.explain_result import ExplainResult

_WORST = 10
# The table and the first line may differ by this share of images without a note.
_TIES = 5e-4
_TIED = (
    "In the table, equal best classes of the file share an image; in the first line the first of "
    "them counts, as in evaluate."
)


@click.command("explain", short_help="Explain where an int8 file loses accuracy.")
@click.argument("artifact", type=PATH)
@option(
    "--images DIR|NPZ", "Images to run. A folder per class also gives top-1.", default="synthetic"
)
@option("--split NAME", "Run this folder of --images alone, such as val.")
@option("--count", "Images to run.", SEVERAL, shown=64)
@option(
    "--float FILE",
    "Compare with this float32 .tflite of the same network instead of Keras.",
    PATH,
    to="float_file",
)
@option("--weights FILE", "The weights file that the file was made from, if there was one.")
@third_party
@option("--seed", "Of the choice of images.", SEED, default=0)
@option("--html FILE", "Write a page with plots.", PATH)
@protected
@quiet
@common
def COMMAND(
    artifact: Path, html: Path | None, quiet: bool, as_json: bool, debug: bool, **options: Any
) -> None:
    """Explain where an int8 file loses accuracy: by cause, and by layer.

    The same images run through the Keras network, a float file, the float network with the
    file's weights, with its activations, with both, and the file itself.

    \b
    Examples:
      edgezoo explain mobilenet_0.5_160_int8.tflite --images val/
      edgezoo explain m_int8.onnx --html why.html
      edgezoo explain other_int8.tflite --float other_float32.tflite \\
          --preprocessing tf
    """
    from edgezoo.explanation import page
    from edgezoo.pipeline.explain_file import explain_file

    if html is not None:
        page.require()
    with _console.status(not quiet and not debug) as progress:
        result = explain_file(artifact, **options, progress=progress, debug=debug)
    for note in result.notes or ():
        _console.note(note)
    if result.overlap:
        _console.warn(
            f"{result.overlap} of {result.images} images calibrated {artifact}: it may lose "
            "more on others."
        )
    if html is not None:
        result = replace(result, page=html)
        page.write(result, html)
    if as_json:
        _console.print_json(result)
        return
    _print(result)
    if html is not None and not quiet:
        _console.note(f"Page with plots: {html}")
    _console.next_command(f"edgezoo evaluate {shell(artifact)} --images FOLDER_OF_CLASSES")


def _print(result: ExplainResult) -> None:
    from edgezoo.explanation.page import number, points

    _console.wrapped(result.verdict.text)
    for finding in result.findings[1:]:
        where = f" ({finding.layer})" if finding.layer else ""
        _console.wrapped(f"Also: {finding.fault}{where}: {finding.evidence}")
    for fault in result.file_faults:
        _console.wrapped(f"Also: {fault.fault}: {fault.evidence} {fault.next}")
    click.echo()
    rows = []
    for cause in result.causes:
        lost = (points(cause.lost_agreement), points(cause.lost_top1))
        rows.append((cause.cause, *lost, f"{100 * cause.error_share + 0.0:z.0f} %"))
    _console.table(
        f"Lost top-1 in points; one of {result.images} images "
        f"({Path(result.image_source).name}) is {100 / result.images:.1f}",
        ("cause", "agreement", "top-1", "share of the logits' error"),
        [*rows, ("all", points(result.lost_agreement), points(result.lost_top1), "100 %")],
    )
    if abs(result.agreement_top1 + result.lost_agreement - 1) > _TIES:
        _console.wrapped(_TIED)
    click.echo()
    _console.table(
        f"The worst {min(_WORST, len(result.layers))} of {len(result.layers)} layers",
        ("layer", "SQNR dB", "in file", "error/step", "clipped", "range", "weights dB"),
        [
            (
                layer.name,
                number(layer.local_sqnr_db),
                number(layer.accumulated_sqnr_db),
                number(layer.error_over_step, 2),
                _console.percent(layer.saturated, 1),
                _console.percent(layer.range_use, 0),
                number(layer.weights.sqnr_db if layer.weights else None),
            )
            for layer in result.layers[:_WORST]
        ],
    )
