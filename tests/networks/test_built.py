"""What `edgezoo.build` makes of each argument, and what Keras makes of the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgezoo
from edgezoo.core import registry
from edgezoo.core.errors import UsageError
from tests.conftest import SUPPORT, Trained, environment, made_once


@pytest.fixture(scope="module")
def built(common: Path, trained: Trained) -> dict[str, Any]:
    """What the child found; takes about 25 CPU seconds."""

    def make(folder: Path) -> None:
        ended = subprocess.run(
            [sys.executable, str(SUPPORT / "probe_arguments.py"), str(trained.weights)],
            capture_output=True, text=True, check=False,
            env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        (folder / "facts.json").write_text(ended.stdout.splitlines()[-1])

    facts: dict[str, Any] = json.loads(
        (made_once(common / "arguments", make) / "facts.json").read_text()
    )
    return facts


def test_outputs_and_parameters(built: dict[str, Any]) -> None:
    shapes = built["shapes"]
    assert {name: shape for name, (shape, _) in shapes.items()} == {
        "whole": [None, 1000],
        "map": [None, 1, 1, 256],
        "avg": [None, 256],
        "classes": [None, 7],
        "cut": [None, 8, 8, 32],
        "wide": [None, 1, 1, 256],
    }
    counts = {name: count for name, (_, count) in shapes.items()}
    assert counts["whole"] - counts["avg"] == 257 * 1000
    assert counts["classes"] - counts["avg"] == 257 * 7
    assert counts["cut"] < counts["map"] == counts["avg"] < counts["wide"]


def test_features_are_those_of_the_whole_network(built: dict[str, Any]) -> None:
    """From a file that holds the top too, and from a seed."""
    assert built["same_body"].keys() == {"file", "random"}
    assert max(built["same_body"].values()) < 1e-4


def test_network_on_a_tensor(built: dict[str, Any]) -> None:
    """It begins with the tensor's own input, keeps what stands before, and answers the same."""
    over = built["over_a_tensor"]
    assert over["input"] == "photograph"
    assert over["layers"] == 2
    assert over["difference"] < 1e-5


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("another model", "3 x 3 x 3 x 8, the network's Conv1/kernel takes 3 x 3 x 3 x 16"),
        ("classes", "1 x 1 x 256 x 1000, the network's conv_preds/kernel takes 1 x 1 x 256 x 7"),
        ("fewer layers", "layers with weights, the network"),
        ("no weights", "found 0 saved layers"),
    ],
)
def test_weights_that_do_not_fit(built: dict[str, Any], case: str, says: str) -> None:
    assert "does not contain the weights of this mobilenet" in built["misfits"][case]
    assert says in built["misfits"][case]


def test_blocks_of_densenet(built: dict[str, Any]) -> None:
    given, shallow = built["densenet"]
    assert given == registry.model("densenet121").parameters
    assert shallow < given / 5


def test_dropout_reaches_the_network(built: dict[str, Any]) -> None:
    assert built["dropouts"] == {"mobilenet": [0.3], "mobilenetv3small": [0.3]}


def test_preprocess_input_is_that_of_keras(built: dict[str, Any]) -> None:
    assert built["preprocessing"] == {}


def test_decode_predictions_is_that_of_keras(built: dict[str, Any]) -> None:
    assert built["decoding"] == []


def test_preprocess_input_refuses() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UsageError, match="Did you mean vgg19 or vgg16"):
        edgezoo.preprocess_input("vgg61", picture)
    with pytest.raises(UsageError, match="shape"):
        edgezoo.preprocess_input("vgg16", picture[..., :1])
    with pytest.raises(UsageError, match="Did you mean channels_first"):
        edgezoo.preprocess_input("vgg16", picture, "channel_first")


def test_decode_predictions_refuses() -> None:
    with pytest.raises(UsageError, match=r"\(n, 1000\), not \(2, 10\)"):
        edgezoo.decode_predictions(None, np.zeros((2, 10)))
    with pytest.raises(UsageError, match="is not a number of classes"):
        edgezoo.decode_predictions(None, np.zeros((2, 1000)), top=0)


def test_unknown_argument() -> None:
    with pytest.raises(UsageError, match=r"no argument .poling.\. Did you mean pooling"):
        edgezoo.build("mobilenet", poling="avg")  # type: ignore[call-arg]
