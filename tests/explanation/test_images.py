"""Which images an explanation runs, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.spec import Resize
from edgezoo.explanation.analysis import Analysis
from edgezoo.explanation.causes import CAUSES, Cause
from edgezoo.explanation.input_view import InputView
from edgezoo.explanation.verdict import conclude
from edgezoo.images.preprocessing import load_pixels
from edgezoo.pipeline.explain_file import explain_file
from edgezoo.pipeline.explain_images import choose, overlap
from tests.conftest import Exported, Trained


@pytest.fixture
def contract(exported: Exported) -> InputContract:
    return registry.load_artifact(exported.path("tflite", "int8")).required_contract()


def test_drawn_pictures_are_not_those_of_the_calibration(contract: InputContract) -> None:
    calibrated, _ = sources.choose("synthetic", 32, 8, 2, 0)
    chosen = choose("synthetic", contract, 8, 0)
    assert len(chosen.pixels) == 8
    for picture in chosen.pixels:
        assert not (calibrated.pixels == picture).all((1, 2, 3)).any()
    drawn = replace(contract, calibration=sources.metadata(calibrated, 32))
    assert overlap(chosen, "synthetic", drawn) == 0
    same = sources.metadata(chosen, 32)
    assert overlap(chosen, "synthetic", replace(contract, calibration=same)) == 8


def test_images_that_calibrated_the_file_are_counted(
    contract: InputContract, trained: Trained
) -> None:
    for folder, few in ((trained.calibration, 1), (trained.test, 0)):
        chosen = choose(str(folder), contract, 16, 0)
        found = overlap(chosen, str(folder), contract)
        assert found is not None and few <= found <= 16 * few
    chosen = choose(str(trained.test), contract, 4, 0)
    assert overlap(chosen, str(trained.test), replace(contract, calibration=None)) is None


def test_arrays_that_calibrated_the_file_are_counted(
    contract: InputContract, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels)
    np.savez(tmp_path / "half.npz", images=pixels[:3])
    half, _ = sources.choose(str(tmp_path / "half.npz"), 32, 6, 2, 0)
    told = replace(contract, calibration=sources.metadata(half, 32))
    chosen = choose(str(tmp_path / "all.npz"), told, 6, 0)
    assert overlap(chosen, str(tmp_path / "all.npz"), told) == 3
    assert overlap(chosen, str(tmp_path / "all.npz"), contract) is None, "it knows files only"


def test_pictures_are_resized_as_the_contract_says(
    contract: InputContract, trained: Trained
) -> None:
    bicubic = replace(contract, crop_fraction=0.5, resize_filter="bicubic")
    chosen = choose(str(trained.test), bicubic, 2, 0)
    for name, picture in zip(chosen.names, chosen.pixels, strict=True):
        wanted = load_pixels(trained.test / name, 32, Resize(0.5, "bicubic"))
        np.testing.assert_array_equal(picture, wanted)


def test_place_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        explain_file("any.tflite", images=str(tmp_path / "none"))
    assert caught.value.message == f"There are no images at {tmp_path / 'none'}."


def test_weights_beside_a_float_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--weights none\.h5 has no effect next to --float"):
        explain_file("any.tflite", float_file="float.tflite", weights="none.h5")


def _verdict(kept: int, images: int) -> str:
    causes = tuple(Cause(name, 0.0, None, 0.2) for name in CAUSES)
    view = InputView(False, (-1, 1), (-1, 1), 0.0)
    analysis = Analysis(
        images=images,
        agreement_top1=kept / images,
        lost_agreement=0.0,
        lost_top1=None,
        stages=(),
        causes=causes,
        input=view,
        layers=(),
        unmatched_layers=(),
        trace_difference=0.0,
    )
    verdict = conclude(analysis, [])
    assert verdict.healthy
    return verdict.text


def test_few_images_prove_nothing() -> None:
    assert _verdict(1, 1).startswith(
        "No fault was found, but 1 images are too few to be sure: 1 of 1"
    )
    assert _verdict(19, 20).startswith("No fault was found, but 20 images are too few")
    assert _verdict(95, 100).startswith("Nothing is wrong: 95 of 100")
