"""Work on untrusted files in a process with limited resources.

A file that crashes its runtime, exhausts the memory or hangs ends that process only; the caller
gets one error. `edgezoo.system.limits` defines the limits, docs/security.md lists the commands.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import CrashError, DataError, EdgeZooError, defect
from edgezoo.core.heartbeat import alive
from edgezoo.core.paths import cache_home
from edgezoo.system import process
from edgezoo.system.limits import Limits, for_files
from edgezoo.system.machine import usable_cores

Progress = Callable[[int], None]
P = ParamSpec("P")
T = TypeVar("T")
_POLL_S = 0.2


def limits_for(
    paths: Sequence[Path],
    *,
    memory_gb: float | None = None,
    seconds: float | None = None,
    jobs: int | None = 1,
    device: str = "cpu",
    trust: bool = False,
) -> Limits:
    """Return the limits for work on files on a device.

    Args:
        memory_gb: the user's limit instead of the default; 0 for no limit.
        seconds: the user's timeout between two heartbeats instead of the default.
        jobs: images at a time, each with its own session; None for one per core.
        trust: code in the file may run, so writing is allowed, too.
    """
    sessions = usable_cores() if jobs is None else jobs
    default = for_files(paths, sessions=sessions, device=device)
    memory = default.memory if memory_gb is None else int(memory_gb * 1e9) or None
    return Limits(memory, default.timeout if seconds is None else seconds, trust)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A limited process for work on untrusted files.

    Attributes:
        paths: the files, for error messages.
        limits: limits of the process.
        writable: folders that it may write to; for a missing folder its nearest existing parent.
        progress: called here when the function calls its argument `progress`.
        debug: the process writes to this terminal.
    """

    paths: tuple[Path, ...]
    limits: Limits
    writable: tuple[Path, ...] = ()
    progress: Progress | None = None
    debug: bool = False

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of EdgeZoo within the limits, and return its result; see `run`."""
        return self.run(process.job(function, *args, **kwargs))

    def run(self, job: process.Job[T]) -> T:
        """Run a call within the limits.

        Raises:
            EdgeZooError: the error that the function raised, of the same class.
            DataError: the process died or exceeded its limits.
        """
        open_to = [_existing(place) for place in self.writable]
        with tempfile.TemporaryDirectory(prefix="edgezoo-") as folder:
            note = Path(folder, "progress")
            launcher = process.Launcher(self.debug, self.limits, (*open_to, folder))
            settings = self.limits.memory, note if self.progress else None
            try:
                with _relayed(note, self.progress):
                    answer = launcher.call(run, job.function, job.arguments, *settings)
            except CrashError as error:
                raise _blamed(error, self.paths, self.limits) from error
        return cast("T", typed_json.decode(job.returns, answer.value))


def call_with_default_limits(function: str, files: list[str], arguments: dict[str, Any]) -> Any:
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
    limits = limits_for(paths, jobs=jobs, device=device, trust=trust)
    sandbox = Sandbox(paths, limits, (cache_home(),))
    return sandbox.call(run, function, arguments, limits.memory, None)


def load_artifact(path: Path | str) -> Artifact:
    """Call `registry.load_artifact` within the default limits."""
    return Sandbox((Path(path),), limits_for([Path(path)])).call(registry.load_artifact, path)


def run(function: str, arguments: dict[str, Any], memory: int | None, note: Path | None) -> Any:
    """Run "edgezoo.module:name" in the limited process, and return its result as JSON.

    A defect of EdgeZoo is reported as such, with its traceback in the log. `memory` is the limit
    in bytes, for messages; `note` the file that counts progress.
    """
    called = process.find(function)
    given = typed_json.decode_arguments(called, arguments)
    if note is not None:
        given["progress"] = _counter(note)
    try:
        facts = typed_json.encode(called(**given))
    except EdgeZooError:
        raise
    except MemoryError as error:
        what = _TOO_MUCH.format(what="This work", gib=_gib(memory))
        raise DataError(what, _MORE_MEMORY) from error
    except Exception as error:
        traceback.print_exc()
        raise defect(error) from error
    try:
        json.dumps(facts, allow_nan=False)
    except ValueError as error:
        message = "The file contains or produces values that are not numbers (NaN, or infinite)."
        raise DataError(message, "Check where it came from.") from error
    return facts


def _existing(place: Path) -> str:
    whole = Path(os.path.abspath(place))
    return str(next(path for path in (whole, *whole.parents) if path.is_dir()))


_TOO_MUCH = "{what} needs more memory than {gib}, the limit for untrusted files."
# Failed allocations as Python, the loader, OpenBLAS and C++ report them.
_OUT_OF_MEMORY = ("memoryerror", "memory allocation", "allocate memory", "map segment", "bad_alloc")
_MORE_MEMORY = "If you trust the files, allow more with --max-memory."


def _gib(memory: int | None) -> str:
    if memory is None:
        return "the machine's memory"
    return f"{memory / 2**30:.1f} GiB" if memory >= 2**28 else f"{memory / 2**20:.1f} MiB"


def _blamed(error: CrashError, paths: Sequence[Path | str], limits: Limits) -> EdgeZooError:
    """Return the error for files whose process died."""
    code, names = error.returncode, ", ".join(map(str, paths))
    text = f"{error.message} {error.hint}".lower()
    if limits.memory is not None and any(word in text for word in _OUT_OF_MEMORY):
        # With less than about 100 MiB, Python or a library fails before it opens the file.
        what = f"Working on {names}"
        return DataError(_TOO_MUCH.format(what=what, gib=_gib(limits.memory)), _MORE_MEMORY)
    if code is None or code >= 0:
        return error  # the process exited by itself: a defect, not the file's fault
    if code == -signal.SIGALRM:
        message = f"Working on {names} made no progress for {limits.timeout:.0f} s and was killed."
        return DataError(message, "If you trust the file, allow more time with --max-seconds.")
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


def _counter(note: Path) -> Progress:
    """Return a function that counts progress in a file."""
    count = 0
    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT, 0o600)

    def advance(more: int) -> None:
        nonlocal count
        alive()
        count += more
        os.pwrite(descriptor, count.to_bytes(8, "little"), 0)

    return advance


@contextlib.contextmanager
def _relayed(note: Path, progress: Progress | None) -> Iterator[None]:
    """Report the progress counted in the file until the block ends."""
    if progress is None:
        yield
        return
    reported, ended = 0, threading.Event()

    def report() -> None:
        nonlocal reported
        with contextlib.suppress(OSError):
            count = int.from_bytes(note.read_bytes()[:8], "little")
            progress(count - reported)
            reported = count

    def watch() -> None:
        while not ended.wait(_POLL_S):
            report()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        report()
