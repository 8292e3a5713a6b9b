"""The cache of exported files, by a hash of everything that they depend on.

    CACHE/exports/KEY/entry.json    hashes of the files, and facts about them
    CACHE/exports/KEY/files/        the files

A rename creates an entry at once. Before use an entry is checked: its files are the user's own,
nobody else may write them, their names are plain and are those of the files that it describes,
with the same hashes. Any other entry is removed, with one line that says why. Beyond the limit the
least recently used entries are removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

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
_MOST_ENTRY = 16 << 20


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


class _RejectedError(Exception):
    """An entry that is not as EdgeZoo made it, with the reason."""


def fetch(
    key: str, place: Path, tell: Callable[[str], None] = lambda text: None
) -> MadeFiles | None:
    """Copy the files of an entry into a folder; return None if there is no entry as it was made.

    `tell` is called with a sentence on an entry that is thrown away.
    """
    try:
        folder = _exports() / key
    except DataError:  # no home folder: there is no cache
        return None
    if not os.path.lexists(folder):
        return None
    try:
        entry = _read_entry(folder)
        for name, digest in entry.files.items():
            if _copied(folder / "files" / name, place / name) != digest:
                raise _RejectedError(f"{name} in it has changed")
        os.utime(folder / _ENTRY)
    except (FileNotFoundError, ValueError, RecursionError, _RejectedError) as error:
        reason = str(error) if isinstance(error, _RejectedError) else "it is damaged"
        tell(f"An entry of the cache was thrown away: {reason} ({folder}).")
        _remove(folder)
        return None
    except OSError:  # in the cache or in the folder; exporting the files anew will report it
        return None
    return entry.made


def _read_entry(folder: Path) -> _Entry:
    """Read what an entry says about its files, and check all but their content."""
    for place in (folder, folder / "files"):
        facts = place.lstat()
        if not stat.S_ISDIR(facts.st_mode):
            raise _RejectedError(f"{place.name} is no folder")
        _check_owner(facts, place.name)
    with _opened(folder / _ENTRY) as stream:
        text = stream.read(_MOST_ENTRY + 1)
    if len(text) > _MOST_ENTRY:
        raise _RejectedError(f"{_ENTRY} is too large")
    entry = typed_json.decode(_Entry, typed_json.parse_json(text))
    described = {
        file.path.name: file.sha256 for made in entry.made.artifacts for file in made.files
    }
    paths = {str(file.path) for made in entry.made.artifacts for file in made.files}
    if paths != set(described) or not all(map(_is_plain, entry.files)):
        raise _RejectedError("it names files outside of it")
    if entry.files != entry.files | described or entry.sha256 != _hash(entry.made, entry.files):
        raise _RejectedError("its files are not those that it describes")
    return entry


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not any(c == "/" or ord(c) < 32 for c in name)


def _check_owner(facts: os.stat_result, name: str) -> None:
    if facts.st_uid != os.geteuid():
        raise _RejectedError(f"{name} belongs to another user")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _RejectedError(f"others may write {name}")


def _opened(path: Path) -> IO[bytes]:
    """Open a regular file of the cache; its links are not followed."""
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        stream = os.fdopen(os.open(path, how), "rb")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _RejectedError(f"{path.name} is a link") from error
        raise
    facts = os.fstat(stream.fileno())
    try:
        if not stat.S_ISREG(facts.st_mode):
            raise _RejectedError(f"{path.name} is no file")
        _check_owner(facts, path.name)
    except _RejectedError:
        stream.close()
        raise
    return stream


def _copied(source: Path, target: Path) -> str:
    """Copy a file, and return the hash of the copied bytes."""
    with _opened(source) as old, target.open("wb") as new:
        return _poured(old, new)


def _poured(old: IO[bytes], new: IO[bytes]) -> str:
    state = hashlib.sha256()
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
        _close_to_others(_exports(), 0o700)
        made = stage / "made"
        (made / "files").mkdir(parents=True)
        hashes = {}
        for path in files:
            with path.open("rb") as old, (made / "files" / path.name).open("xb") as new:
                hashes[path.name] = _poured(old, new)
        entry = typed_json.encode(_Entry(_hash(exported, hashes), hashes, exported))
        (made / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
        for place in (made, made / "files"):
            _close_to_others(place, 0o700)
            for file in place.iterdir():
                if file.is_file():
                    _close_to_others(file, 0o600)
        made.rename(_exports() / key)
        _shrink(stage)


def _close_to_others(path: Path, mode: int) -> None:
    """Let nobody else write, whatever the umask: `fetch` throws such entries away."""
    path.chmod(mode)


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
