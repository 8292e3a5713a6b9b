"""A sweep's TOML file: the fields of a `SweepRequest`, within what the command line allows."""

from __future__ import annotations

import contextlib
from collections.abc import Container
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgezoo.core import documents
from edgezoo.core.errors import DataError, UsageError, did_you_mean, words_of
from edgezoo.core.spec import MOST_SEED
from edgezoo.images import samples
from edgezoo.sweep.grid import SweepRequest

_NAMES = ("models", "files", "format", "precision", "threads", "device", "target")
LISTS = {"alpha": float, "input_size": int, **dict.fromkeys(_NAMES, str)}
_LEAST = {"limit": 1, "seed": 0, "calibration_count": 1, "batch": 1}
_SWITCHES = ("pin", "self_check")
_PATHS = ("images", "ground_truth", "output")
# A path or one of these words; a folder of images may be called imagenet.
_WORDS = {"calibration": ("synthetic", samples.WORD), "weights": ("imagenet", "random")}
# Options of how files are made, in the order of docs/cli.md.
_OF_VALUES = ("weights", "seed", "calibration", "calibration_count")
_OF_MODELS = ("models", "alpha", "input_size", "format", "precision", *_OF_VALUES)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the fields of a `SweepRequest` that a TOML file sets; paths are relative to the file.

    Raises:
        DataError: the file is missing or not TOML.
        UsageError: an unknown key, a value of the wrong type or out of its range, or files with
            options of how files are made.
    """
    try:
        facts = documents.read_toml(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {words_of(error)}.", "See docs/benchmarking.md."
        ) from error
    known = {_key(f.name): f.name for f in fields(SweepRequest) if f.name != "settings"}
    for key in facts:
        if key not in known:
            raise UsageError(f"{path} has an unknown key {key!r}.", did_you_mean(key, list(known)))
    values = {known[key]: _value(path, known[key], value) for key, value in facts.items()}
    extra = not_for_files(values) if "files" in values else None
    if extra:
        raise UsageError(
            f"{path}: {_key(extra)} says how files are made, and those of files exist already.",
            f"Leave {_key(extra)} or files out.",
        )
    return values


def not_for_files(given: Container[str]) -> str | None:
    """Return the first of these fields that does not apply to files that exist already."""
    # A file may take images of any size: then one is needed to measure it.
    return next((name for name in _OF_MODELS if name in given and name != "input_size"), None)


def _key(name: str) -> str:
    return name.replace("_", "-")


def _value(path: Path, name: str, value: Any) -> Any:
    """Return one field; what the command line does not take is refused."""
    if name in LISTS:
        entries: list[Any] = value if isinstance(value, list) else [value]
        if not entries:
            raise _wrong(path, name, value, "one or more")
        found = tuple(_entry(path, name, entry) for entry in entries)
        return tuple(path.parent / entry for entry in found) if name == "files" else found
    if name in _LEAST:
        if type(value) is not int or not _LEAST[name] <= value <= MOST_SEED:
            raise _wrong(path, name, value, f"a whole number of {_LEAST[name]} or more")
        return value
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise _wrong(path, name, value, "true or false")
        return value
    if not isinstance(value, str) or not value:
        raise _wrong(path, name, value, "a text")
    if name in _PATHS:
        return path.parent / value
    return value if value in _WORDS[name] else str(path.parent / value)


def _entry(path: Path, name: str, entry: Any) -> Any:
    """Return one entry of a list; Python would take true as 1 and cut 160.7 to 160."""
    kind = LISTS[name]
    if kind is str:
        if isinstance(entry, str) and entry:
            return entry
        if name == "threads" and type(entry) is int:
            return str(entry)
        wanted = 'numbers of threads or "all"' if name == "threads" else "names"
        raise _wrong(path, name, entry, wanted)
    whole = not isinstance(entry, float) or kind is float or entry.is_integer()
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(entry, int | float | str) and not isinstance(entry, bool) and whole:
            number = kind(entry)
            if 0 < number < float("inf"):
                return number
    wanted = "numbers above 0" if kind is float else "whole numbers of 1 or more"
    raise _wrong(path, name, entry, wanted)


def _wrong(path: Path, name: str, value: Any, wanted: str) -> UsageError:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return UsageError(f"{path}: {_key(name)} cannot be {shown}.", f"Give {wanted}.")
