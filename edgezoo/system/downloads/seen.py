"""Hashes of the first download of files that have no published hash.

A text file in EdgeZoo's cache with one line per file: SHA-256, tab, address. To accept a new
version, delete the line of the old one.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from edgezoo.core.errors import DataError
from edgezoo.core.paths import cache_home, mark_cache


def record_path() -> Path:
    """Return the path of the text file."""
    return cache_home() / "first-seen.tsv"


def known() -> dict[str, str]:
    """Return the recorded SHA-256 by address."""
    try:
        return _parsed(record_path().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def _parsed(text: str) -> dict[str, str]:
    rows = (line.partition("\t") for line in reversed(text.splitlines()))
    return {url: sha256 for sha256, _, url in rows}  # the first line of an address counts


def differs(url: str) -> str:
    """Return the reason to reject a file that differs from the first download."""
    return (
        f"it is not the file first downloaded from {url} (its SHA-256 differs; if a new version "
        f"was published there, delete that line of {record_path()})"
    )


def remember(url: str, sha256: str) -> str:
    """Record a hash unless one is recorded, and return the recorded hash.

    Raises:
        DataError: the file cannot be written.
    """
    path = record_path()
    mark_cache()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            text = stream.read()
            found = _parsed(text).get(url)
            if found is None:
                cut_short = text and not text.endswith("\n")  # by a full disk
                stream.write(f"{chr(10) if cut_short else ''}{sha256}\t{url}\n")
            return found or sha256
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Free some space, or name another folder in EDGEZOO_CACHE.",
        ) from error
