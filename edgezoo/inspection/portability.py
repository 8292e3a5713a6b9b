"""Which 8-bit layers of a file can overflow 16 bits on x86 without VNNI.

There kernels multiply uint8 activations with int8 weights by vpmaddubsw, which adds two
neighbouring products and saturates the sum at -32768 and 32767, silently. An activation is at
most 255, so a pair overflows for some input if and only if its weights of one sign add up to more
than 128 (128 * 255 = 32640, 129 * 255 = 32895).

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, PMADDUBSW.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry
from edgezoo.core.protocols import IntegerKernels, IntegerLayer, LayerKind
from edgezoo.core.typed_json import Count, Positive, Range

LIMIT = 32767
_HIGHEST = 255


@dataclass(frozen=True, slots=True)
class LayerOverflow:
    """Whether one layer can overflow.

    Attributes:
        weights, activations: dtype
        channels: of the output
        worst_pair_sum: largest |a1 w1 + a2 w2| of all uint8 activations; null without pairs
        times_limit: worst_pair_sum / 32767
        channels_above: output channels with a pair above the limit
        can_overflow: some input overflows in this runtime's kernel
        exact: why the kernel does not add in 16 bits
    """

    name: str
    kind: LayerKind
    weights: str
    activations: str
    channels: Positive
    worst_pair_sum: Count | None
    times_limit: Annotated[float, Range(minimum=0)] | None
    channels_above: Count
    can_overflow: bool
    exact: str | None


@dataclass(frozen=True, slots=True)
class Portability:
    """Which layers of a file can overflow.

    Attributes:
        runtime: that the kernels belong to
        verdict: does not apply: no kernel of that runtime adds two products in 16 bits
        remedies: what to do where a layer can overflow
    """

    runtime: str
    verdict: Literal["safe", "can overflow", "does not apply"]
    layers: tuple[LayerOverflow, ...]
    remedies: tuple[str, ...]


def pair_sums(layer: IntegerLayer) -> NDArray[np.int64]:
    """Return the largest |a1 * w1 + a2 * w2| over all uint8 activations, for every pair of weights.

    The shape is (output channels, pairs); a weight without a partner is paired with 0.
    """
    weights = layer.weights.astype(np.int64)
    if layer.pairs == "flat":
        weights = weights.reshape(len(weights), 1, -1)
    if weights.shape[-1] % 2:
        weights = np.pad(weights, ((0, 0), (0, 0), (0, 1)))
    pairs = weights.reshape(len(weights), -1, 2)
    # Activations are not negative: the worst input is 255 at the weights of one sign, 0 elsewhere.
    upward, downward = np.maximum(pairs, 0).sum(-1), -np.minimum(pairs, 0).sum(-1)
    return np.asarray(_HIGHEST * np.maximum(upward, downward))


def check(path: Path) -> Portability | None:
    """Look for layers that can overflow in an artifact's main file; None without integer layers."""
    kernels = registry.runtime_for(path).integer_kernels(path)
    return describe(kernels) if kernels.layers else None


def describe(kernels: IntegerKernels) -> Portability:
    """Do what `check` does, with layers that are already known."""
    layers = tuple(_layer(layer) for layer in kernels.layers)
    if any(layer.can_overflow for layer in layers):
        return Portability(kernels.runtime, "can overflow", layers, tuple(kernels.remedies))
    exact = all(layer.exact for layer in layers)
    return Portability(kernels.runtime, "does not apply" if exact else "safe", layers, ())


def _layer(layer: IntegerLayer) -> LayerOverflow:
    # Depthwise kernels multiply channel by channel and do not use vpmaddubsw.
    signed = layer.kind != "depthwise" and layer.weights_dtype == "int8"
    sums = pair_sums(layer) if signed else None
    worst = int(sums.max()) if sums is not None and sums.size else None
    at_risk = int((sums > LIMIT).any(1).sum()) if sums is not None else 0
    return LayerOverflow(
        name=layer.name,
        kind=layer.kind,
        weights=layer.weights_dtype,
        activations=layer.activations_dtype,
        channels=len(layer.weights),
        worst_pair_sum=worst,
        times_limit=None if worst is None else worst / LIMIT,
        channels_above=at_risk,
        can_overflow=layer.exact is None and at_risk > 0,
        exact=layer.exact,
    )
