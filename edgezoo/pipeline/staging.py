"""Nothing half-written: files are made in a hidden folder beside their place, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgezoo.errors import DataError

_PREFIX = ".edgezoo-"


@contextlib.contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A folder inside `output` that is gone afterwards, whatever happens.

    Raises:
        DataError: the output folder cannot be made or written, or the disk is full.
    """
    made = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        _remove_orphans(output)
        stage = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=output))
    except OSError as error:
        raise DataError(
            f"The output folder {output} cannot be written: {error.strerror}.",
            "Choose another one with --output.",
        ) from error
    try:
        yield stage
    except OSError as error:
        raise DataError(
            f"{error.filename or output} cannot be read or written: {error.strerror or error}.",
            "Free some space or choose another folder with --output.",
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                output.rmdir()  # only where nothing came of it


def _remove_orphans(output: Path) -> None:
    """Stages of processes that were killed before they could clean up."""
    for stage in output.glob(f"{_PREFIX}*"):
        number = stage.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(stage, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def publish(files: list[Path], output: Path) -> list[Path]:
    """Move finished files from the stage to their place, each in one step."""
    placed = []
    for file in files:
        target = output / file.name
        os.replace(file, target)
        placed.append(target)
    return placed
