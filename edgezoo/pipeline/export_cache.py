"""The cache of exported files, by a hash of everything that they depend on.

    CACHE/exports/KEY/entry.json    hashes of the files, and facts about them
    CACHE/exports/KEY/files/        the files

A rename creates an entry at once, and its hashes are checked before use: a damaged entry is
removed. Beyond the limit the least recently used entries are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError, EdgeZooError, UsageError, did_you_mean
from edgezoo.core.paths import CACHE_MARKER, cache_home, made_cache, mark_cache
from edgezoo.pipeline.export_result import MadeFiles
from edgezoo.system.staging import staging

LIMIT = "EDGEZOO_CACHE_LIMIT"
_DEFAULT_LIMIT = 5_000_000_000
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LIMIT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)b?", re.I)
_PART = "exports"
# What EdgeZoo makes in the root of its cache. "remote" is of a device that works for others.
_PARTS = (_PART, "evaluations", "remote", "samples", "weights")
_FILES = (CACHE_MARKER, "first-seen.tsv")
_ENTRY = "entry.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class CachePart:
    """A folder of the cache.

    Attributes:
        name: its name, such as "exports".
        entries: number of its entries.
        bytes: its size.
    """

    name: str
    entries: typed_json.Count
    bytes: typed_json.Count


@dataclass(frozen=True, slots=True)
class CacheResult:
    """The object of `edgezoo cache --json`.

    Attributes:
        path: the cache folder.
        limit: maximum size of the exports in bytes.
        bytes: size of all parts.
        parts: the parts of the cache.
        removed: parts that `clear` removed.
        others: what else is in the folder, which `clear` leaves alone.
    """

    path: Path
    limit: typed_json.Count
    bytes: typed_json.Count
    parts: tuple[CachePart, ...]
    removed: tuple[CachePart, ...] | None = typed_json.optional()
    others: tuple[str, ...] | None = typed_json.optional()


@dataclass(frozen=True, slots=True)
class _Entry:
    """The JSON of an entry: hash of the other two fields, hashes of the files, and their facts."""

    sha256: str
    files: dict[str, str]
    made: MadeFiles


def limit() -> int:
    """Return the maximum size of the exports in bytes, by default 5 GB.

    Raises:
        UsageError: EDGEZOO_CACHE_LIMIT is not a size such as 500MB or 0.
    """
    given = os.environ.get(LIMIT, "").strip()
    if not given:
        return _DEFAULT_LIMIT
    found = _LIMIT.fullmatch(given)
    if found is None:
        raise UsageError(f"{LIMIT}={given} is not a size.", "Write 500MB, 5GB, or 0 for no cache.")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def fetch(key: str, place: Path) -> MadeFiles | None:
    """Copy the files of an entry into a folder; return None if there is no undamaged entry."""
    try:
        folder = _exports() / key
    except DataError:  # no home folder: there is no cache
        return None
    if not folder.exists():
        return None
    try:
        entry = typed_json.decode(_Entry, json.loads((folder / _ENTRY).read_text(encoding="utf-8")))
        whole = entry.sha256 == _hash(entry.made, entry.files) and all(
            _copied(folder / "files" / name, place / name) == digest
            for name, digest in entry.files.items()
        )
        os.utime(folder / _ENTRY)
    except (FileNotFoundError, ValueError):
        whole = False
    except OSError:  # in the cache or in the folder; exporting the files anew will report it
        return None
    if whole:
        return entry.made
    _remove(folder)
    return None


def _copied(source: Path, target: Path) -> str:
    """Copy a file, and return the hash of the copied bytes."""
    state = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(_BLOCK):
            state.update(block)
            new.write(block)
    return state.hexdigest()


def keep(key: str, files: list[Path], exported: MadeFiles) -> None:
    """Copy files into the cache if the limit allows, then remove the least recently used entries.

    A cache that cannot be written, or an entry that another process is writing, is not an error,
    because the cache is optional.
    """
    size = sum(path.stat().st_size for path in files)
    if size > limit():
        return
    mark_cache()
    with contextlib.suppress(EdgeZooError, OSError), staging(_exports(), key) as stage:
        made = stage / "made"
        (made / "files").mkdir(parents=True)
        hashes = {path.name: _copied(path, made / "files" / path.name) for path in files}
        entry = typed_json.encode(_Entry(_hash(exported, hashes), hashes, exported))
        (made / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
        made.rename(_exports() / key)
        _shrink(stage)


def _hash(exported: MadeFiles, files: dict[str, str]) -> str:
    text = json.dumps([typed_json.encode(exported), files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _exports() -> Path:
    return cache_home() / _PART


def _remove(entry: Path) -> None:
    """Remove a damaged entry."""
    with contextlib.suppress(EdgeZooError, OSError), staging(entry.parent, entry.name) as stage:
        entry.rename(stage / "damaged")


def _shrink(stage: Path) -> None:
    """Move the least recently used entries into a folder that will be removed."""
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
    """List a folder without hidden entries, which are being written."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def info() -> CacheResult:
    """Return the content of the cache."""
    found = _entries(cache_home())
    parts = tuple(
        CachePart(part.name, len(_entries(part)), _size(part))
        for part in found
        if part.name in _PARTS and part.is_dir()
    )
    known = {*_FILES, *(part.name for part in parts)}
    others = tuple(path.name for path in found if path.name not in known)
    size = sum(part.bytes for part in parts)
    return CacheResult(cache_home(), limit(), size, parts, others=others or None)


def clear(names: tuple[str, ...] = ()) -> CacheResult:
    """Remove parts of the cache, or all of them, and return what remains.

    Raises:
        UsageError: the cache has no part of that name, or the folder is not EdgeZoo's own.
        DataError: a part cannot be removed.
    """
    parts = info().parts
    known = [part.name for part in parts]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) if known else "The cache is empty."
            raise UsageError(f"The cache has no part {name!r}.", hint)
    home = cache_home()
    if _entries(home) and not made_cache(home):
        raise UsageError(
            f"{home}, which EDGEZOO_CACHE names, is not a cache that EdgeZoo has made: it has no "
            f"{CACHE_MARKER} of EdgeZoo.",
            "Name another folder, or remove by hand what you do not need: "
            f"{', '.join(known) or 'EdgeZoo has made nothing in it'}.",
        )
    removed = tuple(part for part in parts if not names or part.name in names)
    for path in (home / part.name for part in removed):
        try:
            shutil.rmtree(path)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path} cannot be removed: {reason}.") from error
    return replace(info(), removed=removed)
