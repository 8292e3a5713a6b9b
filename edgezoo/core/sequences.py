"""Arguments that take one value or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, Union

T = TypeVar("T")
PathLike = str | Path
OneOrMany = Union[T, Iterable[T]]  # noqa: UP007 - the other spelling takes no parameter


def many(given: object) -> tuple[Any, ...]:
    """One value or several as a tuple; a text is one value."""
    if isinstance(given, Iterable) and not isinstance(given, str):
        return tuple(given)
    return (given,)


def paths(given: OneOrMany[PathLike]) -> tuple[Path, ...]:
    """One path or several."""
    return tuple(Path(path) for path in many(given))


def path(given: PathLike | None) -> Path | None:
    """A path, if one is given."""
    return None if given is None else Path(given)
