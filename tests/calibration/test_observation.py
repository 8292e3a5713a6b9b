"""Ranges and how stable they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgezoo.calibration.observation import UNSTABLE, NetworkInput, stability_of
from edgezoo.core.calibration_metadata import Stability
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.images.preprocessing import normalize
from tests.conftest import Ended, Trained


def test_few_images_are_less_stable_than_many() -> None:
    """Extremes of a few draws differ between halves; those of many do not."""
    generator = np.random.default_rng(0)
    highs = generator.normal(10, 3, (512, 40))
    names = [f"t{i}" for i in range(40)]
    few, many = (stability_of(names, 0 * highs[:n], highs[:n]) for n in (4, 512))
    assert few is not None and many is not None
    assert few.halves == 2 and many.halves == 256
    assert few.score < UNSTABLE < many.score
    assert few.median > 2 * many.median
    assert stability_of(names, highs[:1], highs[:1]) is None


def test_halves_that_differ_are_named() -> None:
    lows, highs = np.zeros((8, 3)), np.ones((8, 3))
    highs[4:, 1] = 4
    found = stability_of(["a", "b", "c"], lows, highs)
    assert found == Stability(4, 0.25, 0.0, "b")


def test_halves_of_one_width_that_lie_apart_are_not_alike() -> None:
    """0 to 6 and -6 to 0: as wide, and nothing in common."""
    lows = np.array([[0.0, 0.0, -1.0], [-6.0, -2.0, -1.0]])
    highs = np.array([[6.0, 6.0, -1.0], [0.0, 4.0, -1.0]])
    found = stability_of(["apart", "shifted", "constant"], lows, highs)
    assert found == Stability(1, 0.0, 0.5, "apart")


@pytest.mark.parametrize("mode", NORMALIZATIONS)
@pytest.mark.parametrize("kind", ["pixels", "normalized"])
def test_network_input_covers_all_pixels(mode: str, kind: str) -> None:
    feed = NetworkInput(NORMALIZATIONS[mode], kind)  # type: ignore[arg-type]
    pixels = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 128, 255)])
    given = feed(pixels)
    low, high = feed.range
    assert low <= given.min() + 1e-5 and given.max() - 1e-5 <= high
    if feed.scale:
        assert (given[1] == 0).all()
    else:
        assert np.array_equal(given, normalize(pixels, NORMALIZATIONS[mode]))


def test_metadata_tells_how_stable_the_ranges_are(
    cli: Callable[..., Ended], trained: Trained, output: Path
) -> None:
    options = [*trained.options[:-1], "4"]
    ended = cli("export", *options, "--int8", "--format", "tflite", "-o", output, "--json")
    assert ended.code == 0, ended.stderr
    assert any("Only 4 calibration images" in text for text in ended.json["warnings"])
    facts = cli("inspect", ended.json["artifacts"][0]["path"], "--json").json
    ranges = facts["contract"]["calibration"]["ranges"]
    assert ranges["stability"]["halves"] == 2
    assert ranges["stability"]["score"] < UNSTABLE
    assert any("halves of them differ by" in text for text in ended.json["warnings"])
    assert len(ranges["sha256"]) == 64
