"""`edgezoo finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, quiet, trusted
from edgezoo.core.errors import counted


@click.command("finetune", short_help="Teach MODEL the classes of a folder.")
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, type=PATH, metavar="DIR", help="A folder a class.")
@click.option("--alpha", type=float, help="Width of a MobileNet.")
@click.option("--depth-multiplier", type=int, help="Of MobileNet's depthwise layers.")
@click.option("--input-size", type=int, metavar="PX", help="Height and width in pixels.")
@click.option(
    "--weights",
    default="imagenet",
    metavar="WORD|FILE",
    help="What to start from: imagenet (default), random or an .h5 file.",
)
@click.option("--epochs", default=30, show_default=True, help="At the most, of each stage.")
@click.option(
    "--learning-rate",
    default=1e-3,
    show_default=True,
    help="Of the top; the blocks learn at a hundredth of it.",
)
@click.option(
    "--unfreeze-blocks",
    default=2,
    show_default=True,
    metavar="N",
    help="Blocks that learn after the top; 0 for the top alone.",
)
@click.option("--batch-size", default=32, show_default=True)
@click.option(
    "--patience",
    default=5,
    show_default=True,
    metavar="N",
    help="Epochs without progress that end a stage.",
)
@click.option(
    "--held-out",
    default="0.2",
    show_default=True,
    metavar="SHARE|DIR",
    help="What to score on: a share of each class, or a folder of its own.",
)
@click.option(
    "--mirror/--no-mirror", default=True, help="Train on mirrored pictures too (not for text)."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the split and the training.")
@click.option(
    "--preprocessing",
    metavar="MODE",
    help="tf, caffe, torch or none, where MODEL is a file that does not tell it.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="The .keras file; in finetuned/ where left out.",
)
@trusted
@quiet
@common
def COMMAND(
    model: str, as_json: bool, debug: bool, quiet: bool, held_out: str, **options: Any
) -> int:
    """Teach MODEL the classes of a folder, and write a .keras file that knows them.

    The top is replaced and learns alone; then the last blocks learn with it, slowly. What is
    written carries labels and preprocessing: export, evaluate and classify take it as it is.
    Ctrl-C ends the training and keeps the best state so far.

    \b
    Examples:
      edgezoo finetune mobilenet --alpha 0.25 --data flowers/
      edgezoo export finetuned/mobilenet_224_flowers.keras --int8 \\
          --calibration flowers/
    """
    from edgezoo.finetuning.finetune import execute
    from edgezoo.finetuning.finetune_request import FinetuneRequest, resolve
    from edgezoo.networks import arguments

    chosen = arguments.taken_from(options)
    plan = resolve(FinetuneRequest(model, arguments=chosen, held_out=_share(held_out), **options))
    with _console.share(not quiet and not debug) as progress:
        result = execute(plan, progress, debug)
    if as_json:
        _console.print_json(result.facts)
    else:
        _show(result.facts)
    if result.interrupted:
        _console.note("Interrupted: the best state until then was kept.")
        return 130
    return 0


def _share(word: str) -> float | Path:
    """A share, or the folder of that name."""
    try:
        return float(word)
    except ValueError:
        return Path(word)


def _show(facts: dict[str, Any]) -> None:
    scored, counts = facts["held_out"], facts["images"]
    rows = []
    for stage in dict.fromkeys(epoch["stage"] for epoch in facts["epochs"]):
        epochs = [epoch for epoch in facts["epochs"] if epoch["stage"] == stage]
        best = max(epoch["validation_accuracy"] for epoch in epochs)
        rows.append((stage, len(epochs), _console.percent(best)))
    _console.table(facts["path"], ("stage", "epochs", "best on validation"), rows)
    low, high = (100 * end for end in scored["top1_ci95"])
    print(
        f"{_console.percent(scored['top1'])} of {counts['held_out']} held-out images are right "
        f"(95 %: {low:.1f} to {high:.1f})."
    )
    for name in ("unreadable", "repeated"):
        if counts[name]:
            _console.warn(f"Left out: {counted(counts[name], f'{name} image')}.")
    _console.note(f"Curve: {facts['curve']}")
    _console.next_command(f"edgezoo export {facts['path']} --int8 --calibration FOLDER")
