"""Intervals that hold what they promise, against scipy and by simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgezoo.core import typed_json
from edgezoo.measurement.statistics import (
    Ratio,
    ReportedRatio,
    _signed_rank_cut,
    apart,
    drift,
    median_interval,
    ratio,
    summary,
)


def test_summary_of_known_numbers() -> None:
    blocks = [list(range(1, 11)), list(range(11, 21))]
    facts = summary(blocks)
    assert facts.median == 10.5 and facts.min == 1 and facts.n == 20
    assert facts.mad == 5 and facts.outliers == 0
    assert facts.drift == pytest.approx(15.5 / 5.5 - 1)
    assert facts.p5 < facts.ci95[0] <= 10.5 <= facts.ci95[1] < facts.p95
    assert facts.p99 is None


def test_p99_needs_a_thousand_runs() -> None:
    values = np.random.default_rng(0).normal(10, 1, (100, 10))
    assert summary(values.tolist()).p99 == pytest.approx(np.percentile(values, 99))
    assert summary(values[:99].tolist()).p99 is None


def test_outliers_are_counted_and_kept() -> None:
    blocks = [[10.0, 10.1, 9.9, 10.0, 10.05, 50.0]] * 4
    facts = summary(blocks)
    assert facts.outliers == 4 and facts.n == 24 and facts.p95 > 20


def test_median_interval_covers() -> None:
    """With blocks that differ among themselves; a bootstrap over runs would cover about half."""
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        blocks = 10 + rng.normal(0, 1, (20, 1)) + rng.normal(0, 0.3, (20, 15))
        low, high = median_interval(blocks.tolist(), seed)
        hits += low <= 10 <= high
    assert 180 <= hits <= 199


def test_median_interval_of_blocks_of_unequal_length() -> None:
    low, high = median_interval([[1.0, 2.0, 3.0], [2.0], [2.0, 2.5]])
    assert 1 <= low <= 2 <= high <= 3


@pytest.mark.parametrize("n", [6, 8, 10, 17, 25])
def test_cut_is_that_of_wilcoxons_table(n: int) -> None:
    """(Hollander, Wolfe and Chicken 2014, table A.4; scipy's exact p-values)."""
    from scipy.stats import wilcoxon

    cut = _signed_rank_cut(n)

    def p(total: int) -> float:
        """Of a sample of n whose positive ranks sum to `total`."""
        signs, left = np.full(n, -1.0), total
        for rank in range(n, 0, -1):
            if rank <= left:
                signs[rank - 1], left = 1.0, left - rank
        assert left == 0
        return float(wilcoxon(signs * np.arange(1, n + 1), method="exact").pvalue)

    assert p(cut - 1) <= 0.05 < p(cut)


def test_fewer_than_six_rounds_bound_nothing() -> None:
    assert [_signed_rank_cut(n) for n in (1, 2, 5)] == [0, 0, 0]
    blocks = [[1.0, 1.1]] * 8
    found = ratio(blocks, blocks)
    assert (found.estimate, found.low, found.high) == (1.0, 0.0, math.inf)
    assert found.reported().high is None
    json.dumps(typed_json.encode(found.reported()), allow_nan=False)


def test_ratio_covers_and_one_bad_round_does_no_harm() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        base = np.exp(rng.normal(0, 0.02, (24, 11))) * 5
        mine = np.exp(rng.normal(0, 0.02, (24, 11))) * 5 * 1.42
        drift_of_rounds = np.exp(np.repeat(np.linspace(0, 0.3, 12), 2))[:, None]
        mine[4] *= 3
        found = ratio((mine * drift_of_rounds).tolist(), (base * drift_of_rounds).tolist())
        hits += found.low <= 1.42 <= found.high
        assert found.high / found.low < 1.1
    assert hits >= 276


def test_linear_drift_within_a_round_cancels() -> None:
    level = iter(np.exp(np.linspace(0, 1, 40)))
    a, b = [], []
    for _ in range(10):  # a b b a
        times = [5 * next(level) for _ in range(4)]
        a += [[times[0]] * 3, [times[3]] * 3]
        b += [[times[1]] * 3, [times[2]] * 3]
    assert ratio(a, b).estimate == pytest.approx(1, abs=1e-12)
    assert drift(a) > 0.3


def test_apart_is_symmetric_and_widens() -> None:
    there = apart(2.0, (1.9, 2.1), 1.0, (0.95, 1.05))
    back = apart(1.0, (0.95, 1.05), 2.0, (1.9, 2.1))
    assert there.estimate == pytest.approx(2) and there.low == pytest.approx(1 / back.high)
    alone = apart(2.0, (1.9, 2.1), 1.0, (1.0, 1.0))
    assert there.high - there.low > alone.high - alone.low
    assert Ratio(1.0, 0.9, 1.1, 3).reported() == ReportedRatio(1.0, 0.9, 1.1, 3)
