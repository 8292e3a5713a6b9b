"""From the answers of each stage to the share that each cause has in the loss.

In 8 bits the best classes of an image are often equal, and which one comes first is chance. Such
an image counts by the share of its best classes that is right, here but not in `evaluate`: so the
shares of causes do not hang on the order of classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgezoo.evaluation.agreement import sqnr_db

CAUSES = ("preprocessing", "conversion", "weights", "activations", "kernel")
_TINY = 1e-37


@dataclass(frozen=True, slots=True)
class Stage:
    """One way to run the images.

    Attributes:
        agreement_top1: share of images with the source's best class.
        sqnr_db: of the logits, against the source's; None where nothing differs.
        top1: share of images with the right class; None without labels.
        error: power of the logits' error over the power of the source's logits.
    """

    name: str
    agreement_top1: float
    sqnr_db: float | None
    top1: float | None
    error: float


@dataclass(frozen=True, slots=True)
class Cause:
    """What one cause takes; negative where it happens to give something back.

    Attributes:
        lost_agreement: share of images.
        lost_top1: share of images; None without labels.
        error_share: of the power of the logits' error.
    """

    cause: str
    lost_agreement: float
    lost_top1: float | None
    error_share: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores and logits of all images by one stage, both (n, classes)."""

    scores: NDArray[np.float32]
    logits: NDArray[np.float32]


def logits_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits, up to a constant an image, of float probabilities (n, classes)."""
    return np.log(np.maximum(probabilities, np.float32(_TINY)))


def stage(name: str, source: Answers, got: Answers, labels: NDArray[np.int64] | None) -> Stage:
    """Compare one stage with the source.

    Logits are compared without their mean, which no softmax sees.
    """
    wanted = source.logits - source.logits.mean(1, keepdims=True)
    found = got.logits - got.logits.mean(1, keepdims=True)
    ratio = sqnr_db(wanted, found)
    return Stage(
        name,
        _hits(got.scores, source.scores.argmax(1)),
        ratio if math.isfinite(ratio) else None,
        None if labels is None else _hits(got.scores, labels),
        10 ** (-ratio / 10),
    )


def _hits(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Share of rows whose best class is the given one; equal best classes share a row."""
    best = scores == scores.max(1, keepdims=True)
    return float(np.mean(best[np.arange(len(scores)), classes] / best.sum(1)))


def decompose(stages: dict[str, Stage]) -> tuple[Cause, ...]:
    """Split the loss from the source to the file among the causes; the shares add up to it.

    Conversion, preprocessing and kernel are the differences of two stages that follow one
    another. Weights and activations act together: each gets the mean of what it takes alone and
    of what it takes beside the other (their Shapley value, L. S. Shapley, A Value for n-Person
    Games, 1953).

    Args:
        stages: "source", "float file", "base", "weights", "activations", "both" and "file"; the
            float file may be missing.
    """
    total = stages["file"].error - stages["source"].error

    def split(pick: str) -> dict[str, float]:
        def of(name: str) -> float:
            value = getattr(stages[name], pick)
            return float(value) if pick == "error" else -float(value)

        float_stage = "float file" if "float file" in stages else "source"
        alone_w, alone_a = of("weights") - of("base"), of("activations") - of("base")
        after_w, after_a = of("both") - of("activations"), of("both") - of("weights")
        return {
            "preprocessing": of("base") - of(float_stage),
            "conversion": of(float_stage) - of("source"),
            "weights": (alone_w + after_w) / 2,
            "activations": (alone_a + after_a) / 2,
            "kernel": of("file") - of("both"),
        }

    agreement, error = split("agreement_top1"), split("error")
    accuracy = split("top1") if stages["file"].top1 is not None else None
    return tuple(
        Cause(
            cause,
            agreement[cause],
            accuracy[cause] if accuracy else None,
            error[cause] / total if total > 0 else 0.0,
        )
        for cause in CAUSES
    )
