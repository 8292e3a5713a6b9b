"""Cross-layer equalization keeps the output and makes ranges of channels alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.calibration import equalization
from edgezoo.formats.tflite_stepwise import StepwiseNetwork
from edgezoo.images.preprocessing import find_images, load_pixels
from tests.conftest import Exported, Trained


@pytest.fixture(scope="module")
def pixels(trained: Trained) -> NDArray[np.uint8]:
    return np.stack([load_pixels(path, 32) for path in find_images(trained.calibration)[:64]])


def _run(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    network = StepwiseNetwork(path)
    values = {network.input: pixels.astype(np.float32)}
    for step in network.steps:
        values[step.output] = network.run(step, values)
    return values[network.steps[-1].output]


def _worst_spread(path: Path) -> float:
    """Largest over median channel width, of the layer where they differ most."""
    network = StepwiseNetwork(path)
    spreads = []
    for step in network.steps:
        if step.kind == "DEPTHWISE_CONV_2D" and step.weights is not None:
            widths = np.abs(network.constant(step.weights)).max((0, 1, 2))
            spreads.append(float(widths.max() / np.median(widths[widths > 0])))
    return max(spreads)


def test_answers_stay_and_channels_are_levelled(
    exported: Exported, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    source = exported.path("tflite", "float32")
    path = tmp_path / "equal.tflite"
    path.write_bytes(source.read_bytes())
    pairs = equalization.equalize(path, pixels, lambda image: image.astype(np.float32))
    assert pairs == 27  # every neighbour of MobileNet's 28 layers: at 32 px nothing is averaged
    assert np.abs(_run(path, pixels) - _run(source, pixels)).max() < 1e-4
    assert _worst_spread(path) < 0.7 * _worst_spread(source)


def test_channels_that_reach_6_keep_their_scale(
    exported: Exported, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Without the bound for ReLU6 the answers change: the bound is needed, and it is used."""
    source = exported.path("tflite", "float32")
    network = StepwiseNetwork(source)
    values = {network.input: pixels.astype(np.float32)}
    clipped = 0
    for step in network.steps:
        values[step.output] = network.run(step, values)
        clipped += network.activation(step)[1] == 6 and float(values[step.output].max()) == 6
    assert clipped > 3
