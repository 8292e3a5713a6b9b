"""Why a runtime does not open a file: what its own words mean, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.errors import DataError, EdgeZooError, RefusedError, words_of


@dataclass(frozen=True, slots=True)
class Cause:
    """A message of a runtime about a file that is whole.

    Attributes:
        words: pattern within the message; its groups are inserted into the texts.
        means: what it means, as a clause behind "cannot be opened: ".
        next: what to do.
    """

    words: str
    means: str
    next: str


def error_of(
    path: Path,
    opener: str,
    error: Exception,
    causes: Sequence[Cause],
    damaged: str,
    otherwise: str,
    line: int = 0,
) -> EdgeZooError:
    """Return the error for a file that a runtime does not open.

    Args:
        path: the file.
        opener: package and release.
        error: of the runtime.
        causes: messages about files that are whole: the runtime does not support them.
        damaged: pattern of messages about files that are not whole.
        otherwise: what to do about any other message.
        line: of the message that has the cause.
    """
    text = str(error)
    for cause in causes:
        if found := re.search(cause.words, text):
            groups = {name: value or "" for name, value in found.groupdict().items()}
            means, advice = cause.means.format(**groups), cause.next.format(**groups)
            return RefusedError(f"{path} cannot be opened by {opener}: {means}.", advice)
    message = f"{path} cannot be opened by {opener}: {words_of(error, line)}."
    whole = re.search(damaged, text) is None
    return DataError(message, otherwise if whole else "Check that the file is complete.")
