"""Every model of the zoo is built, every family exported: mostly long, for `make test-slow`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgezoo.core import registry
from tests.conftest import FORMATS, environment, run_cli

# The member with the fewest parameters stands for its family.
FAMILIES = list(
    {
        spec.family: spec.name
        for spec in sorted(registry.models().values(), key=lambda spec: -spec.parameters)
    }.values()
)
# `make test` exports these in full: linear bottlenecks at another width, and what is hardest for
# 8 bits (squeeze-and-excitation, hard activations). The fixtures `trained` and `exported` and
# end_to_end/test_pretrained.py export mobilenet and efficientnet_lite0. `make test-slow` exports
# every family in full.
WHOLE = ("mobilenetv2", "mobilenetv3small")
ALL, PRECISIONS = ",".join(FORMATS), "float32,float16,int8"

BUILD = """
import json, sys
import edgezoo
from edgezoo.networks.building import multiply_adds
for name in edgezoo.list_models():
    network = edgezoo.build(name, weights="random")
    size = network.input_shape[1]
    counts = [network.count_params(), multiply_adds(network)]
    print(json.dumps([name, counts, size, list(network.output_shape)]), flush=True)
    del network
    import keras
    keras.backend.clear_session()
"""


@pytest.mark.slow
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
    for name, counts, size, output in rows:
        spec = registry.model(name)
        assert counts == [spec.parameters, spec.multiply_adds], name
        assert size == spec.default_input_size, name
        assert output == [None, 1000]


@pytest.mark.parametrize(
    ("name", "count"),
    [*((name, 8) for name in WHOLE),
     *(pytest.param(name, 32, marks=pytest.mark.slow) for name in FAMILIES)],
)  # fmt: skip
def test_families_at_their_smallest_size(name: str, count: int, tmp_path: Path) -> None:
    spec = registry.model(name)
    ended = run_cli(
        "export", name, "--weights", "random", "--format", ALL, "--precision", PRECISIONS,
        "--input-size", str(spec.min_input_size), "--calibration-count", str(count),
        "-o", tmp_path, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    entries = ended.json["artifacts"]
    assert len(entries) == len(FORMATS) * 3
    for entry in entries:
        check = entry["verification"]
        assert check["verdict"] == "passed", entry["path"]
        if entry["precision"] == "float32":
            assert check["sqnr_db"] is None or check["sqnr_db"] > 80, entry["path"]
            assert check["agreement_top1"] == 1, entry["path"]
        elif entry["precision"] == "float16":
            assert check["sqnr_db"] > 30 and check["agreement_top1"] > 0.9, entry["path"]
        else:
            assert check["sqnr_db"] > 5, entry["path"]
            assert check["agreement_top1"] > 0.5, entry["path"]
