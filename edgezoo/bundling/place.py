"""Where a bundle may be put: a new folder, an empty one, or a bundle that nobody added to."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from edgezoo.core.errors import UsageError
from edgezoo.core.files import file_sha256

SCHEMA = 1
LIST = "bundle.json"
# selftest.py leaves it behind, and it holds nothing of a user.
_CACHE = "__pycache__"
_ELSEWHERE = "Name a new folder with --output."


def resolved(output: Path | str) -> Path:
    """Where a bundle comes to stand: a link to a folder stays, what it leads to is replaced."""
    output = Path(output).absolute()
    return output if output.suffix.lower() == ".zip" else Path(os.path.realpath(output))


def check_folder(output: Path) -> None:
    """Check that nothing is lost where a folder is replaced by a bundle.

    Args:
        output: an absolute path without links; nothing need be there.

    Raises:
        UsageError: something is there that EdgeZoo did not put there.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is there already and is no bundle.", _ELSEWHERE)
    if any(output.iterdir()):
        hashes = _hashes(output / LIST)
        if hashes is None:
            raise UsageError(f"{output} is there already and is no bundle.", _ELSEWHERE)
        changed = _changed_file(output, hashes)
        if changed:
            raise UsageError(
                f"The bundle {output} would be replaced, and {changed} in it is not as EdgeZoo "
                "wrote it: it would be lost.",
                f"Move {changed} out of it, or name a new folder with --output.",
            )
    if Path.cwd().is_relative_to(output):
        raise UsageError(
            f"{output} is the folder that you are in, and a bundle replaces its folder.",
            f"Go out of it first (cd {output.parent}), or name a new folder with --output.",
        )


def _hashes(path: Path) -> dict[str, str] | None:
    """Of all files of a bundle but the list itself, by relative path; None for other lists."""
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA or not isinstance(facts["models"], list):
            return None
        hashes = {**facts["sha256"], **facts["others"]}
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return hashes


def _changed_file(folder: Path, hashes: dict[str, str]) -> str:
    """The first file or folder that was added or changed, as a relative path; "" for none."""
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
