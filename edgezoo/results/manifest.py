"""The manifest: a JSON file next to exported files that describes each of them.

It names every file with its hash. While files are moved or removed, it is marked `pending`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgezoo.core import typed_json
from edgezoo.core.artifact import SCHEMA
from edgezoo.core.documents import read_json
from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.core.typed_json import InvalidValueError
from edgezoo.system.staging import publish

SUFFIX = ".manifest.json"
Facts = dict[str, Any]
T = TypeVar("T")
State = Literal["whole", "altered", "missing"]


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that a manifest names, and its state."""

    path: str
    sha256: str
    state: State


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """The files of a manifest; `pending` where an export was interrupted."""

    manifest: str
    passed: bool
    pending: bool
    files: tuple[CheckedFile, ...]


def publish_with_manifest(stage: Path, manifest: Path, entries: list[Facts], facts: Facts) -> None:
    """Move files from a stage next to the manifest, which names them.

    At every moment each of them is absent or has the hash in the manifest, and none that it names
    is absent unless it is `pending`. Paths of the entries are relative to the stage; `facts` are
    those of the whole run.

    Raises:
        OSError: the disk is full or the folder read-only.
    """
    folder, files = manifest.parent, [file for entry in entries for file in entry["files"]]
    merged = merge(manifest, entries, facts)
    places = [(stage / file["path"], folder / file["path"]) for file in files]
    outdated = [folder / file["path"] for file in files if state(folder, file) == "altered"]
    steps: list[tuple[Path | None, Path]] = []
    if outdated and (before := _entries(manifest)):
        steps.append((_write(stage, "before", {**merged, "artifacts": before}, True), manifest))
    steps += [(None, place) for place in outdated]
    steps.append((_write(stage, "during", merged, True), manifest))
    steps += places
    steps.append((_write(stage, "after", merged, False), manifest))
    publish(steps)


def _write(stage: Path, name: str, manifest: Facts, pending: bool) -> Path:
    path = stage / f"manifest.{name}"
    facts = {**manifest, "pending": True} if pending else manifest
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def _entries(path: Path) -> list[Facts]:
    """Return the entries of a manifest; none where it is damaged or missing."""
    try:
        return list(read(path)["artifacts"])
    except DataError:
        return []


def merge(path: Path, entries: list[Facts], facts: Facts) -> Facts:
    """Return a manifest with new entries; those of earlier runs stay while their files do."""
    new = {entry["path"] for entry in entries}
    others = [entry for entry in _entries(path) if entry["path"] not in new]
    kept = [e for e in others if all(os.path.isfile(path.parent / f["path"]) for f in e["files"])]
    return {"schema": SCHEMA, **facts, "artifacts": [*kept, *entries]}


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    files: tuple[_File, ...]
    contract: Facts | None = None
    request: Facts | None = None


@dataclass(frozen=True, slots=True)
class _Head:
    """What every reader of a manifest relies on."""

    schema: int
    artifacts: tuple[_Entry, ...]
    edgezoo: Facts | None = None
    platform: Facts | None = None
    versions: dict[str, str] | None = None
    pending: bool | None = None


def read(path: Path) -> Facts:
    """Return the JSON of a manifest.

    Raises:
        DataError: it is missing, damaged, of a newer schema, or names files elsewhere.
    """
    again = "Export again."
    try:
        facts = read_json(path)
        schema = facts["schema"]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise DataError(f"{path} is damaged or not a manifest{reason}.", again) from error
    if type(schema) is int and schema != SCHEMA:
        raise DataError(
            f"{path} has schema {schema!r}; this EdgeZoo reads schema {SCHEMA}.", "Upgrade EdgeZoo."
        )
    head = described(_Head, facts, path)
    names = [file.path for entry in head.artifacts for file in entry.files]
    if not all(name == Path(name).name and name not in ("", "..") for name in names):
        raise DataError(f"{path} names files outside of its folder.", again)
    return dict(facts)


def described(kind: type[T], facts: Facts, path: Path) -> T:
    """Return what a dataclass describes of a manifest.

    Raises:
        DataError: a field is missing, or has a value that it cannot have.
    """
    try:
        return typed_json.decode(kind, facts, unknown="ignore")
    except InvalidValueError as error:
        wrong = f"lacks {error.path}" if error.problem == "missing" else f"has an invalid {error}"
        raise DataError(
            f"{path} is damaged or not a manifest: it {wrong}.", "Export again."
        ) from error


def state(folder: Path, file: Facts) -> State:
    """Return the state of a file that a manifest names."""
    path = folder / file["path"]
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long
        return "missing"
    return "whole" if file_sha256(path) == file["sha256"] else "altered"


def check(path: Path) -> ManifestCheck:
    """Compare every file with its hash in the manifest.

    Raises:
        DataError: as of `read`.
    """
    facts = read(path)
    named = [file for entry in facts["artifacts"] for file in entry["files"]]
    files = tuple(CheckedFile(f["path"], f["sha256"], state(path.parent, f)) for f in named)
    whole = all(file.state == "whole" for file in files)
    return ManifestCheck(str(path), whole, bool(facts.get("pending")), files)
