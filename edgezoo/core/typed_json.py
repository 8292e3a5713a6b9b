"""Dataclasses inside, JSON at the boundaries: one definition reads, checks, writes and documents.

A dataclass describes a JSON object: its fields are the keys, their types say what a key may hold,
and `Annotated[int, Range(1, 8192)]` adds bounds. `encode` writes, `decode` reads and checks
untrusted values, `schema` returns the JSON Schema, with descriptions from the docstring's
`Attributes:`. A field with `init=False` is computed: it is written and documented, and not read.
A key that Python reserves takes an underscore at the end of its field's name: `class_`.

Why no library does it: docs/decisions/0074-typed-json.md.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from edgezoo.core import escapes

T = TypeVar("T")
Json = dict[str, Any]  # a JSON object as it comes in, or as it goes out
_SHOWN = 80  # characters of a wrong value in a message
_DEEPEST = 100  # levels of nesting; a network's configuration has some 20
_MOST_DIGITS = 40
# Every digit as 0 and E as e, so that searches for fixed bytes find long numbers in a tenth of the
# time that a regular expression takes.
_DIGITS = bytes(48 if 48 <= byte < 58 else 101 if byte == 69 else byte for byte in range(256))
_SURROGATE = re.compile("[\ud800-\udfff]")
_OMIT, _KEY = "omit", "key"
_LISTS = (list, Sequence, Iterable)


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included; NaN is outside every range."""

    minimum: float = -math.inf
    maximum: float = math.inf


@dataclass(frozen=True, slots=True)
class Length:
    """The most items of a list, or characters of a text, and the fewest."""

    maximum: int
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class OneOf:
    """The strings that a field may hold, where they are known at run time only."""

    words: tuple[str, ...]


Share = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(0, 2**60)]
Positive = Annotated[int, Range(1, 2**60)]


