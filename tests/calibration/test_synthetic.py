"""The synthetic calibration images: reproducible, and natural by the usual statistics."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.calibration import synthetic

SIZE = 224
Images = NDArray[np.uint8]
Doubles = NDArray[np.float64]


@pytest.fixture(scope="module")
def hundred() -> Images:
    """100 images of seed 0, uint8 (100, SIZE, SIZE, 3)."""
    return np.stack(list(synthetic.images(100, SIZE, 0)))


@pytest.fixture(scope="module")
def grey(hundred: Images) -> Doubles:
    """The channel means of the same images, float64 (100, SIZE, SIZE), 0..255."""
    mean: Doubles = hundred.mean(axis=3)
    return mean


def _digest(count: int, size: int, seed: int) -> str:
    data = b"".join(image.tobytes() for image in synthetic.images(count, size, seed))
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [16, 33, 224])
def test_shape_and_type(size: int) -> None:
    made = list(synthetic.images(2, size, 3))
    assert len(made) == 2
    assert all(p.shape == (size, size, 3) and p.dtype == np.uint8 for p in made)
    assert all(p.flags.c_contiguous and p.std() > 5 for p in made)


def test_none_asked_none_made() -> None:
    assert list(synthetic.images(0, SIZE, 0)) == []


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_same_bytes_in_another_process(hash_seed: str) -> None:
    code = (
        "import hashlib; from edgezoo.calibration import synthetic as s;"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in s.images(4, 96, 7))).hexdigest())"
    )
    root = str(Path(synthetic.__file__).absolute().parents[2])
    env = {**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == _digest(4, 96, 7)


def test_an_image_does_not_depend_on_count_or_on_other_sizes_made_before() -> None:
    few = list(synthetic.images(2, 64, 5))
    list(synthetic.images(1, 48, 5))
    many = list(synthetic.images(6, 64, 5))
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=False))


def test_seed_and_index_change_the_image() -> None:
    digests = {p.tobytes() for seed in range(3) for p in synthetic.images(3, 32, seed)}
    assert len(digests) == 9


def test_the_global_random_state_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)["state"]["key"].copy()
    list(synthetic.images(1, 32, 0))
    after = np.random.get_state(legacy=False)["state"]["key"]
    assert np.array_equal(before, after)


def test_mean_and_contrast_are_those_of_photographs(hundred: Images) -> None:
    means = hundred.mean(axis=(0, 1, 2))
    assert np.all((means > 90) & (means < 150)), means
    assert 50 < hundred.std() < 80


def test_exposure_varies_and_no_image_is_constant(hundred: Images, grey: Doubles) -> None:
    means, stds = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    assert means.min() < 70 and means.max() > 160
    assert 5 < stds.min() < 32 and stds.max() > 65
    assert np.sum(hundred.min(axis=(1, 2, 3)) == 0) > 30
    assert np.sum(hundred.max(axis=(1, 2, 3)) == 255) > 30
    assert np.mean((hundred == 0) | (hundred == 255)) < 0.15


def test_neighbouring_pixels_agree(grey: Doubles) -> None:
    across = [np.corrcoef(p[:, 1:].ravel(), p[:, :-1].ravel())[0, 1] for p in grey]
    down = [np.corrcoef(p[1:].ravel(), p[:-1].ravel())[0, 1] for p in grey]
    assert np.mean(across) > 0.85 and np.mean(down) > 0.85
    assert min(across) > 0.4  # not one of them is noise


def test_channels_are_correlated_yet_coloured(hundred: Images) -> None:
    pairs = [np.corrcoef(p.reshape(-1, 3).T) for p in hundred]
    assert np.mean([c[0, 1] for c in pairs]) > 0.7
    assert np.mean([c[1, 2] for c in pairs]) > 0.7
    span = np.ptp(hundred.astype(np.int16), axis=3).mean(axis=(1, 2))
    assert span.min() < 15 and span.max() > 70


def test_power_falls_as_in_natural_images(grey: Doubles) -> None:
    window = np.outer(np.hanning(SIZE), np.hanning(SIZE))
    centred = (grey - grey.mean(axis=(1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fft2(centred)) ** 2).mean(axis=0)
    f = np.fft.fftfreq(SIZE) * SIZE
    ring = np.rint(np.hypot(f[:, None], f)).astype(np.intp).ravel()
    radial = np.bincount(ring, power.ravel()) / np.bincount(ring)
    cycles = np.arange(2, SIZE // 2)
    slope = np.polyfit(np.log(cycles), np.log(radial[cycles]), 1)[0]
    assert -2.6 < slope < -1.5
