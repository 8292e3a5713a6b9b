"""Kernels that the converters do not get to see come back where they belong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

# Kernels of every kind that stand-ins replace, some of one shape, with batch norms behind them
# and without, one inside a network of its own, one with a dead channel.
CONVERT = """
import json, sys
from pathlib import Path
import keras
import numpy as np
import onnx
from edgezoo.core.spec import Frame
from edgezoo.exporters import _graph, _onnx_conversion
from edgezoo.formats import operators
folder, kind = Path(sys.argv[1]), sys.argv[2]
keras.utils.set_random_seed(0)
image = keras.Input((16, 16, 3))
x = keras.layers.Conv2D(24, 3, 2, use_bias=False)(image)
inner = keras.Input(x.shape[1:])
x = keras.Model(inner, keras.layers.Conv2D(32, 3, activation="relu")(inner))(x)
for _ in range(2):
    x = keras.layers.SeparableConv2D(32, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(gamma_initializer="random_uniform")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(32, 3, groups=2, padding="same")(x)
    x = keras.layers.BatchNormalization(beta_initializer="random_uniform")(x)
x = keras.layers.Flatten()(x)
for units in (192, 192, 64):
    x = keras.layers.Dense(units, "relu", bias_initializer="normal")(x)
network = keras.Model(image, keras.layers.Dense(10, "softmax")(x))
for layer in network.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.gamma.assign(np.arange(32) % 5 / 3)
photo = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
variables = [id(variable) for variable in network.variables]
answer = np.asarray(network(photo))[0].tolist()
if kind == "lost":
    _graph._put_back = lambda converted, kernels: not kernels
    _onnx_conversion._take_kernels = lambda model, kernels: None
if kind == "failing":
    from tf2onnx.optimizer import _optimizers
    class Failing:
        graph_been_opt = False
        def optimize(self, graph, iteration):
            raise ValueError("this pass fails")
    _optimizers["failing"] = Failing
seen = []
convert, name = _graph._converted, "unseen"
def converted(model, size, how, kernels):
    seen.append((name, len(kernels)))
    return convert(model, size, how, kernels)
_graph._converted = converted
for name, large in (("seen", 2**30), ("unseen", 2**10)):
    operators.LARGE_KERNEL = large
    _graph._HUGE_KERNEL = 192 * 192  # that of the second dense layer
    (folder / name).mkdir()
    base, frame = folder / name / "base.tflite", Frame(16, 16)
    _graph.write_tflite(network, frame, None, "probabilities", base)
    import os
    os.chdir(folder / name)
    onnx.save(_onnx_conversion.to_onnx(Path("base.tflite")), "base.onnx")
    assert {path.name for path in Path.cwd().iterdir()} == {"base.tflite", "base.onnx"}
assert "TF2ONNX_CATCH_ERRORS" not in os.environ
assert [id(variable) for variable in network.variables] == variables
assert np.asarray(network(photo))[0].tolist() == answer
np.save(folder / "photo.npy", photo)
print(json.dumps([answer, seen]))
"""


@pytest.mark.parametrize(
    "kind",
    [
        "found",
        pytest.param("lost", marks=pytest.mark.slow),
        pytest.param("failing", marks=pytest.mark.slow),
    ],
)
def test_same_file_as_with_all_kernels_seen(kind: str, tmp_path: Path) -> None:
    """Also where a converter made something of a kernel that is not found again."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    ended = subprocess.run(
        [sys.executable, "-c", CONVERT, str(tmp_path), kind],
        capture_output=True, text=True, check=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
    )  # fmt: skip
    answer, tries = json.loads(ended.stdout.splitlines()[-1])
    again = [["unseen", 0]] if kind == "lost" else []
    assert tries == [["seen", 0], ["unseen", 8], *again]
    for name in ("base.tflite", "base.onnx"):
        assert (tmp_path / "unseen" / name).read_bytes() == (tmp_path / "seen" / name).read_bytes()
    interpreter = Interpreter(str(tmp_path / "unseen" / "base.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"],
                           np.load(tmp_path / "photo.npy"))  # fmt: skip
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    assert np.abs(got - answer).max() < 1e-6
