"""Outcomes of images: few bytes, and the paired interval that both files together would have."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgezoo.core import typed_json
from edgezoo.evaluation.drop import paired_drop
from edgezoo.evaluation.outcomes import Outcomes, outcomes, pairs

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.random((2, 650)) < 0.6
READ = np.ones(650, bool)


def test_pairs_are_those_of_the_arrays() -> None:
    one, other = (outcomes(correct, READ, "a") for correct in (FIRST, SECOND))
    found = pairs(one, other)
    assert found and found.drop() == paired_drop(FIRST, SECOND)
    assert one.hits == FIRST.sum() and len(json.dumps(typed_json.encode(one))) < 200
    again = typed_json.decode(Outcomes, json.loads(json.dumps(typed_json.encode(one))))
    assert again == one


def test_only_images_that_both_could_read_count() -> None:
    readable = RNG.random((2, 650)) < 0.9
    one, other = (outcomes(c, r, "a") for c, r in zip((FIRST, SECOND), readable, strict=True))
    both = readable.all(0)
    found = pairs(one, other)
    assert found and found.drop() == paired_drop(FIRST[both], SECOND[both])
    nothing = outcomes(FIRST, ~READ, "a")
    assert pairs(nothing, other) is None


def test_other_lists_make_no_pairs() -> None:
    one = outcomes(FIRST, READ, "a")
    assert pairs(one, replace(one, labels_hash="b")) is None
    assert pairs(one, outcomes(FIRST[:-1], READ[:-1], "a")) is None
    assert pairs(one, None) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 640}, "a bit for each"),
        ({"images": 660}, "a bit for each"),
        ({"images": 649}, "a bit for each"),
        ({"correct": "!" * 112}, "not base64"),
        ({"unreadable": outcomes(READ, READ, "a").correct}, "both unreadable"),
    ],
)
def test_damage_is_refused(wrong: dict[str, object], message: str) -> None:
    facts = {**typed_json.encode(outcomes(READ, READ, "a")), **wrong}
    with pytest.raises(typed_json.InvalidValueError, match=message):
        typed_json.decode(Outcomes, facts)
