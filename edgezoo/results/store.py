"""A results store: a folder with one JSON record a variant, each written whole or not at all.

    store.json         schema of the store
    records/           a record a variant, named by what it measures and a hash of it
    artifacts/         files that a sweep exported
    notes/             what a sweep found out on the way, by content hash

The schema of a record is docs/schemas/record.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgezoo.core.errors import DataError, UsageError, words_of
from edgezoo.core.files import write_text_atomically
from edgezoo.core.typed_json import parse_json
from edgezoo.results import record_fields

SCHEMA = 1
KINDS = ("measurement", "estimate")
STATUSES = ("measured", "failed")
_SCRATCH = re.compile(r"\..+\.(\d+)")
Record = dict[str, Any]


class SchemaError(DataError):
    """A record or a store that another EdgeZoo wrote: it is neither read nor overwritten."""


def content_key(facts: dict[str, Any]) -> str:
    """A hash of what can be written as JSON, the order of keys left aside."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Store:
    """An opened results store; make one with `open_store`."""

    folder: Path

    @property
    def artifacts(self) -> Path:
        """Where exported files go."""
        return self.folder / "artifacts"

    def record_path(self, name: str, key: str) -> Path:
        """Where the record of a variant stands."""
        return self.folder / "records" / f"{name}-{key}.json"

    def write(self, name: str, key: str, facts: Record) -> None:
        """Write a record, all of it or nothing.

        Raises:
            DataError: the disk is full or the folder read-only.
        """
        _write(self.record_path(name, key), {"schema": SCHEMA, "key": key, **facts})

    def find(self, name: str, key: str) -> Record | None:
        """A whole record of that variant, None where there is none.

        Raises:
            SchemaError: another EdgeZoo wrote it.
        """
        try:
            return read_record(self.record_path(name, key))
        except SchemaError:
            raise
        except DataError:
            return None  # a damaged record is made anew

    def note(self, name: str) -> dict[str, Any] | None:
        """What `keep` wrote, None where nothing whole is there."""
        try:
            facts = parse_json((self.folder / "notes" / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def keep(self, name: str, facts: dict[str, Any]) -> None:
        """Keep something that would cost time to find out again."""
        _write(self.folder / "notes" / f"{name}.json", facts)


def _write(path: Path, facts: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be made: {error.strerror}.", "Choose another --output."
        ) from error
    write_text_atomically(path, json.dumps(facts, allow_nan=False) + "\n")


@contextlib.contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open a store to write to, and make it where there is none; one process at a time.

    Raises:
        DataError: the store is of a newer schema, or the folder cannot be written.
        UsageError: another process writes to it.
    """
    check_schema(folder)
    with contextlib.ExitStack() as stack:
        try:
            _write(folder / "store.json", {"kind": "edgezoo-results", "schema": SCHEMA})
            lock = stack.enter_context((folder / ".lock").open("w"))
        except (OSError, DataError) as error:
            raise _unwritable(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another benchmark is writing to {folder}.", "Wait for it, or name another folder."
            ) from error
        _remove_scratch(folder)
        yield Store(folder)


def _unwritable(folder: Path, error: OSError | DataError) -> DataError:
    cause = error.__cause__ if isinstance(error, DataError) else error
    return DataError(
        f"Nothing can be written to the results store {folder}: "
        f"{words_of(cause if isinstance(cause, OSError) else error)}.",
        "Look at its rights and for room on the disk, or choose another folder with --output.",
    )


def check_schema(folder: Path) -> None:
    """Look whether a store may be read; a folder without one may.

    Raises:
        DataError: it was made by a newer EdgeZoo, or is something else.
    """
    path = folder / "store.json"
    if not path.exists():
        return
    try:
        facts = parse_json(path.read_text())
        schema = int(facts["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged or no results store's.", "Name another folder."
        ) from error
    _check_version(schema, path)


def _check_version(schema: object, path: Path) -> None:
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        # What is no number was never written as one: that is damage.
        raise (SchemaError if type(schema) is int else DataError)(
            f"{path} has schema {schema!r}; this EdgeZoo reads schema {SCHEMA}.",
            "Upgrade EdgeZoo." if newer else "",
        )


def _remove_scratch(folder: Path) -> None:
    """Files that killed processes were writing; nobody else writes here now."""
    for place in (folder, folder / "records", folder / "notes"):
        for path in place.glob(".*"):
            if _SCRATCH.fullmatch(path.name):
                path.unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """One record.

    Raises:
        DataError: it is damaged.
        SchemaError: it is of a newer schema.
    """
    try:
        facts = parse_json(path.read_text(encoding="utf-8"))
        kind, status = facts["kind"], facts["status"]
        known = kind in KINDS and status in STATUSES and isinstance(facts["variant"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged.", "Delete it; the next sweep makes it anew."
        ) from error
    _check_version(facts.get("schema"), path)
    if not known:
        raise DataError(f"{path} is no record of EdgeZoo's.", "Delete it.")
    wrong = record_fields.fault(facts)
    if wrong:
        raise DataError(f"{path} is damaged: {wrong}.", "Delete it; the next sweep makes it anew.")
    return {**facts, "store": str(path.parent.parent)}


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """All records of a store, sorted by file name, and what could not be read, in words.

    Raises:
        DataError: no store, or one of a newer schema.
    """
    if not (folder / "records").is_dir():
        raise DataError(
            f"{folder} is no results store.", "Make one with edgezoo benchmark and --output DIR."
        )
    check_schema(folder)
    records, damaged = [], []
    for path in sorted((folder / "records").glob("*.json")):
        try:
            records.append(read_record(path))
        except SchemaError:
            raise
        except DataError as error:
            damaged.append(error.message)
    return records, damaged


def read_stores(folders: Sequence[Path]) -> tuple[list[list[Record]], list[str]]:
    """The records of several stores, a list each, and what could not be read, in words.

    Raises:
        UsageError: one store is named twice; its records would count twice.
        DataError: as `read_records` raises it.
    """
    known: set[Path] = set()
    for folder in folders:
        if folder.resolve() in known:
            raise UsageError(f"{folder} is named twice.", "Name each results store once.")
        known.add(folder.resolve())
    read = [read_records(folder) for folder in folders]
    return [records for records, _ in read], [text for _, damaged in read for text in damaged]
