"""A results store: a folder with one JSON record per variant, each written whole or not at all.

    store.json         schema of the store
    records/           a record per variant, named by what it measures and a hash of it
    artifacts/         files that a sweep exported
    notes/             intermediate results of a sweep, by content hash

The schema of a record is docs/schemas/record.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgezoo.core import typed_json
from edgezoo.core.documents import read_json
from edgezoo.core.errors import DataError, UsageError, words_of
from edgezoo.core.files import write_text_atomically
from edgezoo.core.typed_json import InvalidValueError
from edgezoo.results.record import SCHEMA, Estimated, Failed, Measured, Record, current, in_points

_SCRATCH = re.compile(r"\..+\.(\d+)")
T = TypeVar("T")


class SchemaError(DataError):
    """A record or a store of a newer EdgeZoo: it is neither read nor overwritten."""


def content_key(facts: Mapping[str, object]) -> str:
    """Return a hash of a JSON object that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Store:
    """An opened results store; make one with `open_store`."""

    folder: Path

    @property
    def artifacts(self) -> Path:
        """Folder of exported files."""
        return self.folder / "artifacts"

    def record_path(self, name: str, key: str) -> Path:
        """Return the path of a variant's record."""
        return self.folder / "records" / f"{name}-{key}.json"

    def write(self, name: str, record: Record) -> None:
        """Write a record, all of it or nothing.

        Raises:
            DataError: the disk is full or the folder read-only.
        """
        _write(self.record_path(name, record.key), record)

    def find(self, name: str, key: str) -> Record | None:
        """Return a whole record of a variant, None where it is missing or damaged.

        Raises:
            SchemaError: a newer EdgeZoo wrote it.
        """
        try:
            return read_record(self.record_path(name, key))
        except DataError as error:
            if isinstance(error, SchemaError):
                raise
            return None  # a damaged record is made again

    def note(self, kind: type[T], name: str) -> T | None:
        """Return what `keep` wrote, None where it is missing or damaged."""
        try:
            facts = read_json(self.folder / "notes" / f"{name}.json")
            return typed_json.decode(kind, in_points(facts), unknown="ignore")
        except (OSError, ValueError):
            return None

    def keep(self, name: str, note: object) -> None:
        """Keep a result that would cost time to compute again."""
        _write(self.folder / "notes" / f"{name}.json", note)


def _write(path: Path, value: object) -> None:
    write_in_folder(path, json.dumps(typed_json.encode(value), allow_nan=False) + "\n")


def write_in_folder(path: Path, text: str) -> None:
    """Write a file, all of it or nothing, in a folder that need not exist.

    Raises:
        DataError: the disk is full or the folder read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be created: {error.strerror}.", "Choose another --output."
        ) from error
    write_text_atomically(path, text)


@contextlib.contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open a store to write to, and create it if needed; one process at a time.

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
    """Check that a store can be read; a folder without one can.

    Raises:
        DataError: a newer EdgeZoo made it, or it is something else.
    """
    path = folder / "store.json"
    try:
        schema = read_json(path)["schema"] if path.exists() else SCHEMA
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged or not of a results store.", "Name another folder."
        ) from error
    _check_version(schema, path)


def _check_version(schema: object, path: Path) -> None:
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        # Only an integer can be another EdgeZoo's schema: anything else is damage.
        raise (SchemaError if type(schema) is int else DataError)(
            f"{path} has schema {schema!r}; this EdgeZoo reads schemas 1 to {SCHEMA}.",
            "Upgrade EdgeZoo." if newer else "",
        )


def _remove_scratch(folder: Path) -> None:
    """Remove what killed processes were writing; the lock keeps others from writing now."""
    for place in (folder, folder / "records", folder / "notes"):
        for path in place.glob(".*"):
            if _SCRATCH.fullmatch(path.name):
                path.unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """Return one record.

    Raises:
        DataError: it is damaged.
        SchemaError: it has a newer schema.
    """
    again = "Delete it; the next sweep makes it again."
    try:
        facts = read_json(path)
        kind, status, _ = facts["kind"], facts["status"], facts["variant"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged.", again) from error
    _check_version(facts.get("schema"), path)
    figures = {"measurement": Measured, "estimate": Estimated}.get(str(kind))
    if figures is None or status not in ("measured", "failed"):
        raise DataError(f"{path} is not a record of EdgeZoo.", "Delete it.")
    wanted: Any = Failed if status == "failed" else figures
    try:
        own = {**current(facts), "schema": SCHEMA, "store": str(path.parent.parent)}
        record: Record = typed_json.decode(wanted, own, unknown="ignore")
    except InvalidValueError as error:
        wrong = f"{error.path} is missing" if error.problem == "missing" else str(error)
        raise DataError(f"{path} is damaged: its {wrong}.", again) from error
    return record


def iterate(folder: Path, damaged: list[str]) -> Iterator[Record]:
    """Yield the records of a store, sorted by file name, one in memory at a time.

    A message for each damaged one is added to `damaged`.

    Raises:
        DataError: not a store, or one of a newer schema.
    """
    if not (folder / "records").is_dir():
        raise DataError(
            f"{folder} is not a results store.", "Make one with edgezoo benchmark and --output DIR."
        )
    check_schema(folder)
    for path in sorted((folder / "records").glob("*.json")):
        try:
            yield read_record(path)
        except DataError as error:
            if isinstance(error, SchemaError):
                raise
            damaged.append(error.message)


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Return all records of a store, and a message for each damaged one; see `iterate`."""
    damaged: list[str] = []
    return list(iterate(folder, damaged)), damaged


def require_different(folders: Sequence[Path]) -> None:
    """Check that no store is named twice: its records would count twice.

    Raises:
        UsageError: one is.
    """
    places = [folder.resolve() for folder in folders]
    for i, folder in enumerate(folders):
        if places[i] in places[:i]:
            raise UsageError(f"{folder} is named twice.", "Name each results store once.")
