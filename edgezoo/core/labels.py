"""The user's options for a file without a contract: preprocessing and class names."""

from __future__ import annotations

import re
from pathlib import Path

from edgezoo.core import escapes, lfs
from edgezoo.core.errors import DataError, UsageError, did_you_mean, words_of
from edgezoo.core.files import decoded, read_limited
from edgezoo.core.spec import NORMALIZATIONS

_LARGEST_LABELS = 16 << 20
_NUMBERED = re.compile(r"([0-9]{1,9})(?:[ \t]*[,:;][ \t]*|[ \t]+)(\S.*)")


def preprocessing_mode(word: str | None) -> str | None:
    """Return the name in `NORMALIZATIONS` for a value of --preprocessing; UsageError if unknown."""
    mode = "raw" if word == "none" else word
    if mode is not None and mode not in NORMALIZATIONS:
        hint = did_you_mean(mode, [*NORMALIZATIONS, "none"])
        raise UsageError(f"--preprocessing {word} is unknown.", hint)
    return mode


def lines_of(data: bytes) -> list[str]:
    """Return the lines of a text file; unlike `str.splitlines`, only a line feed ends one.

    Raises:
        UnicodeDecodeError: it is something else.
    """
    lines = decoded(data).removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines] if lines != [""] else []


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, or `index name` lines that count from 0.

    Raises:
        DataError: the file cannot be read.
    """
    lfs.require_content(path)
    try:
        lines = lines_of(read_limited(path, _LARGEST_LABELS))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The labels file {path} cannot be read: {words_of(error)}.",
            "Give a text file with a class name a line.",
        ) from error
    names = [line.strip() for line in lines]
    for number, name in enumerate(names, 1):
        if reason := unfit(name):
            raise DataError(
                f"The labels file {path} cannot be used: line {number} {reason}.",
                "Give a text file with a class name a line.",
            )
    return _without_numbers([name for name in names if name])


def unfit(name: str) -> str | None:
    """Return why a text is no class name, as a clause: "holds a control character"."""
    if len(name) > escapes.LONGEST_LABEL:
        return f"has more than {escapes.LONGEST_LABEL} characters"
    return "holds a control character" if escapes.label(name) != name else None


def _without_numbers(lines: list[str]) -> tuple[str, ...]:
    """Remove the index in front of each label, as Teachable Machine writes it, if all have one."""
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(found and int(found[1]) == place for place, found in enumerate(numbered)):
        return tuple(found[2] for found in numbered if found)
    return tuple(lines)
