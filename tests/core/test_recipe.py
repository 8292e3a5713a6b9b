"""What calibration hands to exporters survives its way through JSON, and nothing else is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgezoo.core import typed_json
from edgezoo.core.protocols import ExportJob
from edgezoo.core.recipe import Preparation, Recipe
from edgezoo.core.typed_json import InvalidValueError

PREPARATION = Preparation(
    input_scale=1 / 127.5,
    ranges={"image": (-1.0, 1.0), "conv1": (0.0, 6.0)},
    images=2,
    corrected_layers=1,
    methods=("min/max ranges", "GPTQ rounding"),
    scales={"conv1": [0.25, 0.5]},
    recipe=Recipe("best", "per-tensor", "pair-safe", ("conv1",)),
)


def test_preparation_is_read_as_written(tmp_path: Path) -> None:
    PREPARATION.save(tmp_path / "prepared.json")
    assert Preparation.load(tmp_path / "prepared.json") == PREPARATION


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"inputscale": 1.0}, "inputscale"),
        ({"ranges": {"image": [0.0]}}, "ranges.image"),
        ({"recipe": {"effort": "slow"}}, "recipe.effort"),
        ({"recipe": {"float_layer": []}}, "recipe.float_layer"),
    ],
)
def test_other_preparations_are_refused(
    tmp_path: Path, change: dict[str, object], path: str
) -> None:
    file = tmp_path / "prepared.json"
    file.write_text(json.dumps({**typed_json.encode(PREPARATION), **change}))
    with pytest.raises(InvalidValueError) as caught:
        Preparation.load(file)
    assert caught.value.path == path


def test_jobs_and_recipes_are_read_as_written() -> None:
    job = ExportJob("onnx", "int8", "normalized", "uint8", "per-channel", 3, "NCHW")
    assert typed_json.decode(ExportJob, json.loads(json.dumps(typed_json.encode(job)))) == job
    recipe = PREPARATION.recipe
    assert typed_json.decode(Recipe, json.loads(json.dumps(typed_json.encode(recipe)))) == recipe
