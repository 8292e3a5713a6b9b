"""The files that a call needs on the device, their names there, and the device itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edgezoo.core import registry
from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.core.paths import PACKAGE

_LEFT_OUT = {"__pycache__", ".mypy_cache"}


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of which only some files are copied."""

    root: Path
    files: tuple[Path, ...]


def only(root: Path, files: tuple[Path, ...]) -> Path:
    """Return a folder as an argument for a device, of which only some files are copied."""
    return cast("Path", Tree(root, files))


@dataclass(frozen=True, slots=True)
class File:
    """A local file, and its relative path on the device."""

    local: Path
    remote: str
    sha256: str
    bytes: int

    def row(self) -> tuple[str, str, int]:
        """Return the file as the agent reads it."""
        return self.remote, self.sha256, self.bytes


class Names:
    """Translates paths in arguments for the device, and paths in results back.

    Each path gets its own folder there, `device-0/name`, relative to the function's current folder.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._places: list[tuple[str, str]] = []

    def outward(self, value: Any) -> Any:
        """Replace every `Path` and `Tree` by its name on the device, and collect their files.

        Raises:
            DataError: a file cannot be read.
        """
        if isinstance(value, dict):
            return {key: self.outward(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.outward(item) for item in value]
        if isinstance(value, (Path, Tree)):
            return self._add(value)
        return value

    def homeward(self, value: Any) -> Any:
        """Replace names on the device in a result or message by the local paths."""
        if isinstance(value, dict):
            return {key: self.homeward(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.homeward(item) for item in value]
        if isinstance(value, str):
            for there, here in self._places:
                value = value.replace(there, here)
        return value

    def _add(self, value: Path | Tree) -> str:
        root = value.root if isinstance(value, Tree) else value
        name = Path(os.path.abspath(root)).name
        folder, here = f"device-{len(self._places)}/", str(root)
        ends = here.endswith(name)  # "." does not
        self._places.append((folder if ends else f"{folder}{name}", here.removesuffix(name)))
        for file in _files(value):
            inner = file.relative_to(root) if root.is_dir() else Path(file.name)
            there = f"{folder}{name}/{inner.as_posix()}" if root.is_dir() else f"{folder}{inner}"
            self.files.append(_file(file, there))
        return f"{folder}{name}"


def _files(value: Path | Tree) -> Iterator[Path]:
    if isinstance(value, Tree):
        yield from value.files
    elif value.is_dir():
        yield from (path for path in sorted(value.rglob("*")) if path.is_file())
    elif any(value.suffix.lower() in runtime.suffixes for runtime in registry.runtimes().values()):
        yield from registry.runtime_for(value).files(value)
    else:
        yield value


def _file(path: Path, remote: str) -> File:
    try:
        return File(path, remote, file_sha256(path), path.stat().st_size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def package() -> list[File]:
    """Return EdgeZoo's own files, links followed, so that the device runs this version."""
    found = []
    for folder, folders, names in os.walk(PACKAGE, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for path in (Path(folder, name) for name in sorted(names)):
            found.append(_file(path, f"edgezoo/{path.relative_to(PACKAGE).as_posix()}"))
    return found
