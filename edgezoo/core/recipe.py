"""What is done to a network before a quantizer sees it, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgezoo.core.rounding import Granularity, Grid

Effort = Literal["fast", "default", "best"]

EFFORTS: tuple[Effort, ...] = ("fast", "default", "best")
GRANULARITIES: tuple[Granularity, ...] = ("per-channel", "per-tensor")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are made ready for 8 bits.

    Attributes:
        effort: "fast" observes ranges alone; "default" also chooses the rounding of each weight by
            what the layer sees, and corrects biases; "best" does that on more images.
        granularity: one scale for each output channel of a layer, or one for all.
        grid: which levels the quantizer rounds weights to; see `edgezoo.core.rounding`.
        float_layers: layers that stay in float, by name.
    """

    effort: Effort = "default"
    granularity: Granularity = "per-channel"
    grid: Grid = "full"
    float_layers: tuple[str, ...] = ()

    @property
    def correction_images(self) -> int:
        """Images that roundings and biases are fitted to, at the most."""
        return 256 if self.effort == "best" else 64

    @property
    def positions(self) -> int:
        """Positions of those images that a layer's second moments are taken over."""
        return 40_000 if self.effort == "best" else 20_000

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Recipe:
        """Read what `dataclasses.asdict` and JSON made of one."""
        return cls(**{**facts, "float_layers": tuple(facts["float_layers"])})
