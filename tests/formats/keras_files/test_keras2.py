"""Networks that Keras 2 wrote: their JSON, converted, is what Keras 3 loads.

`benchmarks/keras2_layers.py` does the same with files of every layer that tf_keras writes; the slow
test runs it where an environment with tf_keras is named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.formats.keras_files import allowed, keras2, reading
from edgezoo.formats.keras_files.network_config import network_config
from tests.conftest import ROOT, environment
from tests.formats.keras_files.test_code import empty_hdf5, write_h5, write_keras

Json = dict[str, Any]
OTHER = "EDGEZOO_TF_KERAS_PYTHON"


def layer(kind: str, before: str | None = None, **facts: Any) -> Json:
    """A layer as Keras 2 writes it into .h5 files."""
    name = facts.pop("name", kind.lower())
    nodes = [[[before, facts.pop("call", 0), 0, facts.pop("words", {})]]] if before else []
    config = {"name": name, "trainable": True, "dtype": "float32", **facts}
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}


def functional(*layers: Json, name: str = "model") -> Json:
    first = layer("InputLayer", name="image", batch_input_shape=[None, 8, 8, 3],
                  sparse=False, ragged=False)  # fmt: skip
    config = {"name": name, "layers": [first, *layers], "input_layers": [["image", 0, 0]],
              "output_layers": [[layers[-1]["name"], 0, 0]]}  # fmt: skip
    return {"class_name": "Functional", "config": config}


def converted(*layers: Json) -> dict[str, Json]:
    """The layers of a network, converted, by their names."""
    config = network_config(functional(*layers), "2.9.0")
    assert allowed.third_party_code(config) == ()
    return {entry["name"]: entry for entry in config["config"]["layers"]}


def test_arguments_that_say_nothing_are_dropped() -> None:
    found = converted(
        layer("DepthwiseConv2D", "image", kernel_size=[3, 3], groups=1,
              depthwise_initializer={"class_name": "GlorotUniformV2", "config": {}}),
        layer("LSTM", "depthwiseconv2d", units=3, time_major=False, implementation=2),
        layer("RandomFlip", "lstm", mode="horizontal", rng_type="stateful"),
        layer("SpatialDropout2D", "randomflip", rate=0.3, noise_shape=None),
        layer("BatchNormalization", "spatialdropout2d", axis=[3], renorm=False, fused=True),
    )  # fmt: skip
    taken = {name: set(entry["config"]) for name, entry in found.items()}
    assert taken["depthwiseconv2d"] == {"name", "trainable", "dtype", "kernel_size"}
    assert taken["lstm"] == {"name", "trainable", "dtype", "units"}
    assert taken["randomflip"] == {"name", "trainable", "dtype", "mode"}
    assert taken["spatialdropout2d"] == {"name", "dtype", "rate"}
    assert found["batchnormalization"]["config"]["axis"] == 3
    assert found["image"]["config"]["batch_shape"] == [None, 8, 8, 3]


@pytest.mark.parametrize(
    ("kind", "facts", "word"),
    [
        ("DepthwiseConv2D", {"groups": 3}, "groups=3"),
        ("LSTM", {"time_major": True}, "time_major=True"),
        ("BatchNormalization", {"renorm": True}, "renorm=True"),
        ("BatchNormalization", {"axis": [1, 3]}, "axis=2"),
        ("LocallyConnected2D", {}, "LocallyConnected2D"),
    ],
)
def test_what_keras_3_has_not_is_refused(kind: str, facts: Json, word: str) -> None:
    with pytest.raises(RefusedError, match=word) as refused:
        converted(layer(kind, "image", **facts))
    assert "SavedModel" in refused.value.hint


def test_hard_sigmoid_keeps_its_old_meaning() -> None:
    found = converted(
        layer("Conv2D", "image", filters=3, kernel_size=[3, 3], activation="hard_sigmoid"),
        layer("GRU", "conv2d", units=3, recurrent_activation="hard_sigmoid", activation="tanh"),
    )
    assert found["conv2d"]["config"]["activation"]["config"] == keras2.HARD_SIGMOID
    assert found["gru"]["config"]["recurrent_activation"]["config"] == keras2.HARD_SIGMOID
    assert found["gru"]["config"]["activation"] == "tanh"
    of_keras3 = network_config(
        {"module": "keras.layers", "class_name": "Activation",
         "config": {"activation": "hard_sigmoid"}}, "3.5.0")  # fmt: skip
    assert of_keras3["config"]["activation"] == "hard_sigmoid"


def test_calls_of_networks_count_from_one() -> None:
    inner = {**functional(layer("ReLU", "image"), name="inner"), "name": "inner",
             "inbound_nodes": [[["image", 0, 0, {}]]]}  # fmt: skip
    found = converted(inner, layer("Flatten", "inner", call=1))
    (node,) = found["flatten"]["inbound_nodes"]
    assert node["args"][0]["config"]["keras_history"] == ["inner", 0, 0]


def test_functions_of_tensorflow() -> None:
    half: Json = {"class_name": "TFOpLambda", "name": "half", "config": {"name": "half",
            "function": "math.subtract"}, "inbound_nodes": [
            ["_CONSTANT_VALUE", -1, 1.0, {"y": ["image", 0, 0], "name": None}]]}  # fmt: skip
    found = converted(half)["half"]
    assert found["config"]["first"] == 1.0
    assert found["config"]["words"] == {"y": {"tensor": 0}}
    assert found["inbound_nodes"][0]["args"][0]["config"]["keras_history"] == ["image", 0, 0]
    for function in (
        "io.read_file",
        "py_function",
        "__operators__.__class__",
        "math.add.__globals__",
    ):
        half["config"]["function"] = function
        with pytest.raises(RefusedError, match="calls the function"):
            converted(half)


def test_an_own_name_in_a_file_is_no_way_in() -> None:
    """A file may name EdgeZoo's layers; the function in them is checked when it is called."""
    from edgezoo.formats.keras_files import tf_functions

    with pytest.raises(ValueError, match="no function"):
        tf_functions.call("io.read_file", "/etc/passwd", {}, ())


