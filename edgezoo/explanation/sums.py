"""Sums over images, from which the figures of each layer are computed at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgezoo.core.anatomy import Grid
from edgezoo.core.arrays import Floats


@dataclass
class LayerSums:
    """Sums of one layer. All errors are relative to the float network.

    `least` and `greatest` are float values in units of the file's quantized values.
    """

    kind: str
    grid: Grid | None
    values: int = 0
    signal: float = 0.0
    local_noise: float = 0.0
    local_steps: float = 0.0
    real_values: int = 0
    real_signal: float = 0.0
    real_noise: float = 0.0
    source_bias_noise: float = 0.0
    below: int = 0
    above: int = 0
    least: float = math.inf
    greatest: float = -math.inf
    kernel_values: int = 0
    kernel_steps: float = 0.0
    kernel_noise: float = 0.0

    def add(self, base: Floats, local: Floats) -> None:
        """Add outputs of the float layer, and of the quantized one on the same inputs."""
        self.values += base.size
        self.signal += power(base)
        error = local - base
        self.local_noise += power(error)
        if self.grid is not None:
            error /= self.grid.scale
            self.local_steps += power(error)
            scaled = base / self.grid.scale + self.grid.zero_point
            # Values within half a step of the range round into it, so they are not clipped.
            self.below += int(np.count_nonzero(scaled < self.grid.low - 0.5))
            self.above += int(np.count_nonzero(scaled > self.grid.high + 0.5))
            self.least = min(self.least, float(scaled.min()))
            self.greatest = max(self.greatest, float(scaled.max()))

    def add_real(self, base: Floats, real: Floats) -> None:
        """Add the layer's output in the real file."""
        self.real_values += base.size
        self.real_signal += power(base)
        self.real_noise += power(real - base)

    def add_kernel(self, real: Floats, simulated: Floats) -> None:
        """Add a layer's real output and its simulation on the real file's inputs."""
        error = real - simulated
        self.kernel_values += error.size
        self.kernel_noise += power(error)
        if self.grid is not None:
            error /= self.grid.scale
            self.kernel_steps += power(error)


def power(values: Floats) -> float:
    """Return the sum of squares; images are added in float64."""
    return sum(float(np.dot(row, row)) for row in values.reshape(len(values), -1))
