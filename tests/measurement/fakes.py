"""Runners whose truth is known, on a machine of numbers: no clock is read."""

from __future__ import annotations

import math

import numpy as np

from edgezoo.core.errors import CrashError
from edgezoo.measurement.protocol import Block

# Two processes of one file differ by this much (standard deviation of the logarithm); measured with
# `edgezoo benchmark`'s A/A check on real files it was between 0.3 and 0.8 %.
PROCESS = 0.005


class Machine:
    """Time goes by as runners run; the machine warms up, breathes, and disturbs some runs."""

    def __init__(self, seed: int, drift: float = 0.2) -> None:
        self.rng = np.random.default_rng(seed)
        self.drift = drift
        self.seconds = 0.0
        self._mood = 0.0
        self._phase = self.rng.uniform(0, 2 * math.pi)

    def times(self, milliseconds: float, runs: int) -> list[int]:
        """Nanoseconds of some runs in a row."""
        rng = self.rng
        self._mood = 0.8 * self._mood + rng.normal(0, 0.006)
        noise = np.exp(rng.normal(0, 0.03, runs) + self._mood)
        noise *= np.where(rng.random(runs) < 0.02, rng.uniform(1.3, 3, runs), 1)
        taken = []
        for factor in noise:
            slow = 1 + self.drift * self.seconds / 20 + 0.03 * math.sin(self.seconds / 5)
            taken.append(int(milliseconds * factor * slow * 1e6))
            self.seconds += taken[-1] / 1e9
        return taken


class Fake:
    """A variant that takes so many milliseconds, more or less as its process has it."""

    def __init__(self, machine: Machine, milliseconds: float, dies_after: int | None = None):
        self.machine = machine
        self.milliseconds = milliseconds * math.exp(machine.rng.normal(0, PROCESS))
        self.dies_after = dies_after
        self.asked: list[tuple[int, int]] = []

    def block(self, runs: int, lead_in: int) -> Block:
        self.asked.append((runs, lead_in))
        if self.dies_after is not None and len(self.asked) > self.dies_after:
            raise CrashError("It died.", "")
        wall = self.machine.times(self.milliseconds, runs + lead_in)[lead_in:]
        return Block(wall, sum(wall))
