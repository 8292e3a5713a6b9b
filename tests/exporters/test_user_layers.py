"""Layers that the zoo does not have, in one network, through all formats and precisions.

`benchmarks/layer_sweep.py` does the same with every layer of Keras, one at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgezoo.core.errors import RefusedError
from edgezoo.exporters._unsupported import refuse_unsupported
from edgezoo.formats import float_parts
from edgezoo.formats.float_parts import Operation
from tests.conftest import ROOT, environment

_RUN = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import layer_sweep
import keras
from keras import layers as of, ops
keras.utils.set_random_seed(0)
image = keras.Input((16, 16, 3))
x = of.RandomFlip("horizontal")(of.MaxPooling2D(1)(image))
x = keras.applications.resnet50.preprocess_input(x) / 64.0
x = ops.clip(of.Conv2D(8, 3, 2, "same")(x), -1, 1)
gate = of.Dense(4, "relu")(of.GlobalAveragePooling2D(keepdims=True)(x))
x = of.Multiply()([x, of.Dense(8, "sigmoid")(gate)])
x = of.RMSNormalization()(of.GroupNormalization(2)(of.Activation("gelu")(x)))
tokens = of.LayerNormalization()(of.Reshape((16, 32))(x))
tokens = of.MultiHeadAttention(2, 8)(tokens, tokens)
tokens = of.TimeDistributed(of.Dense(8, "relu"))(tokens)  # its slices share bytes with a bias
x = ops.split(of.Flatten()(tokens), 2, axis=-1)[1]
network = keras.Model(image, of.Dense(6)(x))
with tempfile.TemporaryDirectory() as folder:
    print(json.dumps(layer_sweep.export(network, Path(folder), 16)))
"""


def test_every_format_and_precision() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, str(ROOT / "benchmarks")],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert len(found) == 9
    for key, decibels in found.items():
        # OpenVINO's floats may be bfloat16 on this CPU. int8: random weights, two images.
        name, precision = key.split(" ")
        least = {"float32": 40 if name == "openvino" else 60, "float16": 40, "int8": 5}[precision]
        assert isinstance(decibels, float) and decibels >= least, (key, decibels)


def test_a_norm_stays_in_float_and_its_neighbours_do_not() -> None:
    """x -> square -> mean -> + epsilon -> rsqrt -> * x -> * gamma, between two layers."""
    operations = [
        Operation("CONV_2D", ("image",), ("x",)),
        Operation("SQUARE", ("x",), ("a",)),
        Operation("MEAN", ("a",), ("b",)),
        Operation("ADD", ("b",), ("c",)),
        Operation("RSQRT", ("c",), ("d",)),
        Operation("MUL", ("x", "d"), ("e",)),
        Operation("MUL", ("e",), ("f",)),
        Operation("CONV_2D", ("f",), ("g",)),
        Operation("DIV", ("g",), ("h",)),
    ]
    found = float_parts.float_parts(operations, float_parts.TFLITE)
    assert found == {1, 2, 3, 4, 5, 6}, "a division by a constant is a product"
    residual = [Operation("ADD", ("x", "y"), ("z",)), *operations[7:]]
    assert float_parts.float_parts(residual, float_parts.TFLITE) == set()


@pytest.mark.parametrize(
    ("kind", "facts", "word"),
    [
        ("Resizing", {"interpolation": "bicubic"}, "Resizing, bicubic"),
        ("UpSampling2D", {"interpolation": "lanczos3"}, "UpSampling2D, lanczos3"),
        ("Conv2DTranspose", {"dilation_rate": [2, 2]}, "dilated"),
        ("MaxPooling3D", {}, "MaxPooling3D"),
    ],
)
def test_what_no_format_has_is_named_with_a_way_out(
    kind: str, facts: dict[str, object], word: str
) -> None:
    layer = {"class_name": kind, "config": {"name": "here", **facts}}
    network = {"class_name": "Functional", "config": {"layers": [layer]}}
    with pytest.raises(RefusedError, match=word) as refused:
        refuse_unsupported("own.keras", network)
    assert "here" in refused.value.message and refused.value.hint


def test_the_same_layers_with_other_arguments_pass() -> None:
    for kind, facts in (
        ("Resizing", {"interpolation": "bilinear"}),
        ("Conv2DTranspose", {"dilation_rate": [1, 1]}),
        ("Erf", {"name": "a layer of the user's, not keras.ops"}),
    ):
        refuse_unsupported(
            "own.keras", {"class_name": kind, "module": "keras.layers", "config": facts}
        )
