"""Run a compiler that is a separate program."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgezoo.core.artifact import CONTRACT_KEY
from edgezoo.core.errors import DataError, RefusedError

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same file gives the same bytes


def run(command: Sequence[str], timeout: float, name: str) -> tuple[int, str]:
    """Run a compiler and return its exit code and output.

    Raises:
        RefusedError: it exceeded the timeout; it and its children are killed.
        DataError: the disk is full.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            printed, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise RefusedError(
                f"{name} did not finish within {timeout:g} s and was stopped.",
                "Increase --timeout SECONDS, or try a smaller input size.",
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode and os.strerror(errno.ENOSPC) in printed:
        raise DataError(
            f"{name} could not write its files: {os.strerror(errno.ENOSPC)}.",
            "Free some space or choose another folder with --output.",
        )
    return child.returncode, printed


def last_line(printed: str) -> str:
    """Return the last line that a compiler printed."""
    return (["it printed nothing"] + [x.strip() for x in printed.splitlines() if x.strip()])[-1]


def copy_contract(source: Path, compiled: Path) -> None:
    """Copy the zip at the end of a file, with the contract, to the file compiled from it."""
    try:
        with zipfile.ZipFile(source) as files:
            contents = {name: files.read(name) for name in files.namelist()}
    except (zipfile.BadZipFile, NotImplementedError):
        return
    if f"{CONTRACT_KEY}.json" not in contents:
        return
    with zipfile.ZipFile(compiled, "a", zipfile.ZIP_STORED) as files:
        present = set(files.namelist())
        for name, content in contents.items():
            if name not in present:
                files.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content)
