"""The instruction by which x86 without VNNI multiplies 8-bit numbers, written out in numpy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

# Set where these tests run under an emulator of a processor without VNNI.
EMULATED = "EDGEZOO_TEST_WITHOUT_VNNI"


def vpmaddubsw(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """uint8 times int8, neighbours added in int16 with saturation: (..., 2n) to int16 (..., n)."""
    assert activations.dtype == np.uint8 and weights.dtype == np.int8
    products = activations.astype(np.int32) * weights.astype(np.int32)
    sums = products[..., 0::2] + products[..., 1::2]
    return np.asarray(np.clip(sums, -32768, 32767), np.int16)


def kernel(activations: np.ndarray, weights: np.ndarray, pairs: str) -> np.ndarray:
    """What a kernel without VNNI computes: pairs in int16, all else in int32.

    Args:
        activations: uint8, shape (positions, in).
        weights: int8, shape (out, positions, in).
        pairs: "flat" or "pixel", see `IntegerLayer`.

    Returns:
        int32, shape (out,).
    """
    if pairs == "flat":
        activations = activations.reshape(1, -1)
        weights = weights.reshape(len(weights), 1, -1)
    if weights.shape[-1] % 2:
        activations = np.pad(activations, ((0, 0), (0, 1)))
        weights = np.pad(weights, ((0, 0), (0, 0), (0, 1)))
    return np.asarray(vpmaddubsw(activations[None], weights).sum((1, 2), dtype=np.int32))


def overflows(weights: np.ndarray, pairs: str) -> np.ndarray:
    """Whether some uint8 input makes a channel of (out, positions, in) saturate, by trying.

    A pair of products is linear in its two activations, so its extremes lie at 0 and 255.
    """
    positions, channels = weights.shape[1:]
    found = np.zeros(len(weights), bool)
    for row, kernels in enumerate(weights):
        for chosen in (kernels > 0, kernels < 0):
            worst = np.where(chosen, 255, 0).astype(np.uint8).reshape(positions, channels)
            exact = (worst.astype(np.int32) * kernels).sum()
            found[row] |= kernel(worst, kernels[None], pairs)[0] != exact
    return found


def why_no_saturation() -> str | None:
    """Why this machine's kernels do not use vpmaddubsw, None where they do."""
    if os.environ.get(EMULATED):
        return None  # /proc still tells of the processor below
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "the processor's features cannot be read here"
    flags = next((line.split(":")[1].split() for line in text.splitlines()
                  if line.startswith("flags")), [])  # fmt: skip
    if "avx2" not in flags:
        return "not an x86 processor with AVX2"
    newer = {"avx_vnni", "avx512_vnni"} & set(flags)
    return f"this processor has VNNI ({', '.join(newer)}): nothing saturates" if newer else None
