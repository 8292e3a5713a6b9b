"""Figures of classes that do not exclude one another: F1 at a threshold, and average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.typed_json import Share


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """How well classes are found that do not exclude one another.

    Attributes:
        threshold: least probability of a class that counts as found
        micro_f1: harmonic mean of precision and recall, over all images and classes
        macro_f1: mean of the classes' own
        mean_average_precision: mean over classes of the average precision, without a threshold
    """

    threshold: Share
    micro_f1: Share
    macro_f1: Share
    mean_average_precision: Share


def truth_of(every: Sequence[Sequence[int]], classes: int) -> NDArray[np.bool_]:
    """Return whether each class is right, shape (images, classes), by the classes of each image."""
    truth = np.zeros((len(every), classes), np.bool_)
    for row, right in zip(truth, every, strict=True):
        row[[*right]] = True
    return truth


def measure(scores: NDArray[np.float32], truth: NDArray[np.bool_], threshold: float) -> MultiLabel:
    """Return the figures of scores.

    Classes without an image are left out of the means over classes: nothing is known about them.

    Args:
        scores: probability of each class, shape (images, classes).
        truth: whether each class is right, of the same shape.
        threshold: least probability that counts as found.
    """
    found = scores >= threshold
    hits, said, wanted = (found & truth).sum(0), found.sum(0), truth.sum(0)
    shown = wanted > 0
    each = _f1(hits[shown], said[shown], wanted[shown])
    micro = _f1(hits.sum(), said.sum(), wanted.sum())
    columns = np.flatnonzero(shown)
    precisions = [_average_precision(scores[:, i], truth[:, i]) for i in columns]
    return MultiLabel(threshold, float(micro), float(np.mean(each)), float(np.mean(precisions)))


def _f1(hits: NDArray[np.intp], said: NDArray[np.intp], wanted: NDArray[np.intp]) -> Any:
    return 2 * hits / np.maximum(said + wanted, 1)


def _average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Return the area under precision over recall, as a sum over the images that are right.

    Images with the same score count together, so that their order does not matter.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], truth[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(right)[ends]
    precision, recall = hits / (ends + 1), hits / right.sum()
    return float((precision * np.diff(recall, prepend=0)).sum())
