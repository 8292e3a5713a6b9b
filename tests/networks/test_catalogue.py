"""Every model of the zoo is built, every family exported: mostly long, for `make test-slow`."""

from __future__ import annotations

import itertools
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
# TensorFlow's converter takes 12 GB for their dense layers, also at 32 pixels; without these layers
# they are exported in tests/docs/test_examples.py.
LARGE = ("vgg16", "vgg19")
# `make test` exports these in full, which differ most: linear bottlenecks at another width, what is
# hardest for 8 bits (squeeze-and-excitation, normalisation inside), concatenations, many cells.
WHOLE = {
    "mobilenetv2": "float32,float16,int8", "mobilenetv3small": "float32,float16,int8",
    "efficientnetb0": "float32,int8", "densenet121": "float32,int8", "nasnetmobile": "float32,int8",
}  # fmt: skip
# Exported in full by the fixtures `trained` and `exported`, and by end_to_end/test_pretrained.py.
ELSEWHERE = ("mobilenet", "efficientnet_lite0")
# The others take one format each, in turn; `make test-slow` exports all of them in full.
SINGLE = [name for name in FAMILIES if name not in (*WHOLE, *ELSEWHERE, *LARGE)]
# Ranges of squeeze-and-excitation behind a swish depend on which pictures there are.
COUNTS = {"efficientnetb0": 32, "efficientnetv2b0": 32}
ALL = ",".join(FORMATS)

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
    ("name", "formats", "precisions", "count"),
    [*((name, ALL, precisions, COUNTS.get(name, 8)) for name, precisions in WHOLE.items()),
     *((name, format, "float32,int8", COUNTS.get(name, 8))
       for name, format in zip(SINGLE, itertools.cycle(FORMATS))),
     *(pytest.param(name, ALL, "float32,float16,int8", 32, marks=pytest.mark.slow)
       for name in FAMILIES)],
)  # fmt: skip
def test_families_at_their_smallest_size(
    name: str, formats: str, precisions: str, count: int, tmp_path: Path
) -> None:
    spec = registry.model(name)
    ended = run_cli(
        "export", name, "--weights", "random", "--format", formats, "--precision", precisions,
        "--input-size", str(spec.min_input_size), "--calibration-count", str(count),
        "-o", tmp_path, "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.stderr
    entries = ended.json["artifacts"]
    assert len(entries) == len(formats.split(",")) * len(precisions.split(","))
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
