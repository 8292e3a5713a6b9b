"""How a network is prepared for a quantizer, as data: what is asked for, and what was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgezoo.core.rounding import Granularity, Grid
from edgezoo.core.typed_json import JsonFile

Effort = Literal["fast", "default", "best"]
Ranges = dict[str, tuple[float, float]]  # minimum and maximum of each activation, by tensor name

EFFORTS: tuple[Effort, ...] = ("fast", "default", "best")
# Of the activations of ONNX files: uint8 with any zero point, or int8 with zero point 0.
Qdq = Literal["asymmetric", "symmetric"]
QDQ_FORMS: tuple[Qdq, ...] = ("asymmetric", "symmetric")
GRANULARITIES: tuple[Granularity, ...] = ("per-channel", "per-tensor")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are made ready for 8 bits.

    Attributes:
        effort: "fast" observes ranges alone; "default" also rounds weights by GPTQ and corrects
            biases; "best" does that on more images.
        granularity: one scale for each output channel of a layer, or one for all.
        grid: which values the quantizer rounds weights to; see `edgezoo.core.rounding`.
        float_layers: layers that stay in float, by name.
        qdq: "symmetric": ranges of activations are as wide below 0 as above.
    """

    effort: Effort = "default"
    granularity: Granularity = "per-channel"
    grid: Grid = "full"
    float_layers: tuple[str, ...] = ()
    qdq: Qdq = "asymmetric"

    @property
    def correction_images(self) -> int:
        """The most images that weights and biases are fitted to."""
        return 256 if self.effort == "best" else 64

    @property
    def positions(self) -> int:
        """Positions of those images that a layer's Hessian is computed from."""
        return 40_000 if self.effort == "best" else 20_000


@dataclass(frozen=True, slots=True)
class Preparation(JsonFile):
    """What a quantizer needs to know about a prepared network.

    Attributes:
        input_scale: real input = (pixel - 128) * input_scale; 0 where the caller normalizes.
        ranges: of the prepared network.
        images: how many images the ranges come from.
        corrected_layers: layers whose bias was corrected.
        methods: what was done to the weights, in the terms of the literature.
        scales: of layers whose weights are on their grid already, one per channel.
        recipe: what was asked for.
    """

    input_scale: float
    ranges: Ranges
    images: int
    corrected_layers: int = 0
    methods: tuple[str, ...] = ()
    scales: dict[str, list[float]] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
