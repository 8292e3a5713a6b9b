"""The user's options for a file without a contract: preprocessing and class names."""

from __future__ import annotations

import re
from pathlib import Path

from edgezoo.core.errors import DataError, UsageError, did_you_mean, words_of
from edgezoo.core.files import decoded
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


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, or `index name` lines that count from 0.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_LABELS + 1)
        lines = decoded(data).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The labels file {path} cannot be read: {words_of(error)}.",
            "Give a text file with a class name a line.",
        ) from error
    if len(data) > _LARGEST_LABELS:
        raise DataError(f"The labels file {path} has more than {_LARGEST_LABELS >> 20} MiB.")
    return _without_numbers([line.strip() for line in lines if line.strip()])


def _without_numbers(lines: list[str]) -> tuple[str, ...]:
    """Remove the index in front of each label, as Teachable Machine writes it, if all have one."""
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(found and int(found[1]) == place for place, found in enumerate(numbered)):
        return tuple(found[2] for found in numbered if found)
    return tuple(lines)
