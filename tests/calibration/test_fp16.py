"""float16 numbers that keep the mean of a layer's output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import fp16
from edgezoo.formats.tflite_stepwise import StepwiseNetwork
from edgezoo.images.preprocessing import find_images, load_pixels
from tests.conftest import Exported, Trained


def test_weights_compensate_for_a_rounded_bias() -> None:
    """Weights of inputs with a mean do; of inputs that only vary, hardly any."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.05, (8, 3, 3, 32)).astype(np.float32)
    half = weights.astype(np.float16)
    rest = rng.uniform(-5e-4, 5e-4, 8)
    steady = np.full(32, 2.0), np.full(32, 0.1)
    chosen = fp16._compensate(weights, half, rest, steady, 0)
    gained = ((chosen.astype(np.float64) - half) * 2.0).sum((1, 2, 3))
    assert np.abs(rest - gained).max() < 2e-5
    assert 0 < (chosen != half).sum() < 0.2 * half.size
    neighbours = np.nextafter(half, np.where(weights > half, np.inf, -np.inf).astype(np.float16))
    assert ((chosen == half) | (chosen == neighbours)).all()
    noisy = np.full(32, 1e-3), np.full(32, 100.0)
    assert (fp16._compensate(weights, half, rest, noisy, 0) != half).mean() < 0.005


def _logits(path: Path, inputs: NDArray[np.float32], half: bool = False) -> NDArray[np.float32]:
    """What enters the softmax; with the nearest float16 numbers if asked."""
    network = StepwiseNetwork(path)
    values = {network.input: inputs}
    for step in network.steps:
        if step.kind == "SOFTMAX":
            return values[step.computed_inputs[0]]
        for tensor in (step.weights, step.bias) if half else ():
            if tensor is not None:
                rounded = network.constant(tensor).astype(np.float16).astype(np.float32)
                network.set_constant(tensor, rounded)
        values[step.output] = network.run(step, values)
    raise AssertionError("no softmax")


def test_loses_less_than_the_nearest_numbers(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    """On other images than those that the means are from."""
    plain, rounded = exported.path("tflite", "float32"), tmp_path / "rounded.tflite"
    images = [load_pixels(path, 32) for path in find_images(trained.calibration)[:32]]
    layers = fp16.round_to_fp16(
        plain, rounded, np.stack(images), lambda pixels: pixels.astype(np.float32)
    )
    assert layers == 28
    network = StepwiseNetwork(rounded)
    for step in network.steps:
        if step.weights is not None and step.bias is not None:
            for tensor in (step.weights, step.bias):
                values = network.constant(tensor)
                assert (values == values.astype(np.float16)).all()
    images = [load_pixels(path, 32) for path in find_images(trained.test)[:64]]
    inputs = np.stack(images).astype(np.float32)
    exact = _logits(plain, inputs)
    nearest, kept = (
        (found - exact).astype(np.float64)
        for found in (_logits(plain, inputs, half=True), _logits(rounded, inputs))
    )
    assert np.square(kept).mean() < 0.85 * np.square(nearest).mean()
    assert np.square(kept.mean(0)).mean() < 0.3 * np.square(nearest.mean(0)).mean()
