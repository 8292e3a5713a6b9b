"""8-bit rounding, and why the pair-safe grid is safe: vpmaddubsw, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgezoo.core.rounding import (
    Grid,
    activation_parameters,
    fake_quantize,
    pair_excess,
    round_weights,
    weight_scales,
)

GENERATOR = np.random.default_rng(0)


def _saturates(quantized: np.ndarray) -> bool:
    """Whether vpmaddubsw clips: uint8 x int8 of two neighbours, summed in signed 16 bits.

    The worst activations are tried: 255 wherever that helps and 0 elsewhere.
    """
    pairs = quantized.astype(np.int32).reshape(-1, 2)
    worst = 0
    for first in (0, 255):
        for second in (0, 255):
            exact = first * pairs[:, 0] + second * pairs[:, 1]
            worst = max(worst, int(np.abs(exact - np.clip(exact, -32768, 32767)).max()))
    return worst > 0


def _quantized(weights: np.ndarray, grid: Grid) -> np.ndarray:
    scales = weight_scales(weights, 0, grid)
    return np.rint(weights / scales)


def _kernels() -> dict[str, np.ndarray]:
    out, inner = 8, 16
    equal = np.full((out, 1, 1, inner), 0.3)
    alternating = equal * np.where(np.arange(inner) % 2, 1, -1)
    spike = GENERATOR.normal(size=(out, 1, 1, inner)) * 0.01
    spike[:, 0, 0, 4:6] = 2.0
    edge = np.zeros((out, 1, 1, inner))
    edge[..., 0], edge[..., 1] = 127, 1.4999  # just above the bound when both round up
    half = np.zeros((out, 1, 1, inner))
    half[..., 0], half[..., 1] = 100.5, 27.5
    kernels = {
        "normal": GENERATOR.normal(size=(out, 3, 3, inner)),
        "heavy tails": GENERATOR.standard_t(2, size=(out, 1, 1, 2 * inner)),
        "equal": equal,
        "equal, negative": -equal,
        "alternating": alternating,
        "spike": spike,
        "edge": edge,
        "half a step": half,
        "tiny": GENERATOR.normal(size=(out, 1, 1, inner)) * 1e-20,
        "zero": np.zeros((out, 1, 1, inner)),
    }
    return {name: kernel.astype(np.float32) for name, kernel in kernels.items()}


@pytest.mark.parametrize("name", _kernels())
def test_pair_safe_grid_never_saturates(name: str) -> None:
    quantized = _quantized(_kernels()[name], "pair-safe")
    assert np.abs(quantized).max() <= 127
    assert not _saturates(quantized)


@pytest.mark.parametrize("name", ["normal", "heavy tails", "equal", "equal, negative", "spike"])
def test_full_grid_does(name: str) -> None:
    """Else the test above would prove nothing."""
    assert _saturates(_quantized(_kernels()[name], "full"))


def test_many_random_kernels() -> None:
    for _ in range(200):
        shape = (4, 1, 1, 2 * int(GENERATOR.integers(1, 20)))
        scale = np.exp(GENERATOR.normal(size=(4, 1, 1, 1)) * 3)
        kernel = (GENERATOR.laplace(size=shape) * scale).astype(np.float32)
        assert not _saturates(_quantized(kernel, "pair-safe"))


def test_odd_channels_are_safe_in_any_pairing() -> None:
    kernel = GENERATOR.normal(size=(6, 3, 3, 3)).astype(np.float32)
    quantized = _quantized(kernel, "pair-safe").reshape(6, -1)
    for _ in range(50):
        mixed = GENERATOR.permuted(quantized, axis=1)[:, :26]
        assert not _saturates(mixed)


def test_grid_is_no_wider_than_it_must_be() -> None:
    """A channel without a dangerous pair keeps the full grid; the worst loses half at the most."""
    alternating = _kernels()["alternating"]
    np.testing.assert_array_equal(
        weight_scales(alternating, 0, "pair-safe"), weight_scales(alternating, 0, "full")
    )
    equal = _kernels()["equal"]
    ratio = weight_scales(equal, 0, "pair-safe") / weight_scales(equal, 0, "full")
    assert (ratio > 1.9).all() and (ratio < 2.05).all()
    quantized = _quantized(_kernels()["normal"], "pair-safe")
    worst = np.abs(quantized.reshape(-1, 2).sum(1)).max()
    assert 120 <= worst <= 128


def test_pair_excess_of_known_pairs() -> None:
    quantized = np.array([[127, 127], [127, -127], [64, 64], [-128, -1]], np.float32)
    excess = pair_excess(quantized).reshape(-1)
    assert excess[0] > 1.9 and excess[3] > 1
    assert excess[1] == pytest.approx(127 / (32767 / 255 - 1))
    assert excess[1] < 1 and excess[2] > 1 - 0.01


def test_full_grid_is_the_specification() -> None:
    """Symmetric, per channel, -127 to 127, at most half a step off."""
    kernel = GENERATOR.normal(size=(5, 3, 3, 4)).astype(np.float32)
    for axis in (0, 3):
        scales = weight_scales(kernel, axis)
        shape = [1, 1, 1, 1]
        shape[axis] = kernel.shape[axis]
        assert scales.shape == tuple(shape) and scales.dtype == np.float32
        others = tuple(i for i in range(4) if i != axis)
        np.testing.assert_allclose(scales * 127, np.abs(kernel).max(others, keepdims=True))
        rounded = round_weights(kernel, axis)
        assert (np.abs(rounded - kernel) <= scales * 0.5001).all()


def test_dead_channel() -> None:
    kernel = np.zeros((2, 1, 1, 4), np.float32)
    kernel[1] = 1
    assert weight_scales(kernel, 0).reshape(-1)[0] == 1
    assert np.isfinite(round_weights(kernel, 0, "pair-safe")).all()


@pytest.mark.parametrize(
    ("low", "high", "zero"), [(0, 6, -128), (-1, 1, 0), (-6, 0, 127), (2, 5, -128), (-5, -2, 127)]
)
def test_activation_parameters(low: float, high: float, zero: int) -> None:
    """The range holds 0 exactly, as padding needs."""
    scale, got = activation_parameters(low, high)
    assert abs(got - zero) <= 1
    assert scale == pytest.approx((max(high, 0) - min(low, 0)) / 255)
    assert fake_quantize(np.zeros(1, np.float32), low, high)[0] == 0


def test_empty_range() -> None:
    scale, zero = activation_parameters(0, 0)
    assert scale > 0 and -128 <= zero <= 127


def test_fake_quantize() -> None:
    values = GENERATOR.uniform(-2, 8, 1000).astype(np.float32)
    got = fake_quantize(values, -1, 6)
    scale = 7 / 255
    inside = (values > -1 + scale) & (values < 6 - scale)
    assert np.abs(got - values)[inside].max() <= scale * 0.501
    assert got.max() <= 6 + scale and got.min() >= -1 - scale
    assert len(np.unique(got)) <= 256
