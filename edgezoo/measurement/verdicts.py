"""From figures to sentences: faster, slower, or not distinguishable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgezoo.measurement.statistics import Ratio
from edgezoo.system.machine import INT8_DOT

# Two processes of one file differ by about this much on a quiet machine: their memory is laid out
# differently (Mytkowicz et al., Producing Wrong Data Without Doing Anything Obviously Wrong, ASPLOS
# 2009).
SMALLEST_FLOOR = 0.02
# Sessions of one file differ by up to this much: processes, memory and clock change, and the A/A
# check within one session cannot see it. MLPerf Mobile too treats repeats within 5 % as equal.
BETWEEN_SESSIONS = 0.05
# Wilcoxon's signed rank test on five differences cannot reach 5 %: 2 / 2^5 is 6 %.
FEWEST_ROUNDS = 6
Word = Literal["faster", "slower", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a variant is faster or slower than the base, and a sentence that says so."""

    word: Word
    text: str


def noise_floor(self_check: Ratio | None) -> float:
    """Return the smallest difference that counts, from one file measured in two processes.

    That file's ratio to itself is 1 but for the machine's noise, so how far its interval reaches
    bounds what noise alone can produce.
    """
    if self_check is None or self_check.rounds < FEWEST_ROUNDS:
        return SMALLEST_FLOOR
    return max(SMALLEST_FLOOR, self_check.high - 1, 1 - self_check.low)


def covering(ratio: Ratio, floor: float) -> Ratio:
    """Return a ratio whose interval also covers what differs between two processes or sessions.

    The interval of runs within one process each knows nothing of it: a floor of 2 % means that
    another pair of processes gives a ratio up to 2 % away. Both are 95 % half widths of independent
    deviations, so their squares add, on the scale of logarithms.
    """
    if ratio.low <= 0 or not math.isfinite(ratio.high):
        return ratio
    low, high = (
        math.hypot(math.log(ratio.estimate / end), math.log1p(floor))
        for end in (ratio.low, ratio.high)
    )
    return Ratio(
        ratio.estimate,
        ratio.estimate * math.exp(-low),
        ratio.estimate * math.exp(high),
        ratio.rounds,
    )


def judge(name: str, base: str, ratio: Ratio, floor: float) -> Verdict:
    """Judge whether a variant is faster than another by the ratio of its time to that one's.

    `name` and `base` are names of the two. `ratio` is of runs, and `floor` what processes or
    sessions differ by: `noise_floor`, or `BETWEEN_SESSIONS` if that is more.
    """
    if ratio.rounds and ratio.rounds < FEWEST_ROUNDS:
        text = f"{name} against {base}: {ratio.rounds} rounds are too few to distinguish them"
        return Verdict("unknown", text)
    wide = covering(ratio, floor)
    word = word_for(wide, floor)
    if word == "same":
        text = f"{name} against {base}: no difference can be seen; noise floor {100 * floor:.1f} %"
    elif word == "unknown":
        text = f"{name} against {base}: cannot tell, {wide.low:.2f} to {wide.high:.2f} times (95 %)"
    elif word == "faster":
        text = _faster(name, base, 1 / wide.estimate, 1 / wide.high, 1 / wide.low)
    else:
        text = _faster(base, name, wide.estimate, wide.low, wide.high)
    return Verdict(word, text)


def word_for(wide: Ratio, floor: float) -> Word:
    """Return the verdict on a ratio of `covering`: "same" only where it is proved to be small.

    What is at most twice the floor does not matter: one floor is what nobody can measure, and
    the interval of two equal files reaches that far to each side of wherever it lands.
    """
    if wide.high < 1:
        return "faster"
    if wide.low > 1:
        return "slower"
    margin = (1 + floor) ** 2
    return "same" if wide.high <= margin and wide.low >= 1 / margin else "unknown"


def _faster(first: str, second: str, times: float, low: float, high: float) -> str:
    return f"{first} is {times:.2f} times faster than {second} (95 %: {low:.2f} to {high:.2f})"


def int8_remark(word: Word, features: Sequence[str], architecture: str) -> str | None:
    """Explain why an int8 file is not faster than its float32 counterpart, where it is not.

    `word` is the verdict on the int8 file; for features and architecture of the CPU see `Machine`.
    """
    if word not in ("same", "slower"):  # too few rounds show neither
        return None
    if any(name in features for name in INT8_DOT):
        return "int8 is not faster than float32 here, although this CPU multiplies 8 bits fast"
    wanted = "VNNI" if architecture in ("x86_64", "AMD64", "i686") else "dot product instruction"
    return f"int8 is not faster than float32 on this CPU: it has no {wanted}"


def self_check_text(estimate: float, floor: float) -> str:
    """Describe the result of the A/A check."""
    return (
        f"A/A: one file in two processes differed by {100 * (estimate - 1):+.1f} %; "
        f"noise floor {100 * floor:.1f} %"
    )
