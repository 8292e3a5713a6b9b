"""Every model of the zoo is built and exported: long, so `make test-slow` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgezoo import registry
from tests.conftest import environment, run_cli

pytestmark = pytest.mark.slow

BUILD = """
import json, sys
import edgezoo
for name in edgezoo.list_models():
    network = edgezoo.build(name, weights="random")
    size = network.input_shape[1]
    print(json.dumps([name, network.count_params(), size, list(network.output_shape)]), flush=True)
    del network
    import keras
    keras.backend.clear_session()
"""


def test_all_models_are_built() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BUILD],
        capture_output=True,
        text=True,
        check=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
    )
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert {row[0] for row in rows} == set(registry.models())
    for name, parameters, size, output in rows:
        spec = registry.model(name)
        assert (parameters, size) == (spec.parameters, spec.default_input_size), name
        assert output == [None, 1000]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name", ["densenet121", "inceptionv3", "mobilenet", "nasnetmobile", "resnet50", "vgg16"]
)
def test_families_at_their_smallest_size(name: str, tmp_path: Path) -> None:
    size = str(registry.model(name).min_input_size)
    ended = run_cli(
        "export", name, "--weights", "random", "--precision", "float32,int8", "--input-size", size,
        "--calibration-count", "32", "-o", tmp_path, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    entries = ended.json["artifacts"]
    assert len(entries) == 6
    for entry in entries:
        check = entry["verification"]
        assert check["verdict"] == "passed", entry["path"]
        if entry["precision"] == "float32":
            assert check["sqnr_db"] is None or check["sqnr_db"] > 80, entry["path"]
            assert check["agreement_top1"] == 1, entry["path"]
        else:
            assert check["sqnr_db"] > 5, entry["path"]
            assert check["agreement_top1"] > 0.5, entry["path"]
