"""What an export warns of before anything heavy: images that are too few, or verify nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.core.spec import BuildArguments
from edgezoo.pipeline.export_run import Work
from edgezoo.pipeline.plan import resolve
from edgezoo.pipeline.request import ExportRequest


def _chosen(stage: Path, **more: Any) -> Work:
    """The work of an int8 export that has chosen its images."""
    request = ExportRequest(
        "mobilenet", BuildArguments(alpha=0.25, input_size=32), ("tflite",), ("int8",),
        weights="random", **more,
    )  # fmt: skip
    work = Work(resolve(request), stage, lambda text: None, debug=False)
    work.choose_images()
    return work


def _pictures(folder: Path, count: int) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    np.save(folder / "pixels.npy", pixels)
    return str(folder / "pixels.npy")


def test_few_synthetic_images_are_few_too(tmp_path: Path) -> None:
    warnings = _chosen(tmp_path, calibration_count=1).warnings
    assert any("synthetic images" in text for text in warnings)
    assert any(text.startswith("Only 1 calibration image: ") for text in warnings)
    assert not any("Only" in text for text in _chosen(tmp_path, calibration_count=100).warnings)


def test_one_image_has_no_stability(tmp_path: Path) -> None:
    work = _chosen(tmp_path, calibration_count=1)
    before = len(work.warnings)
    work._judge(None)
    (text,) = work.warnings[before:]
    assert "stability of the ranges is unknown" in text


@pytest.mark.parametrize("verify", [True, False])
def test_nothing_is_said_of_a_verification_that_is_left_out(tmp_path: Path, verify: bool) -> None:
    calibration = _pictures(tmp_path, 120)
    told = _chosen(tmp_path, calibration=calibration, verify=verify).warnings
    assert any("that it was calibrated on" in text for text in told) == verify


def test_few_images_to_verify_with_are_told(tmp_path: Path) -> None:
    calibration = _pictures(tmp_path, 140)
    told = _chosen(tmp_path, calibration=calibration, calibration_count=120).warnings
    assert told == ["Too few images to hold some out: verified on 20, not on 64."]
