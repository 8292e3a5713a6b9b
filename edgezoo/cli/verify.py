"""`edgezoo verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgezoo import console
from edgezoo.cli.options import PATH, common, quiet


@click.command("verify", short_help="Compare files with the Keras network they come from.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@click.option("--images", default="synthetic", metavar="DIR|NPZ", help="What to compare on.")
@click.option(
    "--count", type=click.IntRange(2), default=64, show_default=True, help="Images to compare on."
)
@click.option(
    "--weights",
    metavar="FILE",
    help="The weights that the files were made from, where they came from a file.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the choice of images.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Exit 6 where fewer images than this share keep their top-1.",
)
@quiet
@common
def COMMAND(
    artifacts: tuple[Path, ...],
    images: str,
    count: int,
    weights: str | None,
    seed: int,
    min_agreement: float | None,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Compare files with the Keras network that they were made from, and with one another.

    \b
    Examples:
      edgezoo verify exported/mobilenet_0.5_160_*.onnx
      edgezoo verify m_int8.tflite m_int8.onnx --images photos/ --count 200
      edgezoo verify mine.tflite --weights mine.weights.h5 --min-agreement 0.95
    """
    from edgezoo.pipeline.verify import verify_files

    with console.status(not quiet and not debug) as progress:
        facts = verify_files(
            artifacts,
            images=images,
            count=count,
            weights=weights,
            seed=seed,
            min_agreement=min_agreement,
            progress=progress,
            debug=debug,
        )
    if as_json:
        console.print_json(facts)
    else:
        rows = [
            (
                Path(entry["artifact"]).name,
                entry["verdict"],
                console.agreement(entry),
                console.decibels(entry),
                "-" if entry["max_abs_diff"] is None else f"{entry['max_abs_diff']:.1e}",
            )
            for entry in facts["results"]
        ]
        agree = "same top-1" if facts["results"][0]["cosine"] is None else "cosine"
        console.table(
            f"Against Keras on {facts['images']} images ({facts['image_source']})",
            ("file", "verdict", agree, "SQNR dB", "max diff"),
            rows,
        )
        console.next_command(f"edgezoo evaluate {artifacts[0]} --images FOLDER_OF_CLASSES")
    for entry in facts["results"]:
        for text in entry["failures"]:
            console.note(f"Failed: {entry['artifact']}: {text}")
    return 0 if facts["passed"] else 6
