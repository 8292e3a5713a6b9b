"""Work on files of strangers, done in a process that may use only so much.

A file that crashes its runtime, fills the memory or never comes to an end takes that process with
it; the caller gets one sentence. `edgezoo.system.limits` says what is limited,
docs/security.md which commands do so.
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
from pathlib import Path
from typing import Any

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import CrashError, DataError, EdgeZooError, defect
from edgezoo.core.heartbeat import alive
from edgezoo.core.paths import cache_home
from edgezoo.system import process
from edgezoo.system.limits import Limits, for_files
from edgezoo.system.machine import usable_cores

Progress = Callable[[int], None]
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
    """What working on files may take.

    Args:
        paths: the files.
        memory_gb: what a user allows in place of the usual; 0 for any.
        seconds: the same for the time without a sign of life.
        jobs: images at a time, each with a copy of the file; None for as many as there are cores.
        device: see `limits.for_files`.
        trust: code in the file may run, so writing is not forbidden either.
    """
    sessions = usable_cores() if jobs is None else jobs
    usual = for_files(paths, sessions=sessions, device=device)
    memory = usual.memory if memory_gb is None else int(memory_gb * 1e9) or None
    return Limits(memory, usual.timeout if seconds is None else seconds, trust)


def call(
    function: str,
    paths: Sequence[Path | str],
    limits: Limits,
    *,
    writable: Sequence[Path] = (),
    progress: Progress | None = None,
    debug: bool = False,
    **arguments: Any,
) -> Any:
    """Run `module:function` of EdgeZoo within limits.

    Args:
        function: "edgezoo.module:name"; returns a dict that JSON can carry.
        paths: the files that it works on, as errors name them.
        limits: what it may use.
        writable: folders that the function may write in; of one that is not there, what is there
            of its path.
        progress: given to the function as `progress`, and called here.
        debug: let the child write to this terminal.
        **arguments: what JSON can carry, and paths.

    Raises:
        EdgeZooError: whatever the function raised, of the same class.
        DataError: a file made the process die or take more than it may.
    """
    open_to = [_existing(place) for place in writable]
    with tempfile.TemporaryDirectory(prefix="edgezoo-") as folder:
        note = Path(folder, "progress")
        payload = {
            "function": function,
            "arguments": {key: _plain(value) for key, value in arguments.items()},
            "memory": limits.memory,
            "note": str(note) if progress else None,
        }
        try:
            with _relayed(note, progress):
                facts = process.call(
                    "edgezoo.system.sandbox:run", payload, debug, limits, [*open_to, folder]
                )
        except CrashError as error:
            raise _blamed(error, paths, limits) from error
    facts.pop("_usage")
    return typed_json.decode(typed_json.returned(process.find(function)), facts)


def call_here(work: str, files: Sequence[str], **arguments: Any) -> Any:
    """`call` with the usual limits of this machine: what a device does for another one.

    Args:
        work: the function, see `call`; takes "device", "trust" and perhaps "jobs".
        files: names of the arguments that hold the files.
        **arguments: of the function.
    """
    given = [arguments[name] for name in files]
    paths = [p for value in given if value for p in (value if isinstance(value, list) else [value])]
    limits = limits_for(
        [Path(path) for path in paths],
        jobs=arguments.get("jobs", 1),
        device=arguments["device"],
        trust=arguments["trust"],
    )
    return call(work, paths, limits, writable=[cache_home()], **arguments)


def load_artifact(path: Path | str) -> Artifact:
    """`registry.load_artifact`, done within the usual limits.

    Raises:
        EdgeZooError: see there.
    """
    limits = limits_for([Path(path)])
    facts = call("edgezoo.system.sandbox:look_at", [path], limits, path=path)
    contract = facts["contract"]
    return Artifact(
        Path(facts["path"]),
        facts["format"],
        tuple(Path(file) for file in facts["files"]),
        InputContract.from_json(contract) if contract else None,
    )


def look_at(path: str) -> dict[str, Any]:
    """What the limited process does for `load_artifact`."""
    found = registry.load_artifact(path)
    return {
        "path": str(found.path),
        "format": found.format,
        "files": [str(file) for file in found.files],
        "contract": found.contract.to_json() if found.contract else None,
    }


def run(
    function: str, arguments: dict[str, Any], memory: int | None, note: str | None
) -> dict[str, Any]:
    """What the limited process does; a defect of ours is told as such, its traceback logged."""
    if note is not None:
        arguments["progress"] = _noter(Path(note))
    try:
        facts: dict[str, Any] = typed_json.encode(process.find(function)(**arguments))
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
            "The file holds or gives figures that are no numbers (NaN, or infinite).",
            "Check where it came from.",
        ) from error
    return facts


def _existing(place: Path) -> str:
    whole = Path(os.path.abspath(place))
    return str(next(path for path in (whole, *whole.parents) if path.is_dir()))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


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
