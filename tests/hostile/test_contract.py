"""Untrusted contracts: each is whole, or refused with the name of the field."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.typed_json import parse_json
from tests.core.test_artifact import CONTRACT

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
FACTS = CONTRACT.to_json()
NAMES = [*FACTS, *(f"weights.{name}" for name in FACTS["weights"])]


def _with(name: str, value: Any) -> dict[str, Any]:
    facts = copy.deepcopy(FACTS)
    holder, _, field = name.rpartition(".")
    (facts[holder] if holder else facts)[field] = value
    return facts


@settings(max_examples=400)
@given(name=st.sampled_from(NAMES), value=ANY)
def test_one_field_of_anything(name: str, value: Any) -> None:
    """What is accepted can be used: sizes are sizes, words are words."""
    try:
        contract = InputContract.from_json(_with(name, value))
    except DataError:
        return
    side = contract.resize.shorter_side(contract.input_size)
    assert 1 <= contract.input_size <= side <= 100_000
    assert contract.normalization.scale and len(contract.shape) == 4
    assert all(isinstance(label, str) for label in contract.labels)
    assert isinstance(contract.summary, str) and contract.arguments is not None
    json.dumps(contract.to_json())


@settings(max_examples=100)
@given(ANY)
def test_anything_as_a_contract(facts: Any) -> None:
    with pytest.raises(DataError):
        InputContract.from_json(facts)


@pytest.mark.parametrize("name", ["model", "weights", "input_size", "weights.sha256"])
def test_what_must_be_there(name: str) -> None:
    facts = copy.deepcopy(FACTS)
    holder, _, field = name.rpartition(".")
    del (facts[holder] if holder else facts)[field]
    with pytest.raises(DataError, match=f"lacks {name}"):
        InputContract.from_json(facts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_size", 0),
        ("weights.seed", -1),
        ("calibration", {"source": "folder"}),
        ("calibration.count", "many"),
        ("calibration.fingerprints", {"of": "file", "bytes": 0, "sha256": ""}),
        ("labels", ["a", 1]),
    ],
)
def test_damaged_field_is_named(name: str, value: Any) -> None:
    with pytest.raises(DataError, match=rf"(lacks|an invalid) {name}"):
        InputContract.from_json(_with(name, value))


@pytest.mark.parametrize("depth", [150, 500, 200_000])
def test_nests_are_no_json(depth: int) -> None:
    """Found by benchmarks/fuzz.py: deep ones pass the parser and crash later code."""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json('{"a":' * depth + "1" + "}" * depth)
    for escaped in ('["\\ud800"]', b'{"\\uDFFF": 1}'):
        with pytest.raises(ValueError, match="half of a character"):
            parse_json(escaped)
    assert parse_json('["\\ud83d\\ude00"]') == ["\U0001f600"]
    assert parse_json("[" * 20 + "]" * 20) and parse_json(b'{"a": [1]}') == {"a": [1]}
