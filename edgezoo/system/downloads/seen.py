"""Hashes of files for which nobody publishes one, as they were when they first came.

One text file in EdgeZoo's cache, a line a file: SHA-256, a tab, the address. Whoever trusts a new
version deletes the old one's line.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from edgezoo.core.errors import DataError
from edgezoo.core.paths import cache_home


def record_path() -> Path:
    """The text file."""
    return cache_home() / "first-seen.tsv"


def known() -> dict[str, str]:
    """SHA-256 by address."""
    try:
        return _parsed(record_path().read_text(encoding="utf-8"))
    except OSError:
        return {}


def _parsed(text: str) -> dict[str, str]:
    rows = (line.partition("\t") for line in text.splitlines())
    first: dict[str, str] = {}
    for sha256, _, url in rows:
        first.setdefault(url, sha256)
    return first


def differs(url: str) -> str:
    """The words for a file that is another one now."""
    return (
        f"it is not the file that first came from {url} (its SHA-256 differs; if a new version "
        f"was published there, delete that line of {record_path()})"
    )


def remember(url: str, sha256: str) -> str:
    """Note a hash unless there is one already; what is noted, which another process may have done.

    Raises:
        DataError: the record cannot be written.
    """
    path = record_path()
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
