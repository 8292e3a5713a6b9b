"""From figures to sentences: faster, slower, or that nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass

from edgezoo.measurement.statistics import Ratio
from edgezoo.system.machine import INT8_DOT

# Two processes of one file differ by about this much on a quiet machine: memory lies differently
# (Mytkowicz et al., Producing Wrong Data Without Doing Anything Obviously Wrong, ASPLOS 2009).
SMALLEST_FLOOR = 0.02
FEWEST_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is "faster", "slower" (than the base), "same" or "unknown"; `text` a sentence."""

    word: str
    text: str


def noise_floor(self_check: Ratio | None) -> float:
    """The smallest difference that counts, from one file measured in two processes.

    That file's ratio to itself should be 1; how far its interval goes is what this machine
    makes up.
    """
    if self_check is None or self_check.rounds < FEWEST_ROUNDS:
        return SMALLEST_FLOOR
    return max(SMALLEST_FLOOR, self_check.high - 1, 1 - self_check.low)


def judge(name: str, base: str, ratio: Ratio, floor: float) -> Verdict:
    """Whether a variant is faster than another.

    Args:
        name, base: what the two are called.
        ratio: time of the first over that of the second.
        floor: from `noise_floor`.
    """
    if ratio.rounds and ratio.rounds < FEWEST_ROUNDS:
        return Verdict(
            "unknown",
            f"{name} against {base}: {ratio.rounds} rounds are too few to tell them apart",
        )
    outside = ratio.low > 1 or ratio.high < 1
    if not outside or abs(ratio.estimate - 1) <= floor:
        return Verdict(
            "same",
            f"{name} against {base}: no difference can be seen; noise floor {100 * floor:.1f} %",
        )
    if ratio.estimate < 1:
        return Verdict(
            "faster", _faster(name, base, 1 / ratio.estimate, 1 / ratio.high, 1 / ratio.low)
        )
    return Verdict("slower", _faster(base, name, ratio.estimate, ratio.low, ratio.high))


def _faster(first: str, second: str, times: float, low: float, high: float) -> str:
    return f"{first} is {times:.2f} times faster than {second} (95 %: {low:.2f} to {high:.2f})"


def int8_remark(word: str, features: list[str], architecture: str) -> str | None:
    """Why an int8 file is no faster than its float32 twin.

    Args:
        word: the verdict on the int8 file against the float32 file.
        features, architecture: of the CPU, see `describe_machine`.
    """
    if word not in ("same", "slower"):  # too few rounds say neither
        return None
    if any(name in features for name in INT8_DOT):
        return "int8 is no faster than float32 here, although this CPU multiplies 8 bits fast"
    wanted = "VNNI" if architecture in ("x86_64", "AMD64", "i686") else "dot product instruction"
    return f"int8 is no faster than float32 on this CPU: it has no {wanted}"


def self_check_text(ratio: Ratio, floor: float) -> str:
    """What the A/A check found."""
    percent = 100 * (ratio.estimate - 1)
    return (
        f"A/A: one file in two processes differed by {percent:+.1f} %; "
        f"noise floor {100 * floor:.1f} %"
    )
