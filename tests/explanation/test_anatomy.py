"""Whatever the format, the same network has the same anatomy, and tracing changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError
from edgezoo.evaluation.agreement import sqnr_db
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork
from edgezoo.inference.conversion import to_input
from tests.conftest import FORMATS, Exported, Trained

each_format = pytest.mark.parametrize("format", FORMATS)


@pytest.fixture(scope="module")
def network(exported: Exported) -> StepwiseNetwork:
    return StepwiseNetwork(exported.path("tflite", "float32"))


@each_format
def test_weights_are_those_of_the_float_network(
    format: str, exported: Exported, network: StepwiseNetwork
) -> None:
    """By name, in TFLite's layout, and no further away than rounding takes them.

    Rounding that makes up for other weights' errors moves some by a few steps.
    """
    path = exported.path(format, "int8")
    anatomy = registry.anatomy_reader(path).read(path)
    names = [tflite_flatbuffer.text(tensor.name) for tensor in network.graph.tensors]
    weighted = {names[s.output]: s for s in network.steps if s.weights is not None}
    assert set(anatomy.layers) == set(weighted)
    for name, step in weighted.items():
        assert step.weights is not None
        exact, layer = network.constant(step.weights), anatomy.layers[name]
        assert layer.weights.shape == exact.shape
        assert layer.per_channel and layer.limit == 127
        assert sqnr_db(exact, layer.weights) > 25, name
        assert layer.bias is not None and layer.bias.shape == (exact.shape[step.channel_axis],)


@each_format
def test_trace_lies_on_the_grids(format: str, exported: Exported, trained: Trained) -> None:
    path = exported.path(format, "int8")
    artifact = registry.load_artifact(path)
    reader = registry.anatomy_reader(path)
    anatomy = reader.read(path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    names = {*anatomy.grids, *anatomy.layers}
    with reader.open(artifact) as session, reader.trace(path, names) as tracer:
        batch = to_input(pixels, artifact.required_contract(), session.inputs[0])
        trace = tracer.run(batch)
        assert np.array_equal(session.run(batch), trace.scores.reshape(1, -1))
    wanted = (pixels.astype(np.float32) - 128) / 127.5
    assert np.abs(trace.entered - wanted).max() < 1e-5
    assert {f"conv_pw_{i}_relu" for i in range(1, 14)} <= set(trace.values)
    for name in set(trace.values) & set(anatomy.grids):
        values = trace.values[name]
        assert np.abs(anatomy.grids[name].round(values) - values).max() < 1e-5, name
    kernels = trace.values["conv_dw_2_relu"].shape
    assert kernels[-1] == 16 and kernels[1] == kernels[2], "channels stand last"


def test_file_that_nobody_can_look_into(trained: Trained) -> None:
    with pytest.raises(RefusedError, match="keras"):
        registry.anatomy_reader(trained.keras)


def test_every_format_of_ours_has_a_reader() -> None:
    for format, suffix in FORMATS.items():
        assert registry.anatomy_reader(Path(f"a{suffix}")) is not None, format
