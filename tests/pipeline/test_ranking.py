"""Which layers stay in float first: those that lose most in the network that is quantized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.calibration import equalization, observation, preparation, sensitivity, sources
from edgezoo.calibration.observation import NetworkInput
from edgezoo.core import registry
from edgezoo.core.recipe import Recipe
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.pipeline import children
from tests.conftest import Exported, Trained

FEED = NetworkInput(NORMALIZATIONS["raw"], "normalized")


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_layers_are_ranked_in_the_network_that_is_quantized(
    exported: Exported, trained: Trained, tmp_path: Path, granularity: str
) -> None:
    """Per tensor that is the equalized one: there the plain network's worst layers are mended."""
    base = exported.path("tflite", "float32")
    found = registry.load_artifact(base).required_contract()
    contract = replace(found, preprocessing="raw", input_kind="normalized")
    plain, equal = tmp_path / "plain.tflite", tmp_path / "equal.tflite"
    preparation.write_plain(base, plain, FEED)
    chosen, _ = sources.choose(str(trained.calibration), 32, 16, 2, 0)
    stored = sources.store(chosen, 32, tmp_path, "calibration")
    seen = observation.observe(plain, stored.array(), FEED)
    seen.save(tmp_path / "observation.json")
    recipe = Recipe(granularity=granularity)  # type: ignore[arg-type]
    got = children.rank_layers(tmp_path, contract, stored.path, recipe)
    inputs = FEED(stored.array()[:8])
    in_plain = sensitivity.rank_layers(plain, inputs, seen.ranges, recipe)
    if granularity == "per-tensor":
        equal.write_bytes(plain.read_bytes())
        equalization.equalize(equal, stored.array(), FEED)
        ranges = observation.observe(equal, stored.array(), FEED).ranges
        wanted = sensitivity.rank_layers(equal, inputs, ranges, recipe)
        assert wanted != in_plain and sum(n for _, n in wanted) < sum(n for _, n in in_plain)
    else:
        wanted = in_plain
    assert got == tuple(name for name, _ in wanted)
    assert not (tmp_path / "ranked.tflite").exists()
