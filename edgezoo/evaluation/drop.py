"""Confidence intervals of an accuracy, and of its drop from one file to another.

Both files classify the same images, so only those count that one of them classifies correctly and
the other does not. The interval is Tango's score interval for the difference of paired proportions
(T. Tango, Statistics in Medicine 17, 891-908, 1998). Like Wilson's interval of a single proportion
it inverts a score test, and keeps its coverage where few answers differ. It needs no package,
because devices evaluate too. Everything here is in shares; results are in percentage points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["equal", "worse", "better", "suspicious gain", "cannot tell"]
EQUAL_WITHIN = 0.01
_STEPS = 60
_MOST_IMAGES = 10_000_000


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (E. B. Wilson, JASA 22, 209-212, 1927)."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    p = successes / n
    # The roots p0 of |p - p0| = z sqrt(p0 (1 - p0) / n): the variance is that of the hypothesis p0,
    # not that of the observed p, so the interval neither collapses at 0 or 1 nor leaves [0, 1].
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def above_chance(successes: int, n: int, chance: float) -> bool:
    """Return whether the successes exceed chance, by an exact binomial test.

    The test is one-sided at 97.5 %: the lower end of the Clopper-Pearson interval (Biometrika 26,
    1934) is then above chance. Wilson's interval is not exact where one success is expected or
    less.
    """
    from scipy.stats import binomtest

    return float(binomtest(successes, n, chance, alternative="greater").pvalue) <= 0.025


@dataclass(frozen=True, slots=True)
class Drop:
    """The drop in accuracy from a reference to a candidate on the same images; gains are negative.

    Attributes:
        lost: images that only the reference classifies correctly.
        won: images that only the candidate classifies correctly.
        images: all images.
        low, high: confidence interval of the drop, as shares.
    """

    lost: int
    won: int
    images: int
    low: float
    high: float

    @property
    def drop(self) -> float:
        """Accuracy of the reference minus accuracy of the candidate."""
        return (self.lost - self.won) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the confidence interval."""
        return self.low, self.high

    def at(self, confidence: float) -> Drop:
        """Return the same drop with the two-sided interval of another confidence."""
        low, high = paired_interval(self.lost, self.won, self.images, confidence)
        return Drop(self.lost, self.won, self.images, low, high)


def paired_drop(
    reference: NDArray[np.bool_], candidate: NDArray[np.bool_], confidence: float = 0.95
) -> Drop:
    """Return the drop in accuracy with its two-sided interval.

    Args:
        reference, candidate: whether each image was classified correctly, shape (images,), in the
            same order.
        confidence: probability that the interval covers the true drop.

    Raises:
        ValueError: no images, or different numbers of them.
    """
    if reference.shape != candidate.shape or reference.ndim != 1 or not len(reference):
        raise ValueError(f"outcomes of shape {reference.shape} and {candidate.shape}")
    lost, won = int((reference & ~candidate).sum()), int((~reference & candidate).sum())
    low, high = paired_interval(lost, won, len(reference), confidence)
    return Drop(lost, won, len(reference), low, high)


def paired_interval(
    lost: float, won: float, images: float, confidence: float
) -> tuple[float, float]:
    """Return Tango's score interval of (lost - won) / images; the counts may be fractions."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    high = _upper(lost, won, images, z)
    return -_upper(won, lost, images, z), high


def _upper(lost: float, won: float, images: float, z: float) -> float:
    """Return the largest drop that the score test does not reject.

    The statistic falls as the drop grows, and is at least 0 at the observed drop, so bisection
    between that and 1 finds where it passes -z.
    """
    inside, outside = (lost - won) / images, 1.0
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if _score(lost, won, images, middle) >= -z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(lost: float, won: float, images: float, drop: float) -> float:
    """Return Tango's statistic, which is standard normal where `drop` is the true drop."""
    # Under the hypothesis only the share q of images won is free (that of images lost is q + drop).
    # Its maximum-likelihood estimate is the larger root of a q^2 + b q + c = 0.
    a, c = 2 * images, -won * drop * (1 - drop)
    b = -lost - won + (2 * images - lost + won) * drop
    share = ((max(0.0, b * b - 4 * a * c)) ** 0.5 - b) / (2 * a)
    variance = images * (2 * share + drop * (1 - drop))  # of lost - won
    difference = lost - won - images * drop
    if variance <= 0:
        return 0.0 if difference == 0 else float("inf") * difference
    return float(difference / variance**0.5)


def judge(low: float, high: float, equal_within: float, same_network: bool) -> Verdict:
    """Return the verdict on an interval of the drop.

    A gain that the interval does not explain comes first: quantization does not improve a network,
    so the images are few or special, or were calibrated on. Next, a drop that is proved smaller
    than `equal_within` is called equal even where it is proved not to be 0.

    Args:
        low, high: interval of the drop, as shares.
        equal_within: the largest difference that does not matter, as a share.
        same_network: whether both files have the same trained weights.
    """
    if high < 0:
        return "suspicious gain" if same_network else "better"
    if -equal_within <= low and high <= equal_within:
        return "equal"
    return "worse" if low > 0 else "cannot tell"


def images_needed(outcome: Drop, equal_within: float, confidence: float = 0.95) -> int | None:
    """Estimate how many images would give a verdict, at the same shares of lost and won.

    None where the present images suffice, or ten million would not.
    """

    def decided(low: float, high: float) -> bool:
        return judge(low, high, equal_within, True) != "cannot tell"

    return _fewest(outcome, confidence, decided)


def images_to_prove(outcome: Drop, limit: float, confidence: float) -> int | None:
    """Estimate how many images would prove a drop below a limit, as `images_needed` does.

    Args:
        limit: of the one-sided upper bound, a share.
        confidence: of that bound.
    """
    if outcome.drop >= limit:
        return None
    return _fewest(outcome, 2 * confidence - 1, lambda low, high: high <= limit)


def _fewest(
    outcome: Drop, confidence: float, decided: Callable[[float, float], bool]
) -> int | None:
    """Return the least number of images whose interval decides, or None; see `images_needed`."""
    lost, won = outcome.lost / outcome.images, outcome.won / outcome.images

    def enough(images: int) -> bool:
        return decided(*paired_interval(lost * images, won * images, images, confidence))

    few = many = outcome.images
    while not enough(many):
        few, many = many, 2 * many
        if many > _MOST_IMAGES:
            return None
    if many == few:
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many
