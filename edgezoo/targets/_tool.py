"""Run compilers, in limited processes: they read files that may be a stranger's."""

from __future__ import annotations

import contextlib
import errno
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgezoo.core.artifact import CONTRACT_KEY
from edgezoo.core.errors import CrashError, DataError, RefusedError
from edgezoo.system import process
from edgezoo.system.limits import for_work
from edgezoo.system.sandbox import Sandbox

_MOST_OUTPUT = 1 << 22  # bytes of a compiler's output
_MOST_CONTRACT = 64 << 20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same file gives the same bytes


def run_module(
    module: str, words: Sequence[str], path: Path, folder: Path, timeout: float, name: str
) -> tuple[int, str]:
    """Run a compiler that is a Python module on a file; return its exit code and output.

    Args:
        folder: the only one that it may write to.

    Raises:
        RefusedError: it exceeded the timeout.
        DataError: the disk is full, or the file makes it crash.
    """
    limits = replace(for_work([path]), timeout=timeout)
    start = Sandbox((path,), limits, (folder,)).launcher()
    try:
        code, printed = start.call(_as_program, module, tuple(words)).value
    except DataError as error:
        cause = error.__cause__
        if isinstance(cause, CrashError) and cause.verdict == "time":
            raise _too_slow(name, timeout) from error
        raise
    _require_space(code, printed, name)
    return code, printed


def _as_program(module: str, words: tuple[str, ...]) -> tuple[int, str]:
    """Run a module as `python -m` does, in this process; return its exit code and output."""
    before = sys.argv, os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+b") as stream:
        sys.argv = [module, *words]
        _point_output(stream.fileno(), stream.fileno())
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                print(error.code)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            code = 1
        finally:
            sys.argv = before[0]
            _point_output(*before[1:])
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _MOST_OUTPUT))
        return code, stream.read().decode(errors="replace")


def _point_output(stdout: int, stderr: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)


def run(
    command: Sequence[str], path: Path, folder: Path, timeout: float, name: str
) -> tuple[int, str]:
    """Run a compiler that is a program on a file; return its exit code and output.

    Args:
        folder: the only one that it may write to.

    Raises:
        RefusedError: it exceeded the timeout; it and its children are killed.
        DataError: the disk is full.
    """
    limits = replace(for_work([path]), programs=True)
    with subprocess.Popen(
        [*process.limited_program(limits, folder), *command],
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
            raise _too_slow(name, timeout) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    _require_space(child.returncode, printed, name)
    return child.returncode, printed


def _too_slow(name: str, timeout: float) -> RefusedError:
    return RefusedError(
        f"{name} did not finish within {timeout:g} s and was stopped.",
        "Increase --timeout SECONDS, or try a smaller input size.",
    )


def _require_space(code: int, printed: str, name: str) -> None:
    for reason in map(os.strerror, (errno.ENOSPC, errno.EFBIG)):
        if code and reason in printed:
            raise DataError(
                f"{name} could not write its files: {reason}.",
                "Free some space or choose another folder with --output.",
            )


def last_line(printed: str) -> str:
    """Return the last line that a compiler printed."""
    return (["it printed nothing"] + [x.strip() for x in printed.splitlines() if x.strip()])[-1]


def copy_contract(source: Path, compiled: Path) -> None:
    """Copy the zip at the end of a file, with the contract, to the file compiled from it."""
    try:
        with zipfile.ZipFile(source) as files:
            if sum(entry.file_size for entry in files.infolist()) > _MOST_CONTRACT:
                raise DataError(f"The zip at the end of {source} holds too much for a contract.")
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
