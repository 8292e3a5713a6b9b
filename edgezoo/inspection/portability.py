"""Which 8-bit layers of a file can overflow 16 bits on x86 without VNNI.

There kernels multiply uint8 activations with int8 weights by vpmaddubsw, which adds two
neighbouring products and saturates the sum at -32768 and 32767, silently. An activation is at
most 255, so a pair overflows for some input if and only if its weights of one sign add up to more
than 128 (128 * 255 = 32640, 129 * 255 = 32895).

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, PMADDUBSW.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.protocols import IntegerKernels, IntegerLayer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMIT = 32767
_HIGHEST = 255


def pair_sums(layer: IntegerLayer) -> NDArray[np.int64]:
    """The largest |a1 * w1 + a2 * w2| over all uint8 activations, for every pair of weights.

    Returns:
        int64, shape (output channels, pairs); a weight that is left over pairs with 0.
    """
    import numpy as np

    weights = layer.weights.astype(np.int64)
    if layer.pairs == "flat":
        weights = weights.reshape(len(weights), 1, -1)
    if weights.shape[-1] % 2:
        weights = np.pad(weights, ((0, 0), (0, 0), (0, 1)))
    pairs = weights.reshape(len(weights), -1, 2)
    upward, downward = np.maximum(pairs, 0).sum(-1), -np.minimum(pairs, 0).sum(-1)
    return np.asarray(_HIGHEST * np.maximum(upward, downward))


def check(path: Path) -> dict[str, Any] | None:
    """Look for layers that can overflow.

    Args:
        path: the main file of an artifact.

    Returns:
        {"runtime", "verdict", "layers", "remedies"}, as `edgezoo inspect --json` has it under
        `portability`; None for a file without integer layers.
    """
    kernels = registry.runtime_for(path).integer_kernels(path)
    return describe(kernels) if kernels.layers else None


def describe(kernels: IntegerKernels) -> dict[str, Any]:
    """What `check` returns, of layers that are known already."""
    layers = [_layer(layer) for layer in kernels.layers]
    if any(layer["can_overflow"] for layer in layers):
        verdict = "can overflow"
    elif all(layer["exact"] for layer in layers):
        verdict = "does not apply"
    else:
        verdict = "safe"
    return {
        "runtime": kernels.runtime,
        "verdict": verdict,
        "layers": layers,
        "remedies": list(kernels.remedies) if verdict == "can overflow" else [],
    }


def _layer(layer: IntegerLayer) -> dict[str, Any]:
    signed = layer.kind != "depthwise" and layer.weights_dtype == "int8"
    sums = pair_sums(layer) if signed else None
    worst = int(sums.max()) if sums is not None and sums.size else None
    at_risk = int((sums > LIMIT).any(1).sum()) if sums is not None else 0
    return {
        "name": layer.name,
        "kind": layer.kind,
        "weights": layer.weights_dtype,
        "activations": layer.activations_dtype,
        "channels": len(layer.weights),
        "worst_pair_sum": worst,
        "times_limit": None if worst is None else worst / LIMIT,
        "channels_above": at_risk,
        "can_overflow": layer.exact is None and at_risk > 0,
        "exact": layer.exact,
    }
