"""Work on untrusted files in a process with limited resources.

A file that crashes its runtime, exhausts the memory or hangs ends that process only; the caller
gets one error. `edgezoo.system.limits` defines the limits, docs/security.md lists the commands.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import CrashError, DataError, EdgeZooError, defect
from edgezoo.core.heartbeat import advance, alive
from edgezoo.core.typed_json import Json
from edgezoo.system import process
from edgezoo.system.limits import Limits, for_files, for_work
from edgezoo.system.machine import usable_cores

_MOST_ITEMS = 1 << 20  # where they are not counted: each has its own time
Progress = Callable[[int], None]
P = ParamSpec("P")
T = TypeVar("T")


def limits_for(
    paths: Sequence[Path],
    *,
    memory_gb: float | None = None,
    seconds: float | None = None,
    jobs: int | None = 1,
    device: str = "cpu",
    trust: bool = False,
    items: int = 0,
) -> Limits:
    """Return the limits for work on files on a device.

    Args:
        memory_gb: the user's limit instead of the default; 0 for no limit.
        seconds: the user's timeout between two heartbeats instead of the default.
        jobs: images at a time, each with its own session; None for one per core.
        trust: code in the file may run, so writing is allowed, too.
        items: parts of the work, such as images; see `Limits`.
    """
    sessions = usable_cores() if jobs is None else jobs
    default = for_files(paths, sessions=sessions, device=device, items=items)
    memory = default.memory if memory_gb is None else int(memory_gb * 1e9) or None
    timeout = default.timeout if seconds is None else seconds
    return replace(default, memory=memory, timeout=timeout, writes=trust)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A limited process for work on untrusted files.

    Attributes:
        paths: the files, for error messages.
        limits: limits of the process.
        writable: folders that it may write to, made for it; what is missing opens nothing.
        progress: called here when the function calls its argument `progress`.
        debug: the process writes to this terminal.
        scratch: folder of temporary files; None for the system's folder.
        notes: folder where the notes of the process are kept (`edgezoo.system.notes`).
    """

    paths: tuple[Path, ...]
    limits: Limits
    writable: tuple[Path, ...] = ()
    progress: Progress | None = None
    debug: bool = False
    scratch: Path | None = None
    notes: Path | None = None

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of EdgeZoo within the limits, and return its result; see `run`."""
        return self.run(process.job(function, *args, **kwargs))

    def run(self, job: process.Job[T]) -> T:
        """Run a call within the limits.

        Raises:
            EdgeZooError: the error that the function raised, of the same class.
            DataError: the process died, exceeded its limits or answered nonsense.
        """
        settings = self.limits.memory, self.progress is not None
        answer = self.launcher().call(run, job.function, job.arguments, *settings)
        try:
            return cast("T", typed_json.decode(job.returns, answer.value))
        except ValueError as error:
            raise _blamed(self.paths, self.limits, CrashError("")) from error

    def launcher(self) -> process.Launcher:
        """Return what starts several processes with these limits each."""
        return process.Launcher(
            self.debug,
            self.limits,
            tuple(os.path.abspath(place) for place in self.writable),
            self.scratch,
            partial(_blamed, self.paths, self.limits),
            self.progress,
            self.notes,
        )


def workshop(
    paths: Sequence[Path],
    folder: Path,
    *,
    debug: bool = False,
    trust: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> process.Launcher:
    """Return what starts the steps of long work on files, which may write to one folder only."""
    limits = for_work(paths, device=device, trust=trust)
    place = Path(os.path.realpath(folder))
    return Sandbox(tuple(paths), limits, (place,), progress, debug, place).launcher()


def call_with_default_limits(function: str, files: list[str], arguments: Json) -> Any:
    """Run a function within this machine's default limits, for a call from another machine.

    Args:
        function: "edgezoo.module:name"; it takes "device", "trust" and optionally "jobs".
        files: names of the arguments that hold paths of untrusted files.
        arguments: keyword arguments as JSON.
    """
    given = [arguments[name] for name in files]
    lists = [value if isinstance(value, list) else [value] for value in given if value]
    paths = tuple(Path(path) for each in lists for path in each)
    jobs, device, trust = arguments.get("jobs", 1), arguments["device"], arguments["trust"]
    limits = limits_for(paths, jobs=jobs, device=device, trust=trust, items=_MOST_ITEMS)
    return Sandbox(paths, limits).call(run, function, arguments, limits.memory, False)


def load_artifact(path: Path | str) -> Artifact:
    """Call `registry.load_artifact` within the default limits."""
    return load_artifacts([path])[0]


def load_artifacts(paths: Sequence[Path | str]) -> tuple[Artifact, ...]:
    """Call `registry.load_artifact` for each file, within the default limits of all."""
    files = tuple(map(Path, paths))
    return Sandbox(files, limits_for(files)).call(_load, files)


def _load(paths: tuple[Path, ...]) -> tuple[Artifact, ...]:
    return tuple(registry.load_artifact(path) for path in paths)


def run(function: str, arguments: Json, memory: int | None, progress: bool) -> Any:
    """Run "edgezoo.module:name" in the limited process, and return its result as JSON.

    A defect of EdgeZoo is reported as such, with its traceback in the log. `memory` is the limit
    in bytes, for messages; with `progress` the function is told how to report it.
    """
    called = process.find(function)
    given = typed_json.decode_arguments(called, arguments)
    if progress:
        given["progress"] = advance
    alive()  # what was imported until now is no part of the time
    try:
        facts = typed_json.encode(called(**given))
    except EdgeZooError:
        raise
    except MemoryError as error:
        what = _TOO_MUCH.format(what="This work", gib=_gib(memory))
        raise DataError(what, _MORE_MEMORY) from error
    except OSError as error:
        raise _denied(error) from error
    except Exception as error:
        traceback.print_exc()
        raise defect(error) from error
    try:
        json.dumps(facts, allow_nan=False)
    except ValueError as error:
        message = "The file contains or produces values that are not numbers (NaN, or infinite)."
        raise DataError(message, "Check where it came from.") from error
    return facts


def _denied(error: OSError) -> EdgeZooError:
    """Return the error for what the system refused to a limited process."""
    if error.errno == errno.EFBIG:
        return DataError(
            "The file makes its process write more than the limit for untrusted files.",
            "Check where it came from.",
        )
    if error.filename is None and error.errno in (errno.EPERM, errno.EACCES):
        return DataError(
            f"The file makes its process do what is forbidden for untrusted files: {error}.",
            "Check where it came from.",
        )
    return defect(error)


_TOO_MUCH = "{what} needs more memory than {gib}, the limit for untrusted files."
# Failed allocations as Python, the loader, OpenBLAS and C++ report them.
_OUT_OF_MEMORY = ("memoryerror", "memory allocation", "allocate memory", "map segment", "bad_alloc",
                  "start new thread")  # fmt: skip
_DEFECT = os.EX_SOFTWARE  # an exception of Python code ended it
_MORE_MEMORY = "If you trust the files, allow more with --max-memory."


def _gib(memory: int | None) -> str:
    if memory is None:
        return "the machine's memory"
    return f"{memory / 2**30:.1f} GiB" if memory >= 2**28 else f"{memory / 2**20:.1f} MiB"


def _blamed(paths: Sequence[Path | str], limits: Limits, error: CrashError) -> EdgeZooError:
    """Return the error for files whose process died."""
    code, names = error.returncode, ", ".join(map(str, paths)) or "the network"
    text = f"{error.message} {error.hint}".lower()
    told = any(word in text for word in _OUT_OF_MEMORY)
    if limits.memory is not None and (told or error.verdict == "memory"):
        # With less than about 100 MiB, Python or a library fails before it opens the file.
        what = f"Working on {names}"
        return DataError(_TOO_MUCH.format(what=what, gib=_gib(limits.memory)), _MORE_MEMORY)
    if error.verdict is not None:
        return DataError(*_VERDICTS[error.verdict](names, limits))
    if code == _DEFECT or not paths:  # a library's fault, or EdgeZoo's
        return error
    if code is None or code >= 0:
        return DataError(
            f"The process that worked on {names} ended without an answer (exit code {code}).",
            "Check where the file came from; --debug shows the output of the process.",
        )
    if code == -signal.SIGKILL:
        return DataError(
            f"The process that worked on {names} was killed, most likely because memory ran out.",
            "Close other programs, or use a smaller file.",
        )
    return DataError(
        f"The process that worked on {names} died ({signal.Signals(-code).name}): the file is "
        f"damaged, unsupported by its runtime, or needs more than {_gib(limits.memory)}.",
        f"Check where it came from. {_MORE_MEMORY}",
    )


_MORE_TIME = "If you trust the file, allow more time with --max-seconds."
_VERDICTS: dict[str, Callable[[str, Limits], tuple[str, str]]] = {
    "time": lambda names, limits: (
        f"Working on {names} made no progress for {limits.timeout:.0f} s and was killed.",
        _MORE_TIME,
    ),
    "whole time": lambda names, limits: (
        f"Working on {names} took longer than its size explains and was killed.",
        _MORE_TIME,
    ),
    "disk": lambda names, limits: (
        f"Working on {names} wrote more than {_gib(limits.disk)} and was killed.",
        "Check where the file came from.",
    ),
    "stopped": lambda names, limits: (
        f"The process that worked on {names} stopped itself and was killed.",
        "Check where the file came from.",
    ),
}
