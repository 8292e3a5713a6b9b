"""`edgezoo finetune`."""

from __future__ import annotations

from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, SEED, common, option, preprocessed, protected, quiet, trusted
from edgezoo.core.errors import counted
from edgezoo.core.escapes import shell
from edgezoo.finetuning.finetune_result import FinetuneResult
from edgezoo.images.folders import named


@click.command("finetune", short_help="Train MODEL on the classes of a folder.")
@click.argument("model", metavar="MODEL")
@option("--data DIR|FILE", "Contains a folder per class.", PATH, required=True)
@option("--split NAME", "Train on this folder of --data alone, such as train.")
@option("--alpha", "Width of a MobileNet.", float)
@option("--depth-multiplier", "Of MobileNet's depthwise layers.", int)
@option("--input-size PX|HxW", "Height and width in pixels: 224, or 96x128.")
@option(
    "--weights WORD|FILE",
    "Initial weights: imagenet (default), random or an .h5 file.",
    default="imagenet",
)
@option("--epochs", "Maximum for each stage.", shown=30)
@option("--learning-rate", "Of the top; the blocks use a hundredth of it.", shown=1e-3)
@option("--unfreeze-blocks N", "Last blocks to train after the top; 0 for the top only.", shown=2)
@option("--batch-size", shown=32)
@option("--patience N", "Epochs without a smaller validation loss that end a stage.", shown=5)
@option(
    "--held-out SHARE|DIR",
    "Images to score on: a share of each class, or another folder.",
    shown="0.2",
)
@option("--mirror/--no-mirror", "Train on mirrored images too (not for text).", default=True)
@option("--seed", "Of the split and the training.", SEED, default=0)
@preprocessed
@option("-o --output FILE", "The .keras file; by default a file in finetuned/.", PATH)
@trusted
@protected
@quiet
@common
def COMMAND(model: str, as_json: bool, debug: bool, quiet: bool, **options: Any) -> int:
    """Train MODEL on the classes of a folder, and write a .keras file.

    A new top is trained alone, then the last blocks with it at a lower learning rate. The
    file contains labels and preprocessing, so export, evaluate and classify need no options.
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
    plan = resolve(FinetuneRequest(model, arguments=chosen, **options))
    with _console.share(not quiet and not debug) as progress:
        result = execute(plan, progress, debug)
    if as_json:
        _console.print_json(result)
    else:
        _show(result)
    if result.interrupted:
        _console.note("Interrupted: the best state until then was written.")
        return 130
    return 0


def _show(result: FinetuneResult) -> None:
    for note in result.notes or ():
        _console.note(note)
    rows = []
    for stage in dict.fromkeys(epoch.stage for epoch in result.epochs):
        accuracies = [e.validation_accuracy for e in result.epochs if e.stage == stage]
        rows.append((stage, len(accuracies), _console.percent(max(accuracies))))
    _console.table(str(result.path), ("stage", "epochs", "best on validation"), rows)
    low, high = (100 * end for end in result.held_out.top1_ci95)
    _console.say(
        f"{_console.percent(result.held_out.top1)} of {result.images.held_out} held-out images are "
        f"classified correctly (95 %: {low:.1f} to {high:.1f})."
    )
    images = result.images
    if images.unreadable:
        names = named(images.unreadable_files, _console.verbose())
        _console.warn(f"Left out: {counted(images.unreadable, 'unreadable image')}: {names}.")
    if images.left_out:
        _console.warn(f"Left out: {named(images.left_out, _console.verbose())}.")
    if images.repeated:
        _console.warn(f"Left out: {counted(images.repeated, 'repeated image')}.")
    _console.note(f"Curve: {result.curve}")
    _console.next_command(f"edgezoo export {shell(result.path)} --int8 --calibration FOLDER")
