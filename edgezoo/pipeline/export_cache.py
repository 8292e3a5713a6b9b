"""What was made before, kept by a hash of all that it depends on.

    CACHE/exports/KEY/entry.json    the files' hashes, and what else is to be known of them
    CACHE/exports/KEY/files/        the files

An entry comes into being by one rename, and everything in it is hashed again before it is used:
what has been damaged is thrown away. Beyond the limit those go first that were used longest ago.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from edgezoo.core.errors import DataError, EdgeZooError, UsageError, did_you_mean
from edgezoo.core.paths import cache_home
from edgezoo.system.staging import staging

LIMIT = "EDGEZOO_CACHE_LIMIT"
_USUAL_LIMIT = 5_000_000_000
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.I)
_PART = "exports"
_ENTRY = "entry.json"
_BLOCK = 1 << 20
Facts = dict[str, Any]


def limit() -> int:
    """Bytes that the exports may take: EDGEZOO_CACHE_LIMIT, such as 500MB or 0, else 5 GB.

    Raises:
        UsageError: the variable holds something else.
    """
    given = os.environ.get(LIMIT, "").strip()
    if not given:
        return _USUAL_LIMIT
    found = _LIMIT.fullmatch(given)
    if found is None:
        raise UsageError(f"{LIMIT}={given} is no size.", "Give it as 500MB, 5GB, or 0 for none.")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def fetch(key: str, place: Path) -> Facts | None:
    """Copy the files of an entry into a folder.

    Returns:
        What `keep` was given beside the files; None where there is no whole entry.
    """
    entry = _exports() / key
    if not entry.exists():
        return None
    try:
        kept = json.loads((entry / _ENTRY).read_text(encoding="utf-8"))
        facts: Facts = kept["facts"]
        whole = kept["sha256"] == _hash(facts, kept["files"]) and all(
            _copied(entry / "files" / name, place / name) == digest
            for name, digest in kept["files"].items()
        )
        os.utime(entry / _ENTRY)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    except OSError:  # here or there, which whoever makes the files anew will find out
        return None
    if whole:
        return facts
    _forget(entry)
    return None


def _copied(source: Path, target: Path) -> str:
    """Copy a file; the hash of what was copied."""
    state = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(_BLOCK):
            state.update(block)
            new.write(block)
    return state.hexdigest()


def keep(key: str, files: list[Path], facts: Facts) -> None:
    """Keep copies of files, where the limit lets them in; then let go of the oldest entries.

    A cache that cannot be written, or an entry that somebody else is writing, is let be: nobody
    has asked for it.
    """
    size = sum(path.stat().st_size for path in files)
    if size > limit():
        return
    with contextlib.suppress(EdgeZooError, OSError), staging(_exports(), key) as stage:
        made = stage / "made"
        (made / "files").mkdir(parents=True)
        hashes = {path.name: _copied(path, made / "files" / path.name) for path in files}
        entry = {"sha256": _hash(facts, hashes), "files": hashes, "facts": facts}
        (made / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
        made.rename(_exports() / key)
        _shrink(stage)


def _hash(facts: Facts, files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps([facts, files], sort_keys=True).encode()).hexdigest()


def _exports() -> Path:
    return cache_home() / _PART


def _forget(entry: Path) -> None:
    """Take a damaged entry out of the way."""
    with contextlib.suppress(EdgeZooError, OSError), staging(entry.parent, entry.name) as stage:
        entry.rename(stage / "damaged")


def _shrink(stage: Path) -> None:
    """Move the entries that were used longest ago into a folder that will be removed."""
    found = []
    for entry in _entries(_exports()):
        with contextlib.suppress(OSError):
            found.append(((entry / _ENTRY).stat().st_mtime_ns, entry, _size(entry)))
    total, most = sum(size for _, _, size in found), limit()
    for _, entry, size in sorted(found):
        if total <= most:
            return
        with contextlib.suppress(OSError):
            entry.rename(stage / entry.name)
            total -= size


def _entries(folder: Path) -> list[Path]:
    """What stands in a folder; the hidden ones are being made."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def info() -> Facts:
    """What the cache holds: the object of `edgezoo cache info --json`.

    Returns:
        {"path", "limit": of the exports in bytes, "bytes", "parts": [{"name", "entries",
        "bytes"}]}.
    """
    parts: list[Facts] = [
        {"name": part.name, "entries": len(_entries(part)), "bytes": _size(part)}
        for part in _entries(cache_home())
        if part.is_dir()  # files are notes, such as of hashes first seen
    ]
    total = sum(part["bytes"] for part in parts)
    return {"path": str(cache_home()), "limit": limit(), "bytes": total, "parts": parts}


def clear(names: tuple[str, ...] = ()) -> Facts:
    """Remove parts of the cache, or all of it.

    Returns:
        What `info` found, with "removed": the parts that went.

    Raises:
        UsageError: there is no part of that name.
        DataError: it cannot be removed.
    """
    before = info()
    known = [part["name"] for part in before["parts"]]
    for name in names:
        if name not in known:
            words = did_you_mean(name, known) if known else "The cache is empty."
            raise UsageError(f"The cache has no part {name!r}.", words)
    removed = [part for part in before["parts"] if not names or part["name"] in names]
    for part in removed:
        path = cache_home() / part["name"]
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise DataError(f"{path} cannot be removed: {error.strerror}.") from error
    return {**info(), "removed": removed}
