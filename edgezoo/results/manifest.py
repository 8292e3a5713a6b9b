"""The manifest: what stands beside exported files and says what each of them is.

A file that has its place is named by the manifest, with its hash. While files get or lose their
names the manifest is marked `pending`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgezoo.core.artifact import SCHEMA
from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.system.staging import publish

SUFFIX = ".manifest.json"
Facts = dict[str, Any]


def publish_with_manifest(stage: Path, manifest: Path, entries: list[Facts], facts: Facts) -> None:
    """Move files from a stage to their place beside the manifest, which names them.

    At every moment each of them is absent or the one that the manifest has the hash of, and none
    that it names is absent unless it says `pending`.

    Args:
        entries: of the files, whose paths are relative to the stage.
        facts: what the manifest says of the whole run.

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
    text = json.dumps({**manifest, **({"pending": True} if pending else {})}, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def _entries(path: Path) -> list[Facts]:
    """What a manifest lists; nothing where it is damaged or not there."""
    try:
        entries: list[Facts] = read(path)["artifacts"]
    except DataError:
        return []
    return entries


def merge(path: Path, entries: list[Facts], facts: Facts) -> Facts:
    """A manifest with new entries; those of earlier runs stay while their files do."""
    new = {entry["path"] for entry in entries}
    kept = [
        entry
        for entry in _entries(path)
        if entry["path"] not in new
        and all((path.parent / file["path"]).is_file() for file in entry["files"])
    ]
    return {"schema": SCHEMA, **facts, "artifacts": [*kept, *entries]}


def read(path: Path) -> Facts:
    """A manifest.

    Raises:
        DataError: it is not there, damaged, of a newer schema, or names files elsewhere.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        schema, entries = facts["schema"], facts["artifacts"]
        names = [file["path"] for entry in entries for file in entry["files"]]
        whole = all(isinstance(entry["path"], str) for entry in entries)
        whole &= all(isinstance(f["sha256"], str) for entry in entries for f in entry["files"])
        inside = all(name == Path(name).name and name not in ("", "..") for name in names)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged or no manifest.", "Export again.") from error
    if schema != SCHEMA:
        raise DataError(
            f"{path} has schema {schema!r}; this EdgeZoo reads schema {SCHEMA}.", "Upgrade EdgeZoo."
        )
    if not (whole and inside):
        raise DataError(f"{path} names files outside of its folder.", "Export again.")
    found: Facts = facts
    return found


def state(folder: Path, file: Facts) -> str:
    """What became of a file that a manifest names: "whole", "altered" or "missing"."""
    path = folder / file["path"]
    if not path.is_file():
        return "missing"
    return "whole" if file_sha256(path) == file["sha256"] else "altered"


def check(path: Path) -> Facts:
    """Compare every file with the hash that the manifest has of it.

    Returns:
        {"manifest", "passed", "pending", "files": [{"path", "sha256", "state"}]}.

    Raises:
        DataError: see `read`.
    """
    facts = read(path)
    files = [
        {"path": file["path"], "sha256": file["sha256"], "state": state(path.parent, file)}
        for file in _files(facts["artifacts"])
    ]
    return {
        "manifest": str(path),
        "passed": all(file["state"] == "whole" for file in files),
        "pending": bool(facts.get("pending")),
        "files": files,
    }


def _files(entries: Iterable[Facts]) -> Iterable[Facts]:
    return (file for entry in entries for file in entry["files"])
