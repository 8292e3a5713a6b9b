"""`edgezoo evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from edgezoo import console
from edgezoo.cli.options import PATH, common, foreign, quiet


@click.command("evaluate")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@click.option("--images", required=True, type=PATH, metavar="DIR", help="Labelled images.")
@click.option(
    "--ground-truth",
    type=PATH,
    metavar="FILE",
    help="Classes of a flat folder: `file class` lines, or ILSVRC2012's own list.",
)
@click.option("--reference", type=PATH, metavar="ARTIFACT", help="Report agreement with it.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Score N images, spread over the folder."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@foreign
@quiet
@common
def COMMAND(
    artifacts: tuple[Path, ...],
    images: Path,
    ground_truth: Path | None,
    reference: Path | None,
    limit: int | None,
    threads: int,
    preprocessing: str | None,
    labels: Path | None,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Top-1 and top-5 accuracy on labelled images, with a 95 % interval.

    DIR holds a folder a class (named by wnid or by the model's label), or the flat ILSVRC2012
    validation images with their ground-truth file.
    """
    from edgezoo.evaluation import evaluate

    with console.bar(not quiet, None, "Scoring images") as progress:
        facts = evaluate(
            artifacts,
            images,
            ground_truth=ground_truth,
            reference=reference,
            limit=limit,
            threads=threads,
            preprocessing=preprocessing,
            labels=labels,
            progress=progress,
        )
    if as_json:
        console.print_json(facts)
        return
    rows = []
    for entry in facts["results"]:
        low, high = entry["top1_ci95"]
        rows.append(
            (
                Path(entry["artifact"]).name,
                entry["images"],
                console.percent(entry["top1"]),
                f"{100 * low:.1f} to {100 * high:.1f}",
                console.percent(entry["top5"]),
                console.percent(entry["agreement_top1"]),
            )
        )
    console.table(
        f"Accuracy on {images}",
        ("file", "images", "top-1", "95 % interval", "top-5", "agrees"),
        rows,
    )
    if any(not entry["trained"] for entry in facts["results"]):
        console.warn("Untrained weights: the accuracy means nothing.")
