"""Which files a call needs on the device, and what they are called there."""

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
    """A folder of which only some files are wanted."""

    root: Path
    files: tuple[Path, ...]


def only(root: Path, files: tuple[Path, ...]) -> Path:
    """A folder to hand to a function on a device, of which only some files are copied."""
    return cast("Path", Tree(root, files))


@dataclass(frozen=True, slots=True)
class File:
    """A file here, and its relative path there."""

    local: Path
    remote: str
    sha256: str
    bytes: int

    def row(self) -> tuple[str, str, int]:
        """As the agent reads it."""
        return self.remote, self.sha256, self.bytes


class Names:
    """Arguments as the device sees them, and answers as they read here.

    Each path stands in a folder of its own there, `device-0/name`, relative to where the function
    runs.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._places: list[tuple[str, str]] = []

    def outward(self, value: Any) -> Any:
        """`value` with every `Path` and `Tree` replaced by its name there; notes their files.

        Raises:
            DataError: a file that cannot be read.
        """
        if isinstance(value, dict):
            return {key: self.outward(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.outward(item) for item in value]
        if isinstance(value, (Path, Tree)):
            return self._add(value)
        return value

    def homeward(self, value: Any) -> Any:
        """An answer, or its words, with the names that the files have here."""
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
        if here.endswith(name):
            self._places.append((folder, here.removesuffix(name)))
        else:  # such as "."
            self._places.append((f"{folder}{name}", here))
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
    """EdgeZoo's own files, links followed: the device runs this very version."""
    root = PACKAGE
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(names):
            path = Path(folder, name)
            found.append(_file(path, f"edgezoo/{path.relative_to(root).as_posix()}"))
    return found
