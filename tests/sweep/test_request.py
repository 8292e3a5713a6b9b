"""A sweep from a TOML file: what it may say, and what is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgezoo.sweep.entry import request_for
from edgezoo.sweep.grid import SweepRequest


def _request(folder: Path, text: str, **given: Any) -> SweepRequest:
    (folder / "sweep.toml").write_text(text)
    return request_for([folder / "sweep.toml"], given)


def test_words_stand_for_weights_and_calibration_alone(tmp_path: Path) -> None:
    """Folders may be called imagenet, random or samples."""
    found = _request(
        tmp_path,
        'models = "mobilenet"\nimages = "imagenet"\nground-truth = "synthetic"\noutput = "random"\n'
        'weights = "random"\ncalibration = "samples"\n',
    )
    assert (found.images, found.output) == (tmp_path / "imagenet", tmp_path / "random")
    assert found.ground_truth == tmp_path / "synthetic"
    assert (found.weights, found.calibration) == ("random", "samples")
    found = _request(tmp_path, 'models = "x"\nweights = "samples"\ncalibration = "imagenet"\n')
    assert found.weights == str(tmp_path / "samples")
    assert found.calibration == str(tmp_path / "imagenet")
