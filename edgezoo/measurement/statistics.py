"""Statistics of latency samples, with numpy alone: a device has no scipy.

Samples come in rounds. In each round every variant has two blocks of runs, in an order and its
mirror image, so that a slow drift of the machine affects all variants alike. A ratio of two
variants is taken within each round, where the drift cancels, and then judged over the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.typed_json import Count, Positive, Range, shared

RESAMPLES = 1000
OUTLIER_MADS = 3
P99_FROM = 1000
# Of one mebi-sample of 8 bytes: what one step of the bootstrap holds in memory at most.
_CHUNK = 1 << 20

Blocks = Sequence[Sequence[float]]
Figure = Annotated[float, Range(-1e15, 1e15)]
# A duration of zero cannot be compared by ratios and logarithms.
Duration = Annotated[float, Range(1e-9, 1e15)]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long one variant takes as another, with its 95 % interval.

    Too few rounds leave the interval unbounded: `low` is 0 and `high` infinite.
    """

    estimate: float
    low: float
    high: float
    rounds: int

    def reported(self) -> ReportedRatio:
        """Return it with None for the bounds that too few rounds leave open."""
        bounded = math.isfinite(self.high)
        return ReportedRatio(self.estimate, self.low, self.high if bounded else None, self.rounds)


@dataclass(frozen=True, slots=True)
class ReportedRatio:
    """How many times as long one variant takes as another, with its 95 % interval.

    Attributes:
        estimate: time over that of the base
        low, high: null where too few rounds bound it
    """

    estimate: Figure | None
    low: Figure | None
    high: Figure | None
    rounds: Count


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """Milliseconds of one inference: median, its interval and the tails; no run is left out.

    Attributes:
        ci95: of the median
        p99: from 1000 runs on
        mad: median absolute deviation
        n: runs
        outliers: runs farther than 3 MAD from the median; they are counted, not left out
        drift: median of the second half over that of the first, minus 1
    """

    median: Duration
    ci95: tuple[Duration, Duration]
    min: Figure
    p5: Figure
    p90: Figure
    p95: Figure
    p99: Figure | None
    mad: Figure
    n: Positive
    outliers: Count
    drift: Figure

    def rounded(self) -> LatencyStatistics:
        """Return it to a tenth of a microsecond, as it is reported."""
        own = shared(self, LatencyStatistics)
        floats = {name: round(v, 4) for name, v in own.items() if isinstance(v, float)}
        return LatencyStatistics(**{**own, **floats, "ci95": tuple(round(v, 4) for v in self.ci95)})


def summary(blocks: Blocks, seed: int = 0) -> LatencyStatistics:
    """Return median, its interval and the tails of milliseconds of each run, a sequence per block.

    `seed` is that of the bootstrap.
    """
    values = np.concatenate([np.asarray(block, float) for block in blocks])
    median = float(np.median(values))
    distance = np.abs(values - median)
    mad = float(np.median(distance))
    p5, p90, p95, p99 = (float(v) for v in np.percentile(values, (5, 90, 95, 99)))
    return LatencyStatistics(
        median=median,
        ci95=median_interval(blocks, seed),
        min=float(values.min()),
        p5=p5,
        p90=p90,
        p95=p95,
        p99=p99 if len(values) >= P99_FROM else None,
        mad=mad,
        n=len(values),
        outliers=int((distance > OUTLIER_MADS * mad).sum()),
        drift=drift(blocks),
    )


def median_interval(blocks: Blocks, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the median, by a bootstrap over whole blocks.

    Runs of one block resemble one another, so blocks are resampled, not runs (the cluster bootstrap
    of Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
    """
    length = max(len(block) for block in blocks)
    # Blocks of one matrix, so that a resample is an index; shorter ones end in NaN.
    padded = np.full((len(blocks), length), np.nan)
    for row, block in zip(padded, blocks, strict=True):
        row[: len(block)] = block
    whole = not np.isnan(padded).any()
    middle = np.median if whole else np.nanmedian  # nanmedian is ten times slower
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // padded.size)
    medians: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        drawn = padded[rng.integers(0, len(blocks), (count, len(blocks)))]
        medians.append(middle(drawn.reshape(count, -1), axis=1))
    low, high = np.percentile(np.concatenate(medians), (2.5, 97.5))
    return float(low), float(high)


def drift(blocks: Blocks) -> float:
    """Return the median of the second half of the blocks over that of the first, minus 1."""
    half = len(blocks) // 2
    if half == 0:
        return 0.0
    first, second = (np.concatenate([*part]) for part in (blocks[:half], blocks[-half:]))
    return float(np.median(second) / np.median(first) - 1)


def ratio(blocks: Blocks, base: Blocks) -> Ratio:
    """Return the time of a variant over that of another that was measured in the same rounds.

    The estimate over rounds is that of Hodges and Lehmann, its interval that of Wilcoxon's signed
    rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 2014, section 3.2):
    exact for few rounds. From twelve rounds on, one disturbed round does no harm. Fewer than six
    rounds give no 95 %. Blocks hold milliseconds of each run; 2r and 2r + 1 are those of round r.
    """
    # Logarithms turn a ratio into a difference, and a slowdown and its inverse weigh the same.
    differences = _round_levels(blocks) - _round_levels(base)
    n = len(differences)
    # Walsh averages: the mean of every pair of rounds, each with itself included. Their median is
    # Hodges and Lehmann's estimate; their order statistics are the ends of Wilcoxon's interval.
    pairs = np.add.outer(differences, differences)[np.triu_indices(n)] / 2
    pairs.sort()
    cut = _signed_rank_cut(n)
    low, high = (pairs[cut - 1], pairs[len(pairs) - cut]) if cut else (-math.inf, math.inf)
    return Ratio(float(np.exp(np.median(pairs))), float(np.exp(low)), float(np.exp(high)), n)


def _round_levels(blocks: Blocks) -> NDArray[np.float64]:
    """Return the logarithm of each round's level: the mean over its two mirrored blocks.

    The two blocks lie at equal distances before and after the middle of the round, so a drift that
    is linear within the round cancels in their mean.
    """
    levels = np.log([np.median(block) for block in blocks])
    return np.asarray(levels[: len(levels) // 2 * 2].reshape(-1, 2).mean(1))


@lru_cache(maxsize=64)
def _signed_rank_cut(n: int) -> int:
    """Return the rank, from 1, of the Walsh average that bounds a 95 % interval; 0 if none does.

    From the exact distribution of the sum of signed ranks of n differences.
    """
    # ways[s]: probability that signs drawn at random give the ranks so far a positive sum of s.
    ways = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(len(ways) + rank)
        longer[: len(ways)] += ways
        longer[rank:] += ways
        ways = longer / 2
    return int(np.searchsorted(np.cumsum(ways), 0.025, side="right"))


def apart(
    median: float, interval: Sequence[float], base: float, base_interval: Sequence[float]
) -> Ratio:
    """Return the ratio of two medians that were not measured together.

    The logarithms of both are taken as normal with the widths of their bootstrap intervals, so
    their half widths add in quadrature. Changes of the machine in between are not covered.
    """
    half = math.hypot(*(math.log(b[1] / b[0]) / 2 for b in (interval, base_interval)))
    middle = math.log(median / base)
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), 0)
