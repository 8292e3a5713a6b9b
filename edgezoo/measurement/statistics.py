"""What samples of latency allow one to say, with numpy alone: a device has no scipy.

Samples come in rounds. In each round every variant has two blocks of runs, in an order and its
mirror image, so that a slow drift of the machine falls on all variants alike. A ratio of two
variants is found within each round, where the drift cancels, and then judged over the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
OUTLIER_MADS = 3
P99_FROM = 1000
# Of one mebi-sample of 8 bytes: what one step of the bootstrap holds in memory at most.
_CHUNK = 1 << 20

Blocks = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long one variant takes as another, with its 95 % interval.

    `estimate` is None, and the interval unbounded, where there are no rounds at all.
    """

    estimate: float
    low: float
    high: float
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """Infinite bounds, of too few rounds, become null."""
        facts = asdict(self)
        return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in facts.items()}


def summary(blocks: Blocks, seed: int = 0) -> dict[str, Any]:
    """Median, its interval and the tails.

    Args:
        blocks: milliseconds of each run, a sequence a block.
        seed: of the bootstrap.

    Returns:
        {"median", "ci95": [low, high], "min", "p5", "p90", "p95", "p99", "mad", "n",
        "outliers", "drift"}; p99 is None below 1000 runs. Nothing is left out: runs farther than
        three MADs from the median are counted in "outliers".
    """
    import numpy as np

    values = np.concatenate([np.asarray(block, float) for block in blocks])
    median = float(np.median(values))
    distance = np.abs(values - median)
    mad = float(np.median(distance))
    p5, p90, p95, p99 = (float(v) for v in np.percentile(values, (5, 90, 95, 99)))
    return {
        "median": median,
        "ci95": list(median_interval(blocks, seed)),
        "min": float(values.min()),
        "p5": p5,
        "p90": p90,
        "p95": p95,
        "p99": p99 if len(values) >= P99_FROM else None,
        "mad": mad,
        "n": len(values),
        "outliers": int((distance > OUTLIER_MADS * mad).sum()),
        "drift": drift(blocks),
    }


def median_interval(blocks: Blocks, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the median, by a bootstrap over whole blocks.

    Runs of one block resemble one another, so blocks are drawn, not runs (the cluster bootstrap of
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
    """
    import numpy as np

    length = max(len(block) for block in blocks)
    padded = np.full((len(blocks), length), np.nan)
    for row, block in zip(padded, blocks, strict=True):
        row[: len(block)] = block
    whole = not np.isnan(padded).any()
    middle = np.median if whole else np.nanmedian
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
    """Median of the second half of the blocks over that of the first, minus 1."""
    import numpy as np

    half = len(blocks) // 2
    if half == 0:
        return 0.0
    first, second = (
        np.concatenate([np.asarray(b) for b in part]) for part in (blocks[:half], blocks[-half:])
    )
    return float(np.median(second) / np.median(first) - 1)


def ratio(blocks: Blocks, base: Blocks) -> Ratio:
    """Time of a variant over that of another that was measured in the same rounds.

    The estimate over rounds is that of Hodges and Lehmann, its interval that of Wilcoxon's signed
    rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 2014, section 3.2):
    exact for few rounds. From twelve rounds on, one that was disturbed does no harm. Fewer than six
    rounds give no 95 %.

    Args:
        blocks, base: milliseconds of each run; blocks 2r and 2r + 1 are those of round r.
    """
    import numpy as np

    differences = _round_levels(blocks) - _round_levels(base)
    n = len(differences)
    pairs = np.add.outer(differences, differences)[np.triu_indices(n)] / 2
    pairs.sort()
    cut = _signed_rank_cut(n)
    low, high = (pairs[cut - 1], pairs[len(pairs) - cut]) if cut else (-math.inf, math.inf)
    return Ratio(float(np.exp(np.median(pairs))), float(np.exp(low)), float(np.exp(high)), n)


def _round_levels(blocks: Blocks) -> NDArray[np.float64]:
    """Logarithm of the level of each round: the mean over its two mirrored blocks."""
    import numpy as np

    levels = np.log([np.median(block) for block in blocks])
    return np.asarray(levels[: len(levels) // 2 * 2].reshape(-1, 2).mean(1))


@lru_cache(maxsize=64)
def _signed_rank_cut(n: int) -> int:
    """Rank, from 1, of the pairwise mean that bounds a 95 % interval; 0 where none does.

    From the exact distribution of the sum of signed ranks of n differences.
    """
    import numpy as np

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
    """Ratio of two medians that were not measured together.

    The logarithms of both are taken as normal with the widths of their bootstrap intervals. It
    knows nothing of what changed on the machine in between.
    """
    half = math.hypot(*(math.log(b[1] / b[0]) / 2 for b in (interval, base_interval)))
    middle = math.log(median / base)
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), 0)
