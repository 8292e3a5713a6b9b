"""A sweep from a TOML file: what it may say, and what is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import UsageError
from edgezoo.sweep.entry import request_for
from edgezoo.sweep.grid import SweepRequest, expand


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


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("limit = 0", "limit", "0"),
        ("limit = -5", "limit", "-5"),
        ("limit = true", "limit", "true"),
        ("limit = 2.5", "limit", "2.5"),
        ("seed = -1", "seed", "-1"),
        ("calibration-count = 0", "calibration-count", "0"),
        ("calibration-count = true", "calibration-count", "true"),
        ("input-size = [160.7]", "input-size", "160.7"),
        ("input-size = [160, -1]", "input-size", "-1"),
        ("input-size = true", "input-size", "true"),
        ("alpha = [true]", "alpha", "true"),
        ("alpha = nan", "alpha", "nan"),
        ("alpha = 0", "alpha", "0"),
        ("alpha = [[0.5]]", "alpha", "[0.5]"),
        ("threads = [true]", "threads", "true"),
        ("threads = 1.5", "threads", "1.5"),
        ("precision = [8]", "precision", "8"),
        ("precision = []", "precision", "[]"),
        ("pin = 1", "pin", "1"),
        ('images = ""', "images", "''"),
        ("weights = false", "weights", "false"),
    ],
)
def test_values_out_of_range(tmp_path: Path, line: str, key: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        _request(tmp_path, f'models = ["mobilenet"]\n{line}\n')
    assert f"sweep.toml: {key} cannot be {value}." in caught.value.message
    assert caught.value.hint.startswith("Give ") and caught.value.hint.endswith(".")


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    found = _request(
        tmp_path,
        'models = "mobilenet"\nalpha = [1, 0.5]\ninput-size = [160.0, 96]\nthreads = [1, "all"]\n'
        "limit = 5\nseed = 0\npin = true\n",
    )
    assert (found.alpha, found.input_size, found.threads) == ((1.0, 0.5), (160, 96), ("1", "all"))
    assert (found.limit, found.seed, found.pin) == (5, 0, True)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('models = ["mobilenet"]', "models"),
        ("alpha = 0.5", "alpha"),
        ('precision = "int8"', "precision"),
        ("calibration-count = 9", "calibration-count"),
    ],
)
def test_files_with_what_makes_files(tmp_path: Path, line: str, key: str) -> None:
    with pytest.raises(UsageError, match=rf"sweep\.toml: {key} says how files are made"):
        _request(tmp_path, f'files = ["a.tflite"]\n{line}\n')


@pytest.mark.parametrize("what", ["a.tflite", "sweep.toml"])
@pytest.mark.parametrize("option", ["seed", "calibration_count", "alpha"])
def test_options_that_files_have_no_use_for(tmp_path: Path, what: str, option: str) -> None:
    (tmp_path / "sweep.toml").write_text('files = ["a.tflite"]\n')
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} says how files are made"):
        request_for([tmp_path / what], {option: (3,)})


def test_a_grid_without_an_axis() -> None:
    with pytest.raises(UsageError, match="--precision names nothing"):
        expand(SweepRequest(models=("mobilenet",), precision=()))


def test_names_of_machines(tmp_path: Path) -> None:
    assert _request(tmp_path, 'models = "x"\nmachine-name = "pi5-lab"\n').machine_name == "pi5-lab"
    for wrong in ('"a\\nb"', f'"{"x" * 65}"', "5"):
        with pytest.raises(UsageError, match="machine-name cannot be"):
            _request(tmp_path, f'models = "x"\nmachine-name = {wrong}\n')
