"""The result of a fine-tuning, as `edgezoo finetune --json` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from edgezoo.core.typed_json import Count, JsonObject, Positive, Range, Share, optional
from edgezoo.images.folders import LeftOut

Stage = Literal["top", "blocks"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Figures of one epoch.

    Attributes:
        stage: layers that were trained.
        loss: cross-entropy on the training images.
        best: no earlier epoch had a smaller validation loss.
    """

    stage: Stage
    loss: float
    accuracy: Share
    validation_loss: float
    validation_accuracy: Share
    best: bool


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Images by use.

    Attributes:
        unreadable, unreadable_files: files that were left out; names and reasons.
        repeated: files that were left out because another file has the same bytes.
        left_out: what else is in the folders: pipes, formats that are not read, empty folders.
    """

    train: Count
    validation: Count
    held_out: Count
    unreadable: Count
    unreadable_files: tuple[LeftOut, ...]
    repeated: Count
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """Accuracy on the held-out images, measured once after the training.

    Attributes:
        top1_ci95: 95 % confidence interval.
        files: relative to their folder.
    """

    top1: Share
    top1_ci95: tuple[Share, Share]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FinetuneResult(JsonObject):
    """A fine-tuned network, and its accuracy.

    Attributes:
        path: the .keras file, with labels and preprocessing.
        curve: the learning curve, an SVG image.
        record: this object, as a file.
        model: the network before the training.
        labels: in the order of the outputs.
        best_epoch: whose state was written; counted from 1 over both stages.
        learning_parameters: of top and blocks together; null if the blocks were not trained.
        interrupted: Ctrl-C ended the training, and the best state until then was written.
        notes: what was assumed for a network without a contract.
    """

    path: Path
    curve: Path
    record: Path
    model: str
    input_size: Positive
    labels: tuple[str, ...]
    images: ImageCounts
    held_out: HeldOutScore
    epochs: tuple[Epoch, ...]
    best_epoch: Positive
    learning_parameters: int | None
    interrupted: bool
    seed: Annotated[int, Range(0)]
    notes: tuple[str, ...] | None = optional()
