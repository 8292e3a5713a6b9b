"""Small tests of what was read as JSON, for tables that say what a field may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[Any], bool]
_TOLD = 80  # characters of a wrong value


def text(value: Any) -> bool:
    """Whether it is a string."""
    return isinstance(value, str)


def flag(value: Any) -> bool:
    """Whether it is true or false."""
    return isinstance(value, bool)


def whole(least: int, most: int) -> Check:
    """An integer within bounds; no flag, no 1.0."""
    return lambda value: type(value) is int and least <= value <= most


def number(least: float, most: float) -> Check:
    """A number within bounds, which leaves out NaN."""
    return lambda value: type(value) in (int, float) and least <= value <= most


def list_of(check: Check, most: int) -> Check:
    """A list of at most so many, each of which passes."""
    return lambda value: (
        isinstance(value, (list, tuple)) and len(value) <= most and all(map(check, value))
    )


def or_none(check: Check) -> Check:
    """None, or what passes."""
    return lambda value: value is None or check(value)


def having(fields: Mapping[str, Check], required: Sequence[str] | None = None) -> Check:
    """An object whose fields pass; others may be there. By default all fields must be."""
    needed = fields if required is None else required
    return lambda value: (
        isinstance(value, dict)
        and not (fault(value, fields) or any(name not in value for name in needed))
    )


def fault(values: Mapping[str, Any], fields: Mapping[str, Check]) -> str | None:
    """The first field of those that are there which does not pass, with its value, in words."""
    for name, check in fields.items():
        if name in values and not check(values[name]):
            return f"{name} {values[name]!r}"[:_TOLD]
    return None