def test_half_floats_become_float32() -> None:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"},
              "registered_name": None}  # fmt: skip
    found = network_config({"module": "keras", "class_name": "Dense",
                            "config": {"units": 3, "dtype": policy}}, "3.15.1")  # fmt: skip
    assert found["config"]["dtype"] == "float32"
    assert converted(layer("Dense", "image", units=3))["dense"]["config"]["dtype"] == "float32"
    with pytest.raises(RefusedError, match="quantized by Keras"):
        network_config({"module": "keras", "class_name": "Dense", "config": {
            "dtype": {"class_name": "QuantizedDTypePolicy", "config": {}}}}, "3.15.1")  # fmt: skip


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    pointer = tmp_path / "model.keras"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match="Git LFS"):
        reading.read(pointer)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(empty_hdf5())
    with pytest.raises(DataError, match="weights without a network"):
        reading.usable(weights)


_BUILD = """
import json, sys
import h5py, keras, numpy as np
from pathlib import Path
from edgezoo.core.errors import DataError
from edgezoo.formats.keras_files import load_network, own_layers
folder, config = Path(sys.argv[1]), json.loads(sys.argv[2])
from edgezoo.formats.keras_files.network_config import network_config
own = own_layers.objects()
network = keras.saving.deserialize_keras_object(network_config(config, "2.9.0"), custom_objects=own)
network.set_weights([np.full(w.shape, 0.5, "float32") for w in network.get_weights()])
path = folder / "old.h5"
network.save(path)
with h5py.File(path, "r+") as file:  # as Keras 2 wrote it
    file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.9.0"
loaded = load_network.load(path)
x = np.linspace(-2, 2, 192, dtype="float32").reshape(1, 8, 8, 3)
answers = {"h5": loaded.predict(x, verbose=0).tolist()}
try:
    load_network.load(folder / "newer.keras")
except DataError as error:
    answers["newer"] = str(error)
print(json.dumps(answers))
"""


def test_a_file_of_keras_2_answers_as_in_keras_2(tmp_path: Path) -> None:
    config = functional(
        {"class_name": "TFOpLambda", "name": "double", "config": {"name": "double",
         "function": "math.multiply"}, "inbound_nodes": [["image", 0, 0, {"y": 2.0}]]},
        layer("ThresholdedReLU", "double", theta=0.5),
        layer("DepthwiseConv2D", "thresholdedrelu", kernel_size=[1, 1], groups=1, use_bias=False),
        layer("Activation", "depthwiseconv2d", activation="hard_sigmoid"),
    )  # fmt: skip
    newer = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
             "config": {"units": 3, "new_argument": 1}}  # fmt: skip
    write_keras(tmp_path / "newer.keras", newer)
    ended = subprocess.run(
        [sys.executable, "-c", _BUILD, str(tmp_path), json.dumps(config)],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    import numpy as np

    facts = json.loads(ended.stdout.splitlines()[-1])
    x = np.linspace(-2, 2, 192, dtype="float32").reshape(1, 8, 8, 3) * 2
    wanted = np.clip(0.2 * (0.5 * np.where(x > 0.5, x, 0)) + 0.5, 0, 1)
    assert np.abs(np.asarray(facts["h5"]) - wanted).max() < 1e-6
    assert "new_argument" in facts["newer"]


def test_h5_without_a_version_is_read_by_its_form(tmp_path: Path) -> None:
    config = functional(layer("DepthwiseConv2D", "image", kernel_size=[3, 3], groups=1))
    found = reading.usable(write_h5(tmp_path / "old.h5", config))
    assert found.inputs == ((None, 8, 8, 3),)
    assert "groups" not in json.dumps(found.config)


@pytest.mark.slow
def test_every_layer_that_keras_2_writes() -> None:
    """As .h5 and .keras, within 1e-5 of what Keras 2 answers, or refused by name."""
    if OTHER not in os.environ:
        pytest.skip(f"{OTHER} names no interpreter with tf_keras: pip install tf_keras elsewhere")
    script = ROOT / "benchmarks/keras2_layers.py"
    command = [sys.executable, str(script), "--python", os.environ[OTHER]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert ended.returncode == 0, ended.stdout + ended.stderr
