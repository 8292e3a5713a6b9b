"""Bias correction gives channels back the means that rounding took from them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.calibration import bias_correction, sensitivity
from edgezoo.calibration.observation import NetworkInput
from edgezoo.calibration.preparation import write_plain
from edgezoo.core.recipe import Recipe
from edgezoo.core.rounding import round_weights, weight_scales
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork
from edgezoo.images.preprocessing import find_images, load_pixels
from tests.conftest import Exported, Trained

Ranges = dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def inputs(trained: Trained) -> NDArray[np.float32]:
    images = [load_pixels(path, 32) for path in find_images(trained.calibration)[:64]]
    return np.stack(images).astype(np.float32)


@pytest.fixture(scope="module")
def plain(exported: Exported) -> Path:
    return exported.path("tflite", "float32")


def _values(path: Path, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Every activation of a network, by name."""
    network = StepwiseNetwork(path)
    values = {network.input: inputs}
    for step in network.steps:
        values[step.output] = network.run(step, values)
    return {network.name(index): found for index, found in values.items()}


def _ranges(path: Path, inputs: NDArray[np.float32]) -> Ranges:
    found = _values(path, inputs)
    return {name: (float(v.min()), float(v.max())) for name, v in found.items()}


def _logits_of_rounded(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What enters the softmax where all weights stand on the 8-bit grid."""
    network = StepwiseNetwork(path)
    values = {network.input: inputs}
    for step in network.steps:
        if step.kind == "SOFTMAX":
            return values[step.computed_inputs[0]]
        if step.weights is None:
            values[step.output] = network.run(step, values)
            continue
        weights = round_weights(network.constant(step.weights), step.channel_axis)
        values[step.output] = network.run(step, values, weights)
    raise AssertionError("the network has no softmax")


def _rounded_up(weights: NDArray[np.float32], axis: int, *_: object) -> NDArray[np.float32]:
    scales = weight_scales(weights, axis)
    return np.asarray(np.ceil(weights / scales - 0.25) * scales, np.float32)


def test_less_is_lost_at_the_logits(
    plain: Path, inputs: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The biases alone, on images that they were not fitted to, where all weights are rounded up.

    How far the nearest values are off in the mean depends on the training.
    """
    monkeypatch.setattr(bias_correction, "quantize_weights", lambda *_: None)
    for module in (bias_correction, sys.modules[__name__]):
        monkeypatch.setattr(module, "round_weights", _rounded_up)
    path = tmp_path / "corrected.tflite"
    path.write_bytes(plain.read_bytes())
    fitted, others = inputs[:32], inputs[32:]
    corrected, scales = bias_correction.correct_layers(
        path, fitted, _ranges(plain, inputs), Recipe()
    )
    assert corrected == 28
    assert scales == {}
    network = StepwiseNetwork(plain)
    softmax = next(step for step in network.steps if step.kind == "SOFTMAX")
    exact = _values(plain, others)[network.name(softmax.computed_inputs[0])]
    before, after = (
        float(np.square(_logits_of_rounded(file, others) - exact).mean()) for file in (plain, path)
    )
    assert after < 0.5 * before


def test_what_clips_does_not_count() -> None:
    """The mean is taken where ReLU6 lets a change through."""
    exact = np.array([[[[0.0], [6.0], [1.0], [2.0]]]], np.float32)
    exact = np.repeat(exact, 16, axis=0)
    linear = exact.copy()
    linear[:, :, :2] -= 100
    linear[:, :, 2:] -= 0.25
    assert bias_correction.mean_shift(exact, linear, 0.0, 6.0) == pytest.approx([0.25])
    assert bias_correction.mean_shift(exact[:4], linear[:4], 0.0, 6.0) == pytest.approx([0.0])


def test_a_spoilt_layer_is_the_most_harmful(plain: Path, inputs: NDArray[np.float32]) -> None:
    """A range a hundred times too wide leaves a layer two or three values."""
    network = StepwiseNetwork(plain)
    layer = [step for step in network.steps if step.kind == "DEPTHWISE_CONV_2D"][5]
    ranges = _ranges(plain, inputs)
    name = network.name(layer.output)
    ranges[name] = (0.0, 100 * max(ranges[name][1], 1.0))
    ranked = sensitivity.rank_layers(plain, inputs, ranges, Recipe())
    assert ranked[0][0] == name
    assert len(ranked) == 28
    noise = [harm for _, harm in ranked]
    assert noise == sorted(noise, reverse=True)


def test_layers_that_share_a_constant_get_their_own(plain: Path, tmp_path: Path) -> None:
    """TensorFlow's converter keeps one bias of zeros for all layers that have none."""
    base, path = tmp_path / "base.tflite", tmp_path / "plain.tflite"
    network = StepwiseNetwork(plain)
    one, other = _layers_of_one_width(network)
    network.graph.operators[other.index].inputs[2] = one.bias
    tflite_flatbuffer.write_model(network.model, base)
    write_plain(base, path, NetworkInput(NORMALIZATIONS["raw"], "normalized"))
    written = StepwiseNetwork(path)
    one, other = (written.steps[step.index] for step in (one, other))
    assert one.bias is not None and other.bias is not None
    before = written.constant(one.bias).copy()
    assert np.array_equal(written.constant(other.bias), before)
    written.set_constant(one.bias, before + 1)
    assert np.array_equal(written.constant(other.bias), before)


def _layers_of_one_width(network: StepwiseNetwork) -> tuple[Step, Step]:
    """Two layers whose biases have one length."""
    known: dict[int, Step] = {}
    for step in network.steps:
        if step.kind == "CONV_2D" and step.bias is not None:
            width = network.constant(step.bias).size
            if width in known:
                return known[width], step
            known[width] = step
    raise AssertionError("all layers differ in width")
