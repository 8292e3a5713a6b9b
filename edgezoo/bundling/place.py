"""Where a bundle may be written: a new folder, an empty one, or an unchanged bundle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgezoo.core import typed_json
from edgezoo.core.documents import read_json
from edgezoo.core.errors import UsageError
from edgezoo.core.files import file_sha256
from edgezoo.core.typed_json import Json

SCHEMA: Literal[1] = 1
LIST = "bundle.json"
_CACHE = "__pycache__"  # written by selftest.py, without any file of a user
_ELSEWHERE = "Choose a new folder with --output."


@dataclass(frozen=True, slots=True)
class BundleList:
    """The content of bundle.json: hashes of what selftest.py needs, and of the other files."""

    schema: Literal[1]
    models: tuple[Json, ...]
    sha256: dict[str, str]
    others: dict[str, str]


def resolved(output: Path | str) -> Path:
    """Return where a bundle is written: a link to a folder is kept, its target is replaced."""
    output = Path(output).absolute()
    return output if output.suffix.lower() == ".zip" else Path(os.path.realpath(output))


def check_folder(output: Path) -> None:
    """Check that nothing is lost when a bundle replaces a folder.

    Args:
        output: an absolute path without links; it need not exist.

    Raises:
        UsageError: it contains something that EdgeZoo did not write.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} exists and is not a bundle.", _ELSEWHERE)
    if any(output.iterdir()):
        if (hashes := _hashes(output / LIST)) is None:
            raise UsageError(f"{output} exists and is not a bundle.", _ELSEWHERE)
        if changed := _changed_file(output, hashes):
            raise UsageError(
                f"The bundle {output} cannot be replaced: {changed} in it was added or changed, "
                "and would be lost.",
                f"Move {changed} out of it, or choose a new folder with --output.",
            )
    if Path.cwd().is_relative_to(output):
        raise UsageError(
            f"{output} is the current folder, and a bundle replaces its folder.",
            f"Leave it first (cd {output.parent}), or choose a new folder with --output.",
        )


def _hashes(path: Path) -> dict[str, str] | None:
    """Return the hashes of all files of a bundle but the list, or None where it is not one."""
    try:
        facts = read_json(path)
        listed = typed_json.decode(BundleList, facts)
    except (OSError, ValueError):
        return None
    return {**listed.sha256, **listed.others}


def _changed_file(folder: Path, hashes: dict[str, str]) -> str:
    """Return the first file or folder that was added or changed, or "" for none."""
    own = {str(parent) for name in hashes for parent in PurePosixPath(name).parents}
    for here, below, files in os.walk(folder):
        at = Path(here).relative_to(folder)
        if not at.parts and _CACHE in below and not (folder / _CACHE).is_symlink():
            below.remove(_CACHE)
        for name in sorted(below):
            if str(at / name) not in own or (folder / at / name).is_symlink():
                return f"{at / name}/"
        for name in sorted(files):
            if at / name != Path(LIST) and not _as_written(folder, at / name, hashes):
                return str(at / name)
    return ""


def _as_written(folder: Path, name: Path, hashes: dict[str, str]) -> bool:
    path, wanted = folder / name, hashes.get(str(name))
    if wanted is None or path.is_symlink() or not path.is_file():
        return False
    return file_sha256(path) == wanted
