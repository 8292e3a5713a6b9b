"""The protocol of measuring: warm up until stable, then rounds of mirrored blocks.

It uses neither clocks nor processes: a `Runner` runs and reports how long each run took, so tests
use runners whose true times are known.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Protocol

from edgezoo.core.errors import EdgeZooError
from edgezoo.core.typed_json import Count, Positive, Range

VERSION = 1
_NS = 1e9
_WINDOW_SECONDS, _WINDOW_RUNS = 0.1, 3
Seconds = Annotated[float, Range(0, 1e15)]


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers of the protocol; seconds and runs are those of one variant.

    Minimum runs and time and the cap are those of LiteRT's benchmark_model
    (tensorflow/lite/tools/benchmark/README.md).

    Attributes:
        min_rounds: each gives every variant two blocks. Six are the least that allow a 95 %
            interval, twelve the least that one disturbed round does not affect.
        block_runs, block_seconds: a block is at least that long. With short ones many rounds fit
            into the time, and a disturbance affects few of them.
        lead_in: unrecorded runs at the head of each block: another variant has just emptied the
            caches.
        stable: two windows of the warm-up whose medians differ by less end it.
        seed: of the order of the variants.
    """

    min_rounds: Positive = 12
    block_runs: Positive = 10
    block_seconds: Seconds = 0.02
    min_runs: Positive = 50
    min_seconds: Seconds = 1.0
    cap_seconds: Seconds = 150.0
    lead_in: Count = 2
    warm_up_seconds: Seconds = 0.5
    warm_up_cap_seconds: Seconds = 10.0
    stable: Seconds = 0.05
    seed: Count = 0
    version: Positive = VERSION


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive runs: wall nanoseconds of each, CPU nanoseconds of all."""

    wall_ns: Sequence[int]
    cpu_ns: int


class Runner(Protocol):
    """One variant, opened and fed."""

    def block(self, runs: int, lead_in: int) -> Block:
        """Run `lead_in` times unrecorded, then `runs` times.

        Raises:
            EdgeZooError: it cannot continue.
        """


@dataclass(frozen=True, slots=True)
class Series:
    """All recorded runs of one variant; blocks 2r and 2r + 1 are those of round r.

    Attributes:
        capped: the time limit ended it before all rounds were done.
    """

    blocks: tuple[Block, ...]
    warm_up_runs: int
    warm_up_stable: bool
    capped: bool

    @property
    def wall_ms(self) -> list[list[float]]:
        """Milliseconds of each run, a list per block."""
        return [[ns / 1e6 for ns in block.wall_ns] for block in self.blocks]

    @property
    def cpu_ms(self) -> float:
        """Mean CPU milliseconds of one run, of all threads together."""
        runs = sum(len(block.wall_ns) for block in self.blocks)
        return sum(block.cpu_ns for block in self.blocks) / runs / 1e6


@dataclass(slots=True)
class _Turn:
    """A variant while it is being measured; `runs` are those of a block."""

    runner: Runner
    runs: int
    rounds: int
    warm_up_runs: int
    stable: bool
    blocks: list[Block]
    spent_ns: int = 0

    def take(self, lead_in: int) -> None:
        block = self.runner.block(self.runs, lead_in)
        self.blocks.append(block)
        self.spent_ns += sum(block.wall_ns)

    def series(self, capped: bool) -> Series:
        return Series(tuple(self.blocks), self.warm_up_runs, self.stable, capped)


def measure(
    runners: Mapping[str, Runner],
    settings: Settings,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Series | EdgeZooError]:
    """Measure variants against one another; return each one's series, or the error that ended it.

    Args:
        runners: by name; the order in which they take turns is random, seeded.
        settings: of the protocol.
        progress: called with the share that is done.
    """
    failed: dict[str, EdgeZooError] = {}
    turns: dict[str, _Turn] = {}
    for name, runner in runners.items():
        try:
            turns[name] = _warm_up(runner, settings)
        except EdgeZooError as error:
            failed[name] = error
    capped = _take_rounds(turns, failed, settings, progress)
    return {name: failed.get(name) or turns[name].series(capped) for name in runners}


def _take_rounds(
    turns: dict[str, _Turn],
    failed: dict[str, EdgeZooError],
    settings: Settings,
    progress: Callable[[float], None],
) -> bool:
    """Let variants take turns; return whether the time limit ended it before all rounds."""
    rng = random.Random(settings.seed)
    # All take part in as many rounds as the one that needs most: a ratio is taken within a round.
    rounds = max((turn.rounds for turn in turns.values()), default=0)
    for done in range(1, rounds + 1):
        # A random order, so that no variant always follows the same one; then its mirror image, so
        # that the two blocks of each lie around the same moment and a linear drift cancels.
        order = [name for name in turns if name not in failed]
        rng.shuffle(order)
        for name in (*order, *reversed(order)):
            if name not in failed:
                try:
                    turns[name].take(settings.lead_in)
                except EdgeZooError as error:
                    failed[name] = error
        progress(done / rounds)
        alive = [turn for name, turn in turns.items() if name not in failed]
        # Checked between rounds only: half a round has no mirror image.
        if any(turn.spent_ns > settings.cap_seconds * _NS for turn in alive):
            return done < rounds
    return False


def _warm_up(runner: Runner, settings: Settings) -> _Turn:
    """Run until long enough and stable, then plan blocks and rounds by the last window."""
    first = runner.block(1, 0)
    levels: list[float] = [float(first.wall_ns[0])]
    spent, runs, stable = levels[0], 1, False
    while spent < settings.warm_up_cap_seconds * _NS:
        if stable and spent >= settings.warm_up_seconds * _NS:
            break
        count = max(_WINDOW_RUNS, math.ceil(_WINDOW_SECONDS * _NS / levels[-1]))
        window = runner.block(count, 0).wall_ns
        levels.append(median(window))
        spent += sum(window)
        runs += count
        # The first run alone is not a window: it includes what a runtime defers until then.
        stable = len(levels) > 2 and abs(levels[-1] / levels[-2] - 1) < settings.stable
    block = max(settings.block_runs, math.ceil(settings.block_seconds * _NS / levels[-1]))
    wanted = max(settings.min_runs, settings.min_seconds * _NS / levels[-1])
    rounds = max(settings.min_rounds, math.ceil(wanted / block / 2))
    return _Turn(runner, block, rounds, runs, stable, [])
