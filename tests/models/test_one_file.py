"""A family is one file: put into the folder, it is in the zoo, and goes through the whole line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, environment

FAMILY = '''
"""A network of two layers that Keras does not have."""

from edgezoo.core.spec import ModelSpec, WeightsFile


def Postage(include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
            classes=1000, classifier_activation="softmax", name="postage"):
    import keras

    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    x = keras.layers.ReLU(6.0, name="stem_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(image, x, name=name)


SPECS = (
    ModelSpec(
        name="postage",
        family="postage",
        keras_name="Postage",
        module=__name__,
        preprocessing="torch",
        default_input_size=32,
        min_input_size=8,
        parameters=9_224,
        multiply_adds=63_296,
        depth=2,
        size_mb=0.1,
        top1=0.001,
        top5=0.005,
        paper="https://example.org/postage",
        weights=WeightsFile(name="postage.h5", url="https://example.org/postage.h5", md5=None),
        weights_licence="none",
    ),
)
'''


def test_a_new_file_is_a_new_family(tmp_path: Path) -> None:
    """No list, no import, no special case elsewhere names a family."""
    shutil.copytree(
        ROOT / "edgezoo", tmp_path / "edgezoo", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "edgezoo" / "models" / "postage.py").write_text(FAMILY)

    def edgezoo(*arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-m", "edgezoo", *arguments, "--json"],
            capture_output=True, text=True, cwd=tmp_path, check=False,
            env=environment(PYTHONPATH=str(tmp_path)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        facts: dict[str, object] = json.loads(done.stdout)
        return facts

    assert edgezoo("show", "postage")["parameters"] == 9_224
    made = edgezoo(
        "export", "postage", "--weights", "random", "--precision", "float32,int8",
        "--calibration-count", "8", "-o", "out",
    )  # fmt: skip
    files = made["artifacts"]
    assert isinstance(files, list)
    assert {file["verification"]["verdict"] for file in files} == {"passed"}
    assert len(files) == 6
