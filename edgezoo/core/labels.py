"""The user's options for a file without a contract: preprocessing and class names."""

from __future__ import annotations

from pathlib import Path

from edgezoo.core.errors import DataError, UsageError, did_you_mean, words_of
from edgezoo.core.spec import NORMALIZATIONS

_LARGEST_LABELS = 16 << 20


def preprocessing_mode(word: str | None) -> str | None:
    """Return the name in `NORMALIZATIONS` for a value of --preprocessing; UsageError if unknown."""
    mode = "raw" if word == "none" else word
    if mode is not None and mode not in NORMALIZATIONS:
        hint = did_you_mean(mode, [*NORMALIZATIONS, "none"])
        raise UsageError(f"--preprocessing {word} is unknown.", hint)
    return mode


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names, one per line; DataError if that fails."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_LABELS + 1)
        lines = data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The labels file {path} cannot be read: {words_of(error)}.",
            "Give a text file with a class name a line.",
        ) from error
    if len(data) > _LARGEST_LABELS:
        raise DataError(f"The labels file {path} has more than {_LARGEST_LABELS >> 20} MiB.")
    return tuple(line.strip() for line in lines if line.strip())
