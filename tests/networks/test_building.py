"""Networks are what their specs say, to the digit, and what Keras makes of the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from tests.conftest import SUPPORT, environment, made_once

# Others are counted by slow tests, here and in tests/networks/test_catalogue.py.
COUNTED = ("mobilenet", "mobilenetv3small", "efficientnet_lite0")
WIDE = ("mobilenetv3small",)
OTHERS = ("mobilenetv2", "mobilenetv3large", "efficientnetb0", "efficientnetv2b0", "resnet50v2",
          "efficientnet_lite1", "efficientnet_lite2")  # fmt: skip
OTHERS_WIDE = ("mobilenetv2", "mobilenetv3large")


def _probe(folder: Path, counted: tuple[str, ...], wide: tuple[str, ...]) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, str(SUPPORT / "probe_zoo.py"), ",".join(counted), ",".join(wide),
         str(folder)],
        capture_output=True, text=True, check=False,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow",
                        KERAS_HOME=str(folder)),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    facts: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return facts


@pytest.fixture(scope="module")
def built(common: Path) -> dict[str, Any]:
    """What the child found."""

    def make(folder: Path) -> None:
        (folder / "facts.json").write_text(json.dumps(_probe(folder, COUNTED, WIDE)))

    facts: dict[str, Any] = json.loads(
        (made_once(common / "built", make) / "facts.json").read_text()
    )
    return facts


@pytest.mark.slow
def test_the_others_count_to_the_digit(tmp_path: Path) -> None:
    found = _probe(tmp_path, OTHERS, OTHERS_WIDE)
    for name in OTHERS:
        test_counts_to_the_digit(found, name)
    for name in OTHERS_WIDE:
        test_parameters_at_each_width(found, name)


@pytest.mark.parametrize("name", COUNTED)
def test_counts_to_the_digit(built: dict[str, Any], name: str) -> None:
    spec = registry.model(name)
    assert built["counts"][name] == [spec.parameters, spec.multiply_adds, spec.depth]


@pytest.mark.parametrize("name", WIDE)
def test_parameters_at_each_width(built: dict[str, Any], name: str) -> None:
    width = registry.model(name).width
    assert width is not None
    assert built["widths"][name] == {str(a): count for a, count in width.parameters.items()}


def test_own_functions_take_what_those_of_keras_take(built: dict[str, Any]) -> None:
    """No top, pooling, other classes."""
    for shapes in built["headless"].values():
        assert shapes == [[None, 2, 2, 1280], [None, 1280], [None, 7]]


def test_efficientnetb0_is_the_one_that_keras_trained(built: dict[str, Any]) -> None:
    """Built without weights and given them, Keras' network would lack a division."""
    differences = built["efficientnetb0"]
    assert differences["imagenet"] < 1e-5
    assert differences["bare"] > 0.1  # in standard deviations of the logits