class InvalidValueError(ValueError):
    """A value that its type rules out.

    Attributes:
        path: of the field, as "weights.seed"; "" for the whole.
        problem: "missing", "unknown" or "invalid".
        reason: as a clause, "it is not an object".
    """

    def __init__(self, path: str, problem: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.problem, self.reason = path, problem, reason

    def inside(self, place: str) -> InvalidValueError:
        """Return the error as one of the value that this one is a part of."""
        joint = "" if not self.path or self.path[0] in ".[" else "."
        return InvalidValueError(f"{place}{joint}{self.path}", self.problem, self.reason)


class JsonObject:
    """A result that a command prints."""

    __slots__ = ()

    def to_json(self) -> Json:
        """The object that the command prints with --json."""
        return dict(encode(self))


class JsonFile:
    """Data that one process leaves on disk for another."""

    __slots__ = ()

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(encode(self)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return decode(cls, json.loads(path.read_text()))


def optional(default: Any = None) -> Any:
    """A field whose key may be missing from the JSON, and is left out while it holds None."""
    return field(default=default, metadata={_OMIT: True})


def key(name: str) -> dict[str, str]:
    """The `metadata` of a computed field whose key differs from its name."""
    return {_KEY: name}


def _key(described: Field[Any]) -> str:
    return str(described.metadata.get(_KEY, described.name.rstrip("_")))


def parse_json(text: str | bytes, *, paths: bool = False) -> Any:
    """Parse untrusted text; see `edgezoo.core.documents` for whole files.

    Args:
        text: JSON, as UTF-8 if it is bytes.
        paths: allow halves of surrogate pairs, which stand for bytes in names that are not UTF-8.

    Raises:
        ValueError: it is not JSON, is nested too deeply for the code that walks it, holds half of
            a surrogate pair, which no file can be written with, or a number that is infinite, not
            a number or of more than 40 digits.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    hooks: Json = {"parse_constant": _refused_number}
    if _may_hold_long_number(text):
        hooks |= {"parse_float": _finite, "parse_int": _short}
    try:
        value = json.loads(text, **hooks)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    escaped = "\\ud" in text or "\\uD" in text
    if not paths and (escaped or not (text.isascii() or not _SURROGATE.search(text))):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise ValueError("it holds half of a character") from error
    # Nothing is nested more deeply than there are brackets.
    if text.count("[") + text.count("{") > _DEEPEST:
        require_shallow(value)
    return value


def _may_hold_long_number(text: str) -> bool:
    """Return whether a number outside of strings has many digits, or an exponent of three."""
    digits = text.encode("utf-8", "surrogatepass").translate(_DIGITS)
    if b"0" * _MOST_DIGITS in digits:
        return True
    for wanted in (b"0e000", b"0e+000", b".e000", b".e+000"):
        at = digits.find(wanted)
        while at >= 0:
            # In a hash a letter or a quotation mark comes before the digits.
            if digits[: at + 1].rstrip(b"0.")[-1:] in (b"", *(bytes([c]) for c in b" \t\r\n:,[-")):
                return True
            at = digits.find(wanted, at + 1)
    return False


def require_shallow(value: Any) -> None:
    """Check that lists and objects are nested no deeper than the code that walks them can go.

    Raises:
        ValueError: they are.
    """
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return
    raise ValueError("it is nested too deeply")


def _refused_number(word: str) -> Any:
    raise ValueError(f"it holds {word}, which is not a number")


def _finite(word: str) -> float:
    if not math.isfinite(number := float(word)):
        raise ValueError("it holds a number beyond all bounds")
    return number


def _short(word: str) -> int:
    if len(word) > _MOST_DIGITS:
        raise ValueError("it holds a number beyond all bounds")
    return int(word)


@lru_cache(maxsize=512)
def _hints(described: Any) -> Json:
    return get_type_hints(described, include_extras=True)


def encode(value: Any) -> Any:
    """Convert a value for `json.dumps`: dataclasses become objects, paths become strings."""
    if is_dataclass(value) and not isinstance(value, type):
        items = [(f, getattr(value, f.name)) for f in fields(value)]
        kept = [(f, item) for f, item in items if item is not None or not f.metadata.get(_OMIT)]
        return {_key(f): encode(item) for f, item in kept}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [encode(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def part(facts: Json, name: str) -> Json:
    """Return an object inside an untrusted one; an empty one where it is something else."""
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def shared(value: object, described: type[Any]) -> Json:
    """Return the attributes of a value by the names of another dataclass's fields."""
    return {f.name: getattr(value, f.name) for f in fields(described)}


def decode(
    wanted: type[T],
    value: Any,
    *,
    unknown: Literal["refuse", "ignore"] = "refuse",
    one_line: bool = False,
) -> T:
    """Read a value that `encode` wrote, or an untrusted one.

    Args:
        wanted: a dataclass, or any type that a field of one may have.
        value: as `json.loads` returns it.
        unknown: what to do with keys that no field has.
        one_line: refuse texts with line feeds and other control characters.

    Raises:
        InvalidValueError: a key is missing or unknown, or a value has another type or is out of
            bounds.
    """
    described: Any = wanted
    found: T = _reader(described, _Mode(unknown, one_line))(value)
    return found


def decode_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Json:
    """Read keyword arguments of a function by its annotations; InvalidValueError as of `decode`."""
    hints = _hints(function)
    return {
        name: _read_inside(_reader(hints[name], _Mode()), value, name) if name in hints else value
        for name, value in arguments.items()
    }


def returned(function: Callable[..., Any]) -> Any:
    """Return the type that a function returns; `Any` without an annotation."""
    return _hints(function).get("return", Any)


# A reader takes a value as `json.loads` returns it. The readers of a type are put together once: a
# store of 100,000 records has millions of fields, and looking at each field's type again takes
# minutes. A reader raises with the path below its own value, and who called it puts the rest
# in front.
Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Mode:
    unknown: Literal["refuse", "ignore"] = "refuse"
    one_line: bool = False


@lru_cache(maxsize=4096)
def _reader(wanted: Any, mode: _Mode) -> Reader:
    if wanted is Any:
        return lambda value: value
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _annotated_reader(wanted, mode)
    if origin in (Union, types.UnionType):
        return _union_reader(arguments, mode)
    if origin is Literal:
        return _literal_reader(arguments)
    if origin in (tuple, *_LISTS):
        return _sequence_reader(origin, arguments, mode)
    if origin in (dict, Mapping):
        return _mapping_reader(_reader(arguments[1], mode), mode)
    if is_dataclass(wanted):
        return _object_reader(wanted, mode)
    return _line_reader(wanted) if mode.one_line else _scalar_reader(wanted)


def _scalar_reader(wanted: Any) -> Reader:
    if wanted not in (bool, int, str):
        return lambda value: _scalar(wanted, value)

    def read(value: Any) -> Any:
        if type(value) is not wanted:
            raise _invalid(value)
        return value

    return read


def _read_inside(reader: Reader, value: Any, place: str) -> Any:
    """Read a part of a value; errors get its place."""
    try:
        return reader(value)
    except InvalidValueError as error:
        raise error.inside(place) from error


def _annotated_reader(wanted: Any, mode: _Mode) -> Reader:
    base, *rules = get_args(wanted)
    inner, bounds = _reader(base, mode), _bounds(wanted)

    def read(value: Any) -> Any:
        if bounds and type(value) is bounds[0] and bounds[1] <= value <= bounds[2]:
            return value
        found = inner(value)
        for rule in rules:
            _check(rule, found)
        return found

    return read


def _union_reader(members: tuple[Any, ...], mode: _Mode) -> Reader:
    optional_ = type(None) in members
    readers = [_reader(member, mode) for member in members if member is not type(None)]

    def read(value: Any) -> Any:
        if value is None and optional_:
            return None
        deepest: InvalidValueError | None = None
        for reader in readers:
            try:
                return reader(value)
            except InvalidValueError as error:
                if deepest is None or len(error.path) > len(deepest.path):
                    deepest = error
        raise deepest or _invalid(value)

    return read


def _literal_reader(words: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if not any(type(value) is type(word) and value == word for word in words):
            raise _invalid(value)
        return value

    return read


def _sequence_reader(origin: Any, arguments: tuple[Any, ...], mode: _Mode) -> Reader:
    fixed = origin is tuple and arguments[1:] != (Ellipsis,)
    readers = [_reader(kind, mode) for kind in (arguments if fixed else arguments[:1])]
    bounds = None if fixed else _bounds(arguments[0])
    made: type[Any] = tuple if origin is tuple else list

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise _invalid(value)
        # Thousands of measured times in a record: one by one as below takes seconds for a store.
        if bounds and value and set(map(type, value)) == {bounds[0]}:
            # A sum is not a number if one item is not; what is not a number has no order.
            total = sum(value)
            if total == total and bounds[1] <= min(value) and max(value) <= bounds[2]:
                return made(value)
        own = readers if fixed else readers * len(value)
        if len(own) != len(value):
            raise _invalid(value)
        pairs = enumerate(zip(own, value, strict=True))
        return made(_read_inside(reader, item, f"[{i}]") for i, (reader, item) in pairs)

    return read


def _line_reader(wanted: Any) -> Reader:
    def read(value: Any) -> Any:
        if isinstance(value, str):
            _require_one_line(value)
        return _scalar(wanted, value)

    return read


def _mapping_reader(inner: Reader, mode: _Mode) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _invalid(value)
        for key in value if mode.one_line else ():
            _require_one_line(key)
        return {key: _read_inside(inner, item, f".{key}") for key, item in value.items()}

    return read


def _object_reader(wanted: Any, mode: _Mode) -> Reader:
    """Return the reader of a dataclass; those of its fields are made when they are first needed."""
    known = {_key(f): f for f in fields(wanted)}
    parts: list[tuple[str, str, Reader, bool]] = []

    def prepare() -> None:
        hints = _hints(wanted)
        parts[:] = [
            (name, f.name, _reader(hints[f.name], mode), _required(f))
            for name, f in known.items()
            if f.init
        ]

    def read(value: Any) -> Any:
        if isinstance(value, wanted):
            return value
        if not isinstance(value, dict):
            raise _invalid(value)
        if not parts:
            prepare()
        if mode.unknown == "refuse":
            for name in value:
                if name not in known:
                    raise InvalidValueError(str(name), "unknown", "no such field")
        found = {}
        for key, name, reader, required in parts:
            if key in value:
                try:
                    found[name] = reader(value[key])
                except InvalidValueError as error:
                    raise error.inside(key) from error
            elif required:
                raise InvalidValueError(key, "missing", "it is not there")
        try:
            return wanted(**found)
        except ValueError as error:  # what a class's own check of several fields finds
            raise InvalidValueError("", "invalid", str(error)) from error

    return read


@lru_cache(maxsize=64)
def _bounds(wanted: Any) -> tuple[type[Any], float, float] | None:
    """A number's type and its bounds, those of a `Range` if there is one; None for other types."""
    base, *rules = get_args(wanted) if get_origin(wanted) is Annotated else (wanted,)
    ranges = [rule for rule in rules if isinstance(rule, Range)] or [Range()]
    if base not in (int, float) or len(rules) > len(ranges):
        return None
    return base, ranges[0].minimum, ranges[0].maximum


def _required(described: Field[Any]) -> bool:
    return described.default is MISSING and described.default_factory is MISSING


def _invalid(value: Any) -> InvalidValueError:
    # A whole value of megabytes would cost seconds.
    shown = f"{value[:_SHOWN]!r}" if isinstance(value, (str, list)) else f"{value!r}"
    return InvalidValueError("", "invalid", shown[:_SHOWN])


def _require_one_line(value: str) -> None:
    if escapes.label(value) != value:
        raise _invalid(value)


def _check(rule: Any, value: Any) -> None:
    fits = True
    if isinstance(rule, Range) and value is not None:
        fits = rule.minimum <= value <= rule.maximum
    elif isinstance(rule, Length) and value is not None:
        fits = rule.minimum <= len(value) <= rule.maximum
    elif isinstance(rule, OneOf) and value is not None:
        fits = value in rule.words
    if not fits:
        raise _invalid(value)


def _scalar(wanted: Any, value: Any) -> Any:
    """One of the types that JSON has, and paths; no int is a bool, and no float an int."""
    if wanted is Path and isinstance(value, (str, Path)):
        return Path(value)
    if wanted is float and type(value) in (int, float):
        return value
    if wanted is type(None) and value is None:
        return None
    if wanted in (bool, int, str) and type(value) is wanted:
        return value
    if wanted is object or (wanted in (dict, list) and isinstance(value, wanted)):
        return value
    raise _invalid(value)


def schema(described: Any, title: str, name: str) -> Json:
    """The JSON Schema (draft 2020-12) of a dataclass.

    Args:
        described: the dataclass of the whole, or a union of dataclasses.
        title: a line for readers.
        name: of the schema; its `$id` is "urn:edgezoo:schema:NAME:1".
    """
    definitions: Json = {}
    of = _object_schema if is_dataclass(described) else _schema_of
    whole = of(described, definitions)
    facts = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edgezoo:schema:{name}:1",
        "title": title,
        **whole,
    }
    return {**facts, "$defs": dict(sorted(definitions.items()))} if definitions else facts


def _object_schema(described: Any, definitions: Json) -> Json:
    summary, texts = _described(described)
    hints = _hints(described)
    keys = {_key(f): _schema_of(hints[f.name], definitions) for f in fields(described)}
    for f in fields(described):
        if f.name in texts:
            keys[_key(f)]["description"] = texts[f.name]
    required = [_key(f) for f in fields(described) if not f.metadata.get(_OMIT)]
    return {"description": summary, "type": "object", "required": required, "properties": keys}


def _described(described: Any) -> tuple[str, dict[str, str]]:
    """The first sentence of a class's docstring, and what its `Attributes:` say of each field.

    Attributes that base classes describe count too.
    """
    summary, found = "", dict[str, str]()
    for base in reversed(described.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        summary = " ".join(text.partition("\n\n")[0].split())
        _, _, rest = text.partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \S)", "\n" + rest.partition("\n\n")[0])[1:]:
            names, _, words = entry.strip().partition(": ")
            found |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return summary, found


_PLAIN: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_PLAIN |= {Path: "string", type(None): "null", dict: "object", list: "array"}


def _schema_of(wanted: Any, definitions: Json) -> Json:
    """The schema of one field's type."""
    if wanted in (object, Any):
        return {}
    if wanted in _PLAIN:
        return {"type": _PLAIN[wanted]}
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        found = _schema_of(arguments[0], definitions)
        for rule in arguments[1:]:
            found |= _rule_schema(rule, found)
        return found
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _union_schema([_schema_of(member, definitions) for member in arguments])
    if origin in _LISTS or (origin is tuple and arguments[1:] == (Ellipsis,)):
        return {"type": "array", "items": _schema_of(arguments[0], definitions)}
    if origin is tuple:
        items = [_schema_of(member, definitions) for member in arguments]
        count = len(items)
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], definitions)}
    name = wanted.__name__
    if name not in definitions:
        definitions[name] = {}  # a class may hold itself
        definitions[name] = _object_schema(wanted, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _rule_schema(rule: Any, found: Json) -> Json:
    if isinstance(rule, Range):
        bounds = {"minimum": rule.minimum, "maximum": rule.maximum}
        return {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    if isinstance(rule, Length):
        unit = "Items" if found.get("type") == "array" else "Length"
        least = {f"min{unit}": rule.minimum} if rule.minimum else {}
        return {**least, f"max{unit}": rule.maximum}
    return {"enum": list(rule.words)} if isinstance(rule, OneOf) else {}


def _union_schema(members: list[Json]) -> Json:
    """Members of one key each are joined: a type or none, a word or null."""
    if all(set(member) == {"type"} for member in members):
        return {"type": [member["type"] for member in members]}
    if all(set(member) == {"enum"} or member == {"type": "null"} for member in members):
        return {"enum": [word for member in members for word in member.get("enum", [None])]}
    return {"anyOf": members}
