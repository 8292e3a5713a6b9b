"""`edgezoo explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, quiet

_WORST = 10
# What the table and the first line may differ by, of all images, without a word.
_TIES = 5e-4
_TIED = (
    "In the table, equal best classes of the file share an image; the first line counts the one "
    "that comes first, as evaluate does."
)


@click.command("explain")
@click.argument("artifact", type=PATH)
@click.option(
    "--images",
    default="synthetic",
    metavar="DIR|NPZ",
    help="What to run. A folder a class gives top-1 too.",
)
@click.option(
    "--count", type=click.IntRange(2), default=64, show_default=True, help="Images to run."
)
@click.option(
    "--float",
    "float_file",
    type=PATH,
    metavar="FILE",
    help="Compare with this float32 .tflite of the same network, not with Keras.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="The weights that the file was made from, where they came from a file.",
)
@click.option(
    "--preprocessing",
    metavar="MODE",
    help="tf, caffe or torch: what a file without a contract of EdgeZoo's wants.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the choice of images.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page with plots there.")
@quiet
@common
def COMMAND(
    artifact: Path,
    images: str,
    count: int,
    float_file: Path | None,
    weights: str | None,
    preprocessing: str | None,
    seed: int,
    html: Path | None,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Say where an int8 file loses accuracy: by cause, and by layer.

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
        facts = explain_file(
            artifact,
            images=images,
            count=count,
            float_file=float_file,
            weights=weights,
            preprocessing=preprocessing,
            seed=seed,
            progress=progress,
            debug=debug,
        )
    if facts["overlap"]:
        _console.warn(
            f"{facts['overlap']} of {facts['images']} images calibrated {artifact}: it may lose "
            "more on others."
        )
    facts["page"] = str(html) if html is not None else None
    if html is not None:
        page.write(facts, html)
    if as_json:
        _console.print_json(facts)
        return
    _print(facts)
    if html is not None and not quiet:
        _console.note(f"Page with plots: {html}")
    _console.next_command(f"edgezoo evaluate {artifact} --images FOLDER_OF_CLASSES")


def _print(facts: dict[str, Any]) -> None:
    click.echo(click.wrap_text(facts["verdict"]["text"], 80))
    for finding in facts["findings"][1:]:
        where = f" ({finding['layer']})" if finding["layer"] else ""
        click.echo(click.wrap_text(f"Also: {finding['fault']}{where}: {finding['evidence']}", 80))
    click.echo()
    _console.table(
        f"Lost top-1 in points; one of {facts['images']} images "
        f"({Path(facts['image_source']).name}) is {100 / facts['images']:.1f}",
        ("cause", "agreement", "top-1", "share of the logits' error"),
        [
            (
                cause["cause"],
                _points(cause["lost_agreement"]),
                _points(cause["lost_top1"]),
                f"{100 * cause['error_share'] + 0.0:z.0f} %",
            )
            for cause in facts["causes"]
        ]
        + [("all", _points(facts["lost_agreement"]), _points(facts["lost_top1"]), "100 %")],
    )
    if abs(facts["agreement_top1"] + facts["lost_agreement"] - 1) > _TIES:
        _console.say(click.wrap_text(_TIED, 80))
    click.echo()
    _console.table(
        f"The {min(_WORST, len(facts['layers']))} layers of {len(facts['layers'])} that lose most",
        ("layer", "SQNR dB", "in file", "error/step", "clipped", "range", "weights dB"),
        [
            (
                layer["name"],
                _number(layer["local_sqnr_db"]),
                _number(layer["accumulated_sqnr_db"]),
                _number(layer["error_over_step"], 2),
                _clipped(layer),
                _console.percent(layer["range_use"], 0),
                _number(layer["weights"] and layer["weights"]["sqnr_db"]),
            )
            for layer in facts["layers"][:_WORST]
        ],
    )


def _points(share: float | None) -> str:
    """A share in percentage points; what is given back has a minus."""
    return "-" if share is None else f"{100 * share + 0:.1f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _clipped(layer: dict[str, Any]) -> str:
    if layer["saturated_low"] is None:
        return "-"
    return _console.percent(layer["saturated_low"] + layer["saturated_high"], 1)
