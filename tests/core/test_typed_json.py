"""Dataclasses and JSON: what is written is read again, and what no class describes is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from edgezoo.core import typed_json
from edgezoo.core.typed_json import InvalidValueError, Length, Range, optional, parse_json


@dataclass(frozen=True, slots=True)
class Weights:
    """Where weights come from.

    Attributes:
        source: who trained them, in
            one word.
        seed: of random ones.
    """

    source: str
    seed: Annotated[int | None, Range(0, 10)] = None
    note: str | None = optional()


@dataclass(frozen=True, slots=True)
class Contract:
    """What a file takes."""

    weights: Weights
    kind: Literal["pixels", "normalized"]
    shape: tuple[int, int] | None
    labels: Annotated[tuple[str, ...], Length(3)] = ()
    shares: dict[str, Annotated[float, Range(0, 1)]] = field(default_factory=dict)
    path: Path = Path("here")
    more: dict[str, Any] | None = None
    sides: int = field(init=False, default=2)
    double: int = field(init=False, metadata=typed_json.key("twice"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.sides)


GOOD: dict[str, Any] = {
    "weights": {"source": "keras", "seed": 3},
    "kind": "pixels",
    "shape": [2, 3],
    "labels": ["cat"],
    "shares": {"top1": 1, "top5": 0.5},
    "path": "there/model.tflite",
    "more": {"any": [1, None]},
}


def test_what_is_written_is_read_again() -> None:
    contract = typed_json.decode(Contract, GOOD)
    assert contract.weights == Weights("keras", 3)
    assert (contract.shape, contract.labels) == ((2, 3), ("cat",))
    assert contract.path == Path("there/model.tflite")
    facts = typed_json.encode(contract)
    assert facts == {**GOOD, "sides": 2, "twice": 4}
    assert typed_json.decode(Contract, json.loads(json.dumps(facts))) == contract


def test_keys_of_optional_fields_are_left_out() -> None:
    assert typed_json.encode(Weights("keras")) == {"source": "keras", "seed": None}
    assert typed_json.encode(Weights("keras", note="x"))["note"] == "x"


@pytest.mark.parametrize(
    ("change", "path", "problem"),
    [
        ({"weights": {"source": "keras", "seed": 11}}, "weights.seed", "invalid"),
        ({"weights": {"source": "keras", "seed": True}}, "weights.seed", "invalid"),
        ({"weights": {"source": "keras", "seed": 1.0}}, "weights.seed", "invalid"),
        ({"weights": {"source": "keras", "sead": 1}}, "weights.sead", "unknown"),
        ({"weights": {}}, "weights.source", "missing"),
        ({"weights": []}, "weights", "invalid"),
        ({"kind": "pixel"}, "kind", "invalid"),
        ({"shape": [1]}, "shape", "invalid"),
        ({"shape": [1, "2"]}, "shape[1]", "invalid"),
        ({"labels": ["a"] * 4}, "labels", "invalid"),
        ({"labels": "abc"}, "labels", "invalid"),
        ({"shares": {"top1": float("nan")}}, "shares.top1", "invalid"),
        ({"shares": {"top1": 1.5}}, "shares.top1", "invalid"),
        ({"path": 3}, "path", "invalid"),
        ({"more": 3}, "more", "invalid"),
    ],
)
def test_what_no_class_describes_is_refused(
    change: dict[str, Any], path: str, problem: str
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        typed_json.decode(Contract, {**GOOD, **change})
    assert (caught.value.path, caught.value.problem) == (path, problem)


def test_unknown_keys_are_ignored_where_asked() -> None:
    facts = {**GOOD, "later": 1, "weights": {"source": "keras", "later": 1}}
    assert typed_json.decode(Contract, facts, unknown="ignore").weights.source == "keras"


def test_arguments_are_read_as_annotated() -> None:
    def function(weights: Weights, count: int, anything: Any, *, where: Path) -> list[Weights]:
        return [weights] * count

    function.__annotations__ = {"weights": Weights, "count": int, "anything": Any, "where": Path,
                                "return": list[Weights]}  # fmt: skip
    given = {"weights": {"source": "a"}, "count": 2, "anything": {"x": 1}, "where": "w"}
    read = typed_json.decode_arguments(function, given)
    assert read == {"weights": Weights("a"), "count": 2, "anything": {"x": 1}, "where": Path("w")}
    assert typed_json.returned(function) == list[Weights]
    with pytest.raises(InvalidValueError, match="count"):
        typed_json.decode_arguments(function, {**given, "count": "2"})


def test_schema_accepts_what_is_read_and_nothing_else() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = typed_json.schema(Contract, "A contract", "contract")
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    written = typed_json.encode(typed_json.decode(Contract, GOOD))
    validator.validate(written)
    for change in ({"kind": "pixel"}, {"shape": [1]}, {"labels": ["a"] * 4}, {"shares": {"a": 2}},
                   {"weights": {"source": "keras", "seed": 11}}, {"sides": "2"},
                   {"twice": "4"}):  # fmt: skip
        assert not validator.is_valid({**written, **change}), change
    assert not validator.is_valid({k: v for k, v in written.items() if k != "kind"})
    seed = schema["$defs"]["Weights"]["properties"]["seed"]
    assert seed == {"type": ["integer", "null"], "minimum": 0, "maximum": 10,
                    "description": "of random ones."}  # fmt: skip
    source = schema["$defs"]["Weights"]["properties"]["source"]
    assert source["description"] == "who trained them, in one word."


@dataclass(frozen=True, slots=True)
class Base:
    """What all have.

    Attributes:
        seed: of all.
    """

    seed: int


@dataclass(frozen=True, slots=True)
class Fault(Base):
    """A fault.

    Attributes:
        class_: its name.
    """

    class_: str


def test_a_key_that_python_reserves() -> None:
    facts = {"seed": 1, "class": "DataError"}
    assert typed_json.encode(typed_json.decode(Fault, facts)) == facts
    properties = typed_json.schema(Fault, "A fault", "fault")["properties"]
    assert properties["class"]["description"] == "its name."
    assert properties["seed"]["description"] == "of all.", "of the class that it extends"


def test_schema_of_a_union() -> None:
    schema = typed_json.schema(Weights | Fault, "One of two", "union")
    assert schema["anyOf"] == [{"$ref": "#/$defs/Weights"}, {"$ref": "#/$defs/Fault"}]
    assert set(schema["$defs"]) == {"Weights", "Fault"}


@pytest.mark.parametrize("wrong", [-1.0, 3, float("nan"), "2", None, True])
def test_every_number_of_a_long_list_is_checked(wrong: object) -> None:
    """Read at once where all are right; then one by one, which names the wrong one."""
    kind = tuple[Annotated[float, Range(0, 2)], ...]
    assert typed_json.decode(kind, [0.5] * 9) == (0.5,) * 9
    with pytest.raises(InvalidValueError, match=r"\[8\]"):
        typed_json.decode(kind, [0.5] * 8 + [wrong])
    assert typed_json.decode(kind, [0.5, 1]) == (0.5, 1)


def test_attributes_by_the_fields_of_another_class() -> None:
    assert typed_json.shared(Fault(1, "x"), Base) == {"seed": 1}


@pytest.mark.parametrize("text", ["1e999", "[-1.5E+0400]", '{"a":1e400}', f"[1{'0' * 50}]"])
def test_numbers_beyond_all_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="beyond all bounds"):
        parse_json(text)


def test_hashes_are_no_numbers() -> None:
    """Every other SHA-256 holds something like an exponent."""
    for text in ("a0e123", "12e400", "0" * 64):
        assert parse_json(f'["{text}"]') == [text]
    assert parse_json("[1e30, 0.5e-300]") == [1e30, 0.5e-300]
