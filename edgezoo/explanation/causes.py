"""Splits the loss between source and file into shares of causes.

With 8-bit scores the best classes of an image are often equal, and their order is arbitrary. Such
an image counts by the share of its best classes that is correct, here but not in `evaluate`, so
the shares of causes do not depend on the order of classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np

from edgezoo.core.arrays import Floats, Labels
from edgezoo.core.typed_json import Range, Share
from edgezoo.evaluation.agreement import sqnr_db

CauseName = Literal["preprocessing", "conversion", "weights", "activations", "kernel"]
StageName = Literal["source", "float file", "base", "weights", "activations", "both", "file"]
CAUSES: tuple[CauseName, ...] = get_args(CauseName)
_TINY = 1e-37


@dataclass(frozen=True, slots=True)
class Stage:
    """One way to run the images.

    Attributes:
        name: base is the float network on the input of the file's first layer.
        agreement_top1: share of images with the source's best class.
        sqnr_db: of the logits, against the source's; null if nothing differs.
        top1: share of images with the correct class; null without labels.
        error: power of the logits' error over the power of the source's logits.
    """

    name: StageName
    agreement_top1: Share
    sqnr_db: float | None
    top1: Share | None
    error: Annotated[float, Range(0)]


@dataclass(frozen=True, slots=True)
class Cause:
    """The loss due to one cause; negative if it compensates for others.

    Attributes:
        lost_agreement: share of images.
        lost_top1: share of images; null without labels.
        error_share: of the power of the logits' error.
    """

    cause: CauseName
    lost_agreement: float
    lost_top1: float | None
    error_share: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores and logits of all images at one stage, both (n, classes)."""

    scores: Floats
    logits: Floats


def logits_of(probabilities: Floats, *, independent: bool = False) -> Floats:
    """Return the logits of probabilities (n, classes), up to a constant per image.

    Where classes do not exclude one another, each is that of a sigmoid.
    """
    logits = np.log(np.maximum(probabilities, np.float32(_TINY)))
    if independent:
        logits -= np.log(np.maximum(1 - probabilities, np.float32(_TINY)))
    return logits


def stage(name: StageName, source: Answers, got: Answers, labels: Labels | None) -> Stage:
    """Compare one stage with the source.

    Logits are compared without their mean, since softmax does not depend on it.
    """
    wanted = source.logits - source.logits.mean(1, keepdims=True)
    found = got.logits - got.logits.mean(1, keepdims=True)
    ratio = sqnr_db(wanted, found)
    kept = _hits(got.scores, source.scores.argmax(1))
    top1 = None if labels is None else _hits(got.scores, labels)
    return Stage(name, kept, ratio if math.isfinite(ratio) else None, top1, 10 ** (-ratio / 10))


def _hits(scores: Floats, classes: Labels) -> float:
    """Return the share of rows whose best class is the given one; equal best classes share it."""
    best = scores == scores.max(1, keepdims=True)
    return float(np.mean(best[np.arange(len(scores)), classes] / best.sum(1)))


def _split(loss: dict[StageName, float]) -> dict[CauseName, float]:
    """Split the difference of a loss between source and file."""
    float_file = loss.get("float file", loss["source"])
    # First of the two and second of the two, for weights (w) and activations (a).
    first_w, first_a = loss["weights"] - loss["base"], loss["activations"] - loss["base"]
    second_w, second_a = loss["both"] - loss["activations"], loss["both"] - loss["weights"]
    return {
        "preprocessing": loss["base"] - float_file,
        "conversion": float_file - loss["source"],
        "weights": (first_w + second_w) / 2,
        "activations": (first_a + second_a) / 2,
        "kernel": loss["file"] - loss["both"],
    }


def decompose(stages: Mapping[StageName, Stage]) -> tuple[Cause, ...]:
    """Split the loss from the source to the file among the causes; the shares add up to it.

    Conversion, preprocessing and kernel are the differences of two consecutive stages. Weights and
    activations act together: each gets the mean of its loss alone and its loss in addition to the
    other. These are their Shapley values (L. S. Shapley, A Value for n-Person Games, 1953): the
    marginal contribution, averaged over both orders of the two. The "float file" may be missing.
    """
    total = stages["file"].error - stages["source"].error
    agreement = _split({name: -stage.agreement_top1 for name, stage in stages.items()})
    error = _split({name: stage.error for name, stage in stages.items()})
    labelled = stages["file"].top1 is not None
    accuracy = _split({name: -(stage.top1 or 0) for name, stage in stages.items()})
    shares = {cause: error[cause] / total if total > 0 else 0.0 for cause in CAUSES}
    top1 = {cause: accuracy[cause] if labelled else None for cause in CAUSES}
    return tuple(Cause(cause, agreement[cause], top1[cause], shares[cause]) for cause in CAUSES)
