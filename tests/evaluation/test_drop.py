"""The interval of a drop covers what it says, and verdicts are not given away."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import optimize, stats

from edgezoo.evaluation import drop
from edgezoo.evaluation.drop import Drop, images_needed, judge, paired_drop

DRAWS = 2000


@cache
def _interval(lost: int, won: int, images: int) -> tuple[float, float]:
    return drop.paired_interval(lost, won, images, 0.95)


def _outcomes(lost: int, won: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    reference, candidate = np.ones(images, bool), np.ones(images, bool)
    candidate[:lost] = False
    reference[lost : lost + won] = False
    return reference, candidate


def _draws(images: int, differ: float, drop: float) -> list[tuple[float, float]]:
    """Intervals of models that differ on a share of images and truly lose `drop`."""
    shares = [(differ + drop) / 2, (differ - drop) / 2, 1 - differ]
    drawn = np.random.default_rng(5).multinomial(images, shares, DRAWS)
    return [_interval(int(lost), int(won), images) for lost, won, _ in drawn]


@pytest.mark.parametrize(
    ("images", "differ", "drop"),
    [(650, 0.10, 0.0), (650, 0.10, 0.01), (650, 0.20, 0.05), (650, 0.03, 0.01),
     (200, 0.10, 0.02), (100, 0.10, 0.0), (100, 0.30, -0.05), (5000, 0.05, 0.005)],
)  # fmt: skip
def test_coverage(images: int, differ: float, drop: float) -> None:
    inside = np.mean([low <= drop <= high for low, high in _draws(images, differ, drop)])
    assert 0.93 <= inside <= 0.97


@pytest.mark.parametrize(("images", "differ"), [(50, 0.05), (650, 0.02), (650, 0.1), (650, 0.3)])
def test_equal_models_are_hardly_ever_called_worse(images: int, differ: float) -> None:
    verdicts = [judge(low, high, 0.01, True) for low, high in _draws(images, differ, 0)]
    assert verdicts.count("worse") <= 0.05 * DRAWS
    assert verdicts.count("suspicious gain") <= 0.05 * DRAWS


def test_models_at_the_margin_are_hardly_ever_called_equal() -> None:
    """A drop just as large as the margin is no equality, however many images there are."""
    verdicts = [judge(low, high, 0.01, True) for low, high in _draws(20_000, 0.05, 0.01)]
    assert verdicts.count("equal") <= 0.05 * DRAWS
    assert verdicts.count("worse") >= 0.9 * DRAWS


def test_large_drops_are_found() -> None:
    verdicts = [judge(low, high, 0.01, True) for low, high in _draws(650, 0.15, 0.06)]
    assert verdicts.count("worse") >= 0.95 * DRAWS


def _likelihood_score(lost: int, won: int, images: int, drop: float) -> float:
    """The score test with its nuisance share found by maximising the likelihood numerically."""

    def minus_log(share: float) -> float:
        counts = np.array([lost, won, images - lost - won])
        shares = np.array([share + drop, share, 1 - 2 * share - drop])
        return -float(np.sum(counts * np.log(np.maximum(shares, 1e-300))))

    bounds = (max(0.0, -drop), (1 - drop) / 2)
    share = optimize.minimize_scalar(minus_log, bounds=bounds, method="bounded",
                                     options={"xatol": 1e-12}).x  # fmt: skip
    variance = images * (2 * share + drop - drop**2)
    return float((lost - won - images * drop) / variance**0.5)


@pytest.mark.parametrize(
    ("lost", "won", "images"), [(30, 20, 650), (5, 1, 100), (7, 0, 60), (40, 90, 400), (1, 0, 44)]
)
def test_ends_are_where_the_score_test_rejects(lost: int, won: int, images: int) -> None:
    low, high = _interval(lost, won, images)
    z = stats.norm.ppf(0.975)
    assert _likelihood_score(lost, won, images, low) == pytest.approx(z, rel=1e-3)
    assert _likelihood_score(lost, won, images, high) == pytest.approx(-z, rel=1e-3)


def test_agrees_with_mcnemar() -> None:
    """The interval leaves 0 out where McNemar's test (without correction) rejects equality."""
    for lost in range(40):
        for won in range(40):
            low, high = _interval(lost, won, 500)
            chi2 = (lost - won) ** 2 / max(lost + won, 1)
            assert (low > 0 or high < 0) == (chi2 > stats.chi2.ppf(0.95, 1))


def test_limits() -> None:
    assert _interval(0, 0, 100) == pytest.approx((-0.037, 0.037), abs=1e-4)
    assert _interval(100, 0, 100)[1] == 1 and _interval(0, 100, 100)[0] == -1
    low, high = _interval(12, 5, 300)
    assert _interval(5, 12, 300) == pytest.approx((-high, -low))
    wide = drop.paired_interval(12, 5, 300, 0.99)
    assert wide[0] < low < 7 / 300 < high < wide[1]


def test_paired_drop_counts_pairs() -> None:
    reference = np.array([1, 1, 1, 0, 0, 1, 0, 1], bool)
    candidate = np.array([1, 0, 0, 1, 0, 1, 0, 1], bool)
    outcome = paired_drop(reference, candidate)
    assert (outcome.lost, outcome.won, outcome.images) == (2, 1, 8)
    assert outcome.drop == pytest.approx(reference.mean() - candidate.mean())
    assert outcome.low < outcome.drop < outcome.high
    narrow = paired_drop(reference, candidate, confidence=0.5)
    assert outcome.low < narrow.low < narrow.high < outcome.high
    for other in (candidate[:-1], candidate[None], candidate[:0]):
        with pytest.raises(ValueError, match="outcomes"):
            paired_drop(reference if len(other) else other, other)


@pytest.mark.parametrize(
    ("low", "high", "same", "expected"),
    [
        (-0.009, 0.009, True, "equal"),
        (0.002, 0.008, True, "equal"),
        (0.002, 0.012, True, "worse"),
        (-0.012, 0.009, True, "cannot tell"),
        (-0.009, 0.012, True, "cannot tell"),
        (-0.03, -0.001, True, "suspicious gain"),
        (-0.005, -0.001, True, "suspicious gain"),
        (-0.03, -0.001, False, "better"),
    ],
)
def test_verdicts(low: float, high: float, same: bool, expected: str) -> None:
    assert judge(low, high, 0.01, same) == expected


@pytest.mark.parametrize(("lost", "won", "images"), [(3, 2, 200), (30, 25, 650), (0, 0, 50)])
def test_images_needed_are_just_enough(lost: int, won: int, images: int) -> None:
    outcome = paired_drop(*_outcomes(lost, won, images))
    assert judge(*outcome.interval, 0.01, True) == "cannot tell"
    needed = images_needed(outcome, 0.01)
    assert needed is not None

    def verdict(count: int) -> str:
        scale = count / images
        return judge(*drop.paired_interval(lost * scale, won * scale, count, 0.95), 0.01, True)

    assert verdict(needed) != "cannot tell" and verdict(needed - 1) == "cannot tell"


def test_decided_asks_for_no_more() -> None:
    for lost, won, images in ((1, 1, 1300), (40, 2, 650), (2, 40, 650)):
        assert images_needed(paired_drop(*_outcomes(lost, won, images)), 0.01) is None
    assert images_needed(Drop(5, 5, 100, -0.07, 0.07), 1e-6) is None, "beyond ten million"
