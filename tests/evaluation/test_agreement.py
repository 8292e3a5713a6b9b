"""Faults that a comparison must notice, and rounding that it must let pass."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgezoo.core import typed_json
from edgezoo.core.spec import PRECISIONS
from edgezoo.evaluation.agreement import agreement_top1, compare, smallest_cosine, sqnr_db


def _scores(images: int = 50, classes: int = 20) -> np.ndarray:
    logits = np.random.default_rng(0).normal(size=(images, classes)) * 4
    values = np.exp(logits)
    return (values / values.sum(1, keepdims=True)).astype(np.float32)


REFERENCE = _scores()


def test_equal() -> None:
    found = compare(REFERENCE, REFERENCE.copy(), "float32")
    assert found.passed and found.agreement_top1 == 1 and found.reference_in_top5 == 1
    assert found.sqnr_db is None and found.max_abs_diff == 0
    facts = typed_json.encode(found)
    assert facts["verdict"] == "passed" and facts["images"] == 50
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fault", ["constant", "NaN", "infinite", "shape", "one class less"])
def test_what_nothing_excuses(precision: str, fault: str) -> None:
    got = REFERENCE.copy()
    if fault == "constant":
        got[:] = got[7]
    elif fault == "NaN":
        got[3, 2] = math.nan
    elif fault == "infinite":
        got[3, 2] = math.inf
    elif fault == "shape":
        got = got[:-1]
    else:
        got = got[:, :-1]
    found = compare(REFERENCE, got, precision, min_agreement=0.0)  # type: ignore[arg-type]
    assert not found.passed
    (words,) = found.failures
    assert {"constant": "same for every", "NaN": "NaN", "infinite": "infinity"}.get(
        fault, "shape"
    ) in words
    assert found.verdict == "failed"
    # `export --json` and the manifest contain it.
    json.dumps(typed_json.encode(found), allow_nan=False)


@pytest.mark.parametrize("fault", ["classes swapped", "images swapped", "shifted by one class"])
def test_float_faults(fault: str) -> None:
    got = {
        "classes swapped": REFERENCE[:, ::-1],
        "images swapped": REFERENCE[::-1],
        "shifted by one class": np.roll(REFERENCE, 1, 1),
    }[fault]
    for precision in ("float32", "float16"):
        found = compare(REFERENCE, got, precision)  # type: ignore[arg-type]
        assert len(found.failures) == 2, "SQNR and agreement"
        assert found.agreement_top1 < 0.5
    assert compare(REFERENCE, got, "int8").warnings, "an int8 file is at least warned of"


def test_constant_within_rounding() -> None:
    """A collapsed network answers almost, not exactly, the same for everything."""
    got = np.repeat(REFERENCE[:1], 50, 0)
    got += np.random.default_rng(1).normal(size=got.shape).astype(np.float32) * 1e-7
    assert not compare(REFERENCE, got, "float32").passed
    assert not compare(REFERENCE, got, "int8").passed, "constant but for rounding: always a failure"


def test_rounding_of_each_precision() -> None:
    noise = np.random.default_rng(1).normal(size=REFERENCE.shape).astype(np.float32)
    for precision, size, passes in (
        ("float32", 1e-7, True),
        ("float32", 1e-3, False),
        ("float16", 1e-4, True),
        ("float16", 3e-1, False),
        ("int8", 5e-3, True),
    ):
        found = compare(REFERENCE, REFERENCE + size * noise, precision)  # type: ignore[arg-type]
        assert found.passed is passes, (precision, size, found)


def test_sqnr_of_known_noise() -> None:
    assert sqnr_db(REFERENCE, REFERENCE * np.float32(1.1)) == pytest.approx(20, abs=0.01)
    assert sqnr_db(REFERENCE, REFERENCE) == math.inf
    assert sqnr_db(np.zeros((2, 2), np.float32), REFERENCE[:2, :2]) == -math.inf


def test_asked_agreement() -> None:
    got = REFERENCE.copy()
    got[:5] = got[:5, ::-1]
    agreement = agreement_top1(REFERENCE, got)
    assert 0.9 <= agreement < 1
    assert compare(REFERENCE, got, "int8", 0.89).passed
    found = compare(REFERENCE, got, "int8", 0.99)
    assert not found.passed and "0.99" in found.failures[0]


def test_one_image_is_no_constant() -> None:
    assert compare(REFERENCE[:1], REFERENCE[:1], "float32").passed


MAP = np.random.default_rng(1).normal(size=(40, 3, 4, 5)).astype(np.float32)


def test_features_have_noise_and_angle_but_no_classes() -> None:
    noisy = MAP + np.random.default_rng(2).normal(size=MAP.shape).astype(np.float32) * 0.01
    found = compare(MAP, noisy, "float16", kind="features")
    assert found.passed and found.agreement_top1 is None and found.reference_in_top5 is None
    assert found.sqnr_db == pytest.approx(40, abs=0.5)
    assert found.cosine is not None and 0.9995 < found.cosine < 0.99999
    json.dumps(typed_json.encode(found), allow_nan=False)


def test_one_lost_image_shows_in_the_angle() -> None:
    """Of forty, it is hardly seen in the noise; the smallest cosine shows it."""
    got = MAP.copy()
    got[17] = 0
    assert smallest_cosine(MAP, got) == 0
    got[17] = -MAP[17]
    assert smallest_cosine(MAP, got) == pytest.approx(-1)
    assert smallest_cosine(MAP, MAP * 3) == pytest.approx(1)


@pytest.mark.parametrize("fault", ["axes swapped", "images swapped", "constant", "scaled"])
def test_faults_of_features(fault: str) -> None:
    got = {
        "axes swapped": np.ascontiguousarray(MAP.transpose(0, 2, 1, 3)).reshape(MAP.shape),
        "images swapped": MAP[::-1],
        "constant": np.repeat(MAP[:1], len(MAP), 0),
        "scaled": MAP * np.float32(1.1),
    }[fault]
    assert not compare(MAP, got, "float32", kind="features").passed
