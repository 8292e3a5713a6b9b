"""Dense kernels that TensorFlow's converter does not get to see come back where they belong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

# Two kernels of one shape, one of another; the third layer stays as it is.
CONVERT = """
import json, sys
from pathlib import Path
import keras
import numpy as np
from edgezoo.exporters import _graph
folder = Path(sys.argv[1])
image = keras.Input((8, 8, 3))
x = keras.layers.Flatten()(image)
for units in (192, 192, 64):
    x = keras.layers.Dense(units, "relu", bias_initializer="normal")(x)
network = keras.Model(image, keras.layers.Dense(10, "softmax")(x))
picture = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
answer = np.asarray(network(picture))[0].tolist()
if sys.argv[2] == "lost":
    _graph._put_back = lambda converted, kernels: not kernels
for name, large in (("seen", 2**22), ("unseen", 64 * 192)):
    _graph._LARGE_KERNEL = large
    _graph.write_tflite(network, 8, None, "probabilities", folder / f"{name}.tflite")
    _graph.write_onnx(folder / f"{name}.tflite", folder / f"{name}.onnx")
assert np.asarray(network(picture))[0].tolist() == answer
np.save(folder / "picture.npy", picture)
print(json.dumps(answer))
"""


@pytest.mark.parametrize("kind", ["found", "lost"])
def test_same_file_as_with_all_kernels_seen(kind: str, tmp_path: Path) -> None:
    """Also where the converter made something of a kernel that is not found again."""
    import numpy as np
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    ended = subprocess.run(
        [sys.executable, "-c", CONVERT, str(tmp_path), kind],
        capture_output=True, text=True, check=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
    )  # fmt: skip
    answer = json.loads(ended.stdout.splitlines()[-1])
    assert (tmp_path / "unseen.tflite").read_bytes() == (tmp_path / "seen.tflite").read_bytes()
    seen, unseen = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("seen", "unseen"))
    assert [str(node) for node in unseen.node] == [str(node) for node in seen.node]
    assert [str(value) for value in unseen.input] == [str(value) for value in seen.input]
    for mine, theirs in zip(unseen.initializer, seen.initializer, strict=True):
        assert mine.name == theirs.name
        assert (onnx.numpy_helper.to_array(mine) == onnx.numpy_helper.to_array(theirs)).all()
    interpreter = Interpreter(str(tmp_path / "unseen.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"],
                           np.load(tmp_path / "picture.npy"))  # fmt: skip
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    assert np.abs(got - answer).max() < 1e-6
