"""What is done to a network before a quantizer sees it, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from edgezoo.rounding import Granularity, Grid

Effort = Literal["fast", "default", "best"]

EFFORTS: tuple[Effort, ...] = ("fast", "default", "best")
GRANULARITIES: tuple[Granularity, ...] = ("per-channel", "per-tensor")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are made ready for 8 bits.

    Attributes:
        effort: "fast" observes ranges alone; "default" corrects biases too; "best" also chooses
            the rounding of each weight by what the layer sees.
        granularity: one scale for each output channel of a layer, or one for all.
        grid: which levels the quantizer rounds weights to; see `edgezoo.rounding`.
        float_layers: layers that stay in float, by name.
    """

    effort: Effort = "default"
    granularity: Granularity = "per-channel"
    grid: Grid = "full"
    float_layers: tuple[str, ...] = ()

    def on(self, grid: Grid) -> Recipe:
        """The same on another grid."""
        return replace(self, grid=grid)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Recipe:
        """Read what `dataclasses.asdict` and JSON made of one."""
        return cls(**{**facts, "float_layers": tuple(facts["float_layers"])})
