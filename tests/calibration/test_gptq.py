"""GPTQ's roundings stay on the grid, and lose less than the nearest level does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.calibration import gptq
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import Grid, round_weights
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork
from edgezoo.images.preprocessing import find_images, load_pixels
from tests.conftest import Exported, Trained


@pytest.fixture(scope="module")
def layers(
    exported: Exported, trained: Trained
) -> tuple[StepwiseNetwork, list[tuple[Step, NDArray[np.float32]]]]:
    """The network, and each layer with what enters it on 32 images."""
    network = StepwiseNetwork(exported.path("tflite", "float32"))
    images = [load_pixels(path, 32) for path in find_images(trained.calibration)[:32]]
    values = {network.input: np.stack(images).astype(np.float32)}
    found = []
    for step in network.steps:
        if step.weights is not None:
            found.append((step, values[step.computed_inputs[0]]))
        values[step.output] = network.run(step, values)
    assert len(found) == 28
    return network, found


def _loss(
    network: StepwiseNetwork, step: Step, inputs: NDArray[np.float32], weights: NDArray[np.float32]
) -> float:
    values = {step.computed_inputs[0]: inputs}
    exact = network.run(step, values, linear=True)
    return float(np.square(network.run(step, values, weights, linear=True) - exact).mean())


@pytest.mark.parametrize("grid", ["full", "pair-safe"])
def test_loses_less_than_the_nearest_level(
    layers: tuple[StepwiseNetwork, list[tuple[Step, NDArray[np.float32]]]], grid: Grid
) -> None:
    network, found = layers
    ratios = []
    for step, inputs in found:
        assert step.weights is not None
        chosen = gptq.quantize_weights(network, step, inputs, Recipe(grid=grid))
        if chosen is None:
            assert grid == "pair-safe" and step.index < 3  # the first layer has three channels
            continue
        nearest = round_weights(network.constant(step.weights), step.channel_axis, grid)
        least = _loss(network, step, inputs, nearest)
        ratios.append(_loss(network, step, inputs, chosen[0]) / max(least, 1e-12))
    assert max(ratios) < 1.1
    assert np.median(ratios) < 0.8


@pytest.mark.parametrize("grid", ["full", "pair-safe"])
def test_stays_on_the_grid(
    layers: tuple[StepwiseNetwork, list[tuple[Step, NDArray[np.float32]]]], grid: Grid
) -> None:
    network, found = layers
    for step, inputs in found:
        assert step.weights is not None
        chosen = gptq.quantize_weights(network, step, inputs, Recipe(grid=grid))
        if chosen is None:
            continue
        weights, scales = chosen
        shape = [1] * weights.ndim
        shape[step.channel_axis] = -1
        quantized = weights / scales.reshape(shape)
        assert np.abs(quantized - np.rint(quantized)).max() < 1e-3
        assert np.abs(quantized).max() < 127.001
        if grid == "full":  # the quantizer derives the same scale from the largest weight
            others = tuple(i for i in range(weights.ndim) if i != step.channel_axis)
            live = np.abs(weights).max(others) > 0
            assert np.abs(np.abs(quantized).max(others)[live] - 127).max() < 1e-3
        elif step.kind == "CONV_2D":
            sums = np.rint(quantized).reshape(len(quantized), -1, 2)
            assert np.maximum(sums, 0).sum(-1).max() <= 128
            assert np.minimum(sums, 0).sum(-1).min() >= -128


def test_patches_are_what_the_convolution_sees(
    layers: tuple[StepwiseNetwork, list[tuple[Step, NDArray[np.float32]]]],
) -> None:
    """Strides, padding and the order of taps: patches times weights give the layer's output."""
    network, found = layers
    for step, inputs in found:
        assert step.weights is not None
        weights = network.constant(step.weights)
        if step.kind == "FULLY_CONNECTED":
            continue
        patches = gptq._patches(network, step, inputs[:1], weights.shape[1:3], 10**6)
        if step.kind == "CONV_2D":
            taps = weights.reshape(len(weights), -1, weights.shape[3])
            got = np.einsum("ntc,otc->no", patches, taps)
        else:
            got = np.einsum("ntc,tc->nc", patches, weights[0].reshape(-1, weights.shape[3]))
        if step.bias is not None:
            got = got + network.constant(step.bias)
        expected = network.run(step, {step.computed_inputs[0]: inputs[:1]}, linear=True)
        assert np.abs(got - expected.reshape(got.shape)).max() < 1e-3
