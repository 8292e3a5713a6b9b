"""Work on untrusted files, done in a process with limited resources.

A file that crashes its runtime, fills the memory or never ends takes that process with it; the
caller gets one sentence. `edgezoo.system.limits` says what is limited, docs/security.md which
commands do so.
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
    """Limits for work on files.

    Args:
        paths: the files.
        memory_gb: what a user allows instead of the default; 0 for no limit.
        seconds: the same for the time between two signs of life.
        jobs: images at a time, each with its own session; None for one a core.
        device: see `limits.for_files`.
        trust: code in the file may run, so writing is not forbidden either.
    """
    sessions = usable_cores() if jobs is None else jobs
    usual = for_files(paths, sessions=sessions, device=device)
    memory = usual.memory if memory_gb is None else int(memory_gb * 1e9) or None
    return Limits(memory, usual.timeout if seconds is None else seconds, trust)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A limited process for work on untrusted files.

    Attributes:
        paths: the files, as errors name them.
        limits: what the process may use.
        writable: folders that it may write in; of a folder that does not exist, its nearest
            parent that does.
        progress: passed to the function as `progress`, and called here.
        debug: let the process write to this terminal.
    """

    paths: tuple[Path, ...]
    limits: Limits
    writable: tuple[Path, ...] = ()
    progress: Progress | None = None
    debug: bool = False

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of EdgeZoo within the limits, and return what it returns; see `run`."""
        return self.run(process.job(function, *args, **kwargs))

    def run(self, job: process.Job[T]) -> T:
        """Carry out a call within the limits.

        Raises:
            EdgeZooError: whatever the function raised, of the same class.
            DataError: a file made the process die or exceed its limits.
        """
        open_to = [_existing(place) for place in self.writable]
        with tempfile.TemporaryDirectory(prefix="edgezoo-") as folder:
            note = Path(folder, "progress")
            launcher = process.Launcher(self.debug, self.limits, (*open_to, folder))
            counted = note if self.progress else None
            try:
                with _relayed(note, self.progress):
                    answer = launcher.call(
                        run, job.function, job.arguments, self.limits.memory, counted
                    )
            except CrashError as error:
                raise _blamed(error, self.paths, self.limits) from error
        return cast("T", typed_json.decode(job.returns, answer.value))


def call_with_usual_limits(function: str, files: list[str], arguments: dict[str, Any]) -> Any:
    """Run a function within the usual limits of this machine, on behalf of another one.

    Args:
        function: "edgezoo.module:name"; takes "device", "trust" and perhaps "jobs".
        files: names of the arguments that hold paths of untrusted files.
        arguments: of the function, as JSON.
    """
    given = [arguments[name] for name in files]
    paths = [p for value in given if value for p in (value if isinstance(value, list) else [value])]
    limits = limits_for(
        [Path(path) for path in paths],
        jobs=arguments.get("jobs", 1),
        device=arguments["device"],
        trust=arguments["trust"],
    )
    sandbox = Sandbox(tuple(map(Path, paths)), limits, (cache_home(),))
    return sandbox.call(run, function, arguments, limits.memory, None)


def load_artifact(path: Path | str) -> Artifact:
    """`registry.load_artifact`, done within the usual limits.

    Raises:
        EdgeZooError: see there.
    """
    return Sandbox((Path(path),), limits_for([Path(path)])).call(registry.load_artifact, path)


def run(function: str, arguments: dict[str, Any], memory: int | None, note: Path | None) -> Any:
    """What the limited process does; a defect of ours is reported as one, its traceback logged.

    Args:
        function: "edgezoo.module:name".
        arguments: keyword arguments as JSON.
        memory: its limit in bytes, for messages.
        note: file that counts progress.

    Returns:
        What the function returned, as JSON.
    """
    called = process.find(function)
    given = typed_json.decode_arguments(called, arguments)
    if note is not None:
        given["progress"] = _noter(note)
    try:
        facts = typed_json.encode(called(**given))
    except EdgeZooError:
        raise
    except MemoryError as error:
        raise DataError(
            _TOO_MUCH.format(what="This work", gib=_gib(memory)), _MORE_MEMORY
        ) from error
    except Exception as error:
        traceback.print_exc()
        raise defect(error) from error
    try:
        json.dumps(facts, allow_nan=False)
    except ValueError as error:
        raise DataError(
            "The file contains or produces values that are not numbers (NaN, or infinite).",
            "Check where it came from.",
        ) from error
    return facts


def _existing(place: Path) -> str:
    whole = Path(os.path.abspath(place))
    return str(next(path for path in (whole, *whole.parents) if path.is_dir()))


_TOO_MUCH = "{what} needs more memory than the {gib} that such files get."
# How Python, the loader, OpenBLAS and C++ say that they were given no memory.
_OUT_OF_MEMORY = ("memoryerror", "memory allocation", "allocate memory", "map segment", "bad_alloc")
_MORE_MEMORY = "If you trust the files, allow more with --max-memory."


def _gib(memory: int | None) -> str:
    if memory is None:
        return "machine's"
    return f"{memory / 2**30:.1f} GiB" if memory >= 2**28 else f"{memory / 2**20:.1f} MiB"


def _blamed(error: CrashError, paths: Sequence[Path | str], limits: Limits) -> EdgeZooError:
    """What a dead process says of the files that it worked on."""
    code, names = error.returncode, ", ".join(map(str, paths))
    said = f"{error.message} {error.hint}".lower()
    if limits.memory is not None and any(word in said for word in _OUT_OF_MEMORY):
        # Below some 100 MiB Python or a library ends before the file is looked at.
        what = f"Working on {names}"
        return DataError(_TOO_MUCH.format(what=what, gib=_gib(limits.memory)), _MORE_MEMORY)
    if code is None or code >= 0:
        return error  # it ended by itself, which no file should bring about
    if code == -signal.SIGALRM:
        return DataError(
            f"Working on {names} came no further for {limits.timeout:.0f} s and was ended.",
            "If you trust the file, allow more time with --max-seconds.",
        )
    if code == -signal.SIGKILL:
        return DataError(
            f"The process that worked on {names} was killed, most likely because memory ran out.",
            "Close other programs, or use a smaller file.",
        )
    return DataError(
        f"The process that worked on {names} died ({signal.Signals(-code).name}): the file is "
        f"damaged, or asks for what its runtime cannot do or for more than {_gib(limits.memory)}.",
        f"Check where it came from. {_MORE_MEMORY}",
    )


def _noter(note: Path) -> Progress:
    """Counts in a file what it is told."""
    count = 0
    place = os.open(note, os.O_WRONLY | os.O_CREAT, 0o600)

    def tell(more: int) -> None:
        nonlocal count
        alive()
        count += more
        os.pwrite(place, count.to_bytes(8, "little"), 0)

    return tell


@contextlib.contextmanager
def _relayed(note: Path, progress: Progress | None) -> Iterator[None]:
    """Tell `progress` what is counted in the file meanwhile."""
    if progress is None:
        yield
        return
    told, ended = 0, threading.Event()

    def look() -> None:
        nonlocal told
        with contextlib.suppress(OSError):
            count = int.from_bytes(note.read_bytes()[:8], "little")
            progress(count - told)
            told = count

    def watch() -> None:
        while not ended.wait(_POLL_S):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()
