"""A channel that is constant keeps its bias in 32 bits, and its value."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgezoo.calibration.observation import NetworkInput, Observation
from edgezoo.calibration.preparation import prepare
from edgezoo.calibration.tiny_weights import lift_tiny_weights
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import activation_parameters, weight_scales
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork
from tests.conftest import Exported


def _with_constant_channel(source: Path, path: Path) -> tuple[int, dict[str, tuple[float, float]]]:
    """A copy whose fifth layer gives 3 in its first channel; the layer's place, and ranges."""
    network = StepwiseNetwork(source)
    layers = [step for step in network.steps if step.weights is not None]
    step = layers[4]
    assert step.weights is not None and step.bias is not None
    weights, bias = network.constant(step.weights), network.constant(step.bias)
    np.moveaxis(weights, step.channel_axis, 0)[0] = 1e-11
    bias[0] = 3.0
    network.set_constant(step.weights, weights)
    network.set_constant(step.bias, bias)
    tflite_flatbuffer.write_model(network.model, path)
    names = [network.name(i) for s in network.steps for i in (*s.computed_inputs, s.output)]
    return step.index, dict.fromkeys(names, (0.0, 6.0))


def _largest_bias(path: Path, index: int) -> float:
    """The layer's largest bias in steps of input scale times weight scale."""
    network = StepwiseNetwork(path)
    step = network.steps[index]
    assert step.weights is not None and step.bias is not None
    weights = network.constant(step.weights)
    scales = weight_scales(weights, step.channel_axis).reshape(-1)
    return float(
        np.abs(network.constant(step.bias) / (scales * activation_parameters(0, 6)[0])).max()
    )


def test_bias_fits_and_values_stay(exported: Exported, tmp_path: Path) -> None:
    """As an export prepares the network, whatever else its recipe does."""
    plain, path = tmp_path / "constant.tflite", tmp_path / "prepared.tflite"
    index, ranges = _with_constant_channel(exported.path("tflite", "float32"), plain)
    assert _largest_bias(plain, index) > 2**31
    before = StepwiseNetwork(plain)
    step = before.steps[index]
    (tensor,) = step.computed_inputs
    shape = [int(n) for n in before.graph.tensors[tensor].shape]
    inputs = np.random.default_rng(0).uniform(0, 6, shape).astype(np.float32)
    wanted = before.run(step, {tensor: inputs})
    feed = NetworkInput(NORMALIZATIONS["tf"], "pixels")
    no_pixels = np.zeros((1, 32, 32, 3), np.uint8)
    prepare(plain, path, no_pixels, feed, Observation(1.0, ranges, 1), Recipe(effort="fast"))
    assert _largest_bias(path, index) < 2**29.01
    got = StepwiseNetwork(path).run(step, {tensor: inputs})
    assert np.abs(got - wanted).max() < 1e-3


def test_a_sound_network_is_not_touched(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "sound.tflite"
    path.write_bytes(exported.path("tflite", "float32").read_bytes())
    network = StepwiseNetwork(path)
    names = [network.name(i) for s in network.steps for i in (*s.computed_inputs, s.output)]
    before = path.read_bytes()
    assert lift_tiny_weights(path, dict.fromkeys(names, (0.0, 6.0))) == 0
    assert path.read_bytes() == before
