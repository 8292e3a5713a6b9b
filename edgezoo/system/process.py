"""Call functions in child processes, with JSON between parent and child.

Aborts of a converter, kills for memory and output of libraries stay in the child: the parent gets
a typed result, or one error with the end of the child's log.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import importlib.machinery
import inspect
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from edgezoo.core import heartbeat, typed_json
from edgezoo.core.errors import CrashError, DataError, EdgeZooError
from edgezoo.core.typed_json import Json
from edgezoo.system import answer, limits, notes
from edgezoo.system.limits import Limits
from edgezoo.system.scratch import scratch
from edgezoo.system.watch import Verdict, Watch

_LOG_LINES, _LOG_BYTES = 6, 1 << 16
_PULSE = "pulse"
_MOST_LINE = 64 << 20  # bytes of an answer in a conversation
_STORAGE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
# Disables telemetry of libraries. openvino-telemetry, which openvino and nncf import, reads CI.
SILENT = {"CI": "true", "ORT_DISABLE_TELEMETRY": "1"}
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "PYTHONFAULTHANDLER": "1",
    "TQDM_DISABLE": "1",
    "KERAS_BACKEND": "tensorflow",
    **SILENT,
    # A float32 sum depends on the number of threads, and rounding to int8 on the sum. With one
    # thread files are the same on any number of cores, for a third of the CPU seconds.
    "OPENBLAS_NUM_THREADS": "1",
}
# What a limited process needs of the environment; the rest may hold passwords.
_PASSED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_", "TZ", "TMPDIR", "TERM", "COLUMNS",
    "NO_COLOR", "PYTHON", "VIRTUAL_ENV", "CONDA_", "LD_LIBRARY_PATH", "DYLD_", "XDG_", "EDGEZOO_",
    "KERAS_", "TF_", "XLA_", "TFLITE_", "ORT_", "OV_", "OPENVINO", "ONNX", "OMP_", "KMP_", "MKL_",
    "OPENBLAS_", "GOTO_", "NUMEXPR_", "MALLOC_", "GLIBC_", "VK_", "MESA_", "LIBGL_", "GALLIUM_",
    "LP_", "CUDA_", "NVIDIA_", "HIP_", "OCL_", "OPENCL_", "COVERAGE_", "NODE_PATH",
)  # fmt: skip
_log = logging.getLogger(__name__)
_told = False
_children: set[subprocess.Popen[bytes]] = set()
P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C")
ModuleFunction = str  # "edgezoo.module:name"


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources that a child process used.

    Attributes:
        cpu_s: CPU seconds, user and system.
        peak_rss_mb: peak resident memory in megabytes.
    """

    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """The result of a function in a child process, and the resources that the child used."""

    value: T_co
    usage: Usage


@dataclass(frozen=True, slots=True)
class _Call:
    """A function, "edgezoo.module:name", and its keyword arguments as JSON."""

    function: ModuleFunction
    arguments: Json


@dataclass(frozen=True, slots=True)
class Job(_Call, Generic[T_co]):
    """A call for a child process, with the type of its result; create it with `job`."""

    returns: Any = Any


def job(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Return a call of a module's function; a type checker checks it like any other call.

    The function's annotations define the JSON of arguments and result (`edgezoo.core.typed_json`).
    """
    arguments = typed_json.encode(bound_arguments(function, args, kwargs))
    return Job(name_of(function), arguments, typed_json.returned(function))


@dataclass(frozen=True, slots=True)
class _Request(_Call):
    """The JSON that a child process reads; see `Launcher`."""

    limits: Limits | None = None
    writable: tuple[str, ...] = ()
    notes: str | None = None


def name_of(function: Callable[..., Any]) -> ModuleFunction:
    """Return the name of a function or class as "edgezoo.module:name"."""
    return f"{function.__module__}:{function.__qualname__}"


def bound_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Json:
    """Return the arguments of a call by name."""
    return dict(inspect.signature(function).bind(*args, **kwargs).arguments)


@dataclass(frozen=True, slots=True)
class Launcher:
    """Settings of child processes.

    Attributes:
        debug: the child writes to this terminal.
        limits: limits of the child; None for no limits.
        writable: folders that a limited child may write to in addition to its temporary folder.
        scratch: folder of temporary files; None for the system's folder.
        blame: returns the error for a limited child that died.
        progress: called when the limited child counts progress.
        notes: folder where this process keeps the limited child's notes (`edgezoo.system.notes`).
    """

    debug: bool = False
    limits: Limits | None = None
    writable: tuple[str, ...] = ()
    scratch: Path | None = None
    blame: Callable[[CrashError], EdgeZooError] | None = None
    progress: Callable[[int], None] | None = None
    notes: Path | None = None

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Run a function of EdgeZoo in a new interpreter; see `run`."""
        return self.run(job(function, *args, **kwargs))

    def run(self, job: Job[T]) -> Answer[T]:
        """Run a call in a new interpreter; in a limited process, which starts no other one, here.

        Raises:
            EdgeZooError: the error that the function raised, of the same class.
            CrashError: the child died, unless `blame` makes another error of it.
        """
        if limits.confined():
            value = invoke(find(job.function), job.arguments)
            return Answer(typed_json.decode(job.returns, value), usage())
        try:
            with scratch(self.scratch) as folder:
                return self._run(job, folder)
        except CrashError as error:
            if self.blame is None:
                raise
            raise self.blame(error) from error

    def _run(self, job: Job[T], folder: Path) -> Answer[T]:
        request, place = folder / "request.json", folder / "answer.json"
        kept = None if self.notes is None else os.path.abspath(self.notes)
        open_to = (str(folder), *self.writable)
        asked = _Request(job.function, job.arguments, self.limits, open_to, kept)
        request.write_text(json.dumps(typed_json.encode(asked)))
        with (folder / "log").open("w+b") as log:
            code, verdict = self._waited([str(request), str(place)], folder, log)
            try:
                if verdict is not None:
                    raise answer.NoAnswerError
                facts = answer.checked(answer.read(place), untrusted=_bounded(self.limits))
                value = typed_json.decode(job.returns, facts["value"])
                return Answer(value, typed_json.decode(Usage, facts["usage"]))
            except (answer.NoAnswerError, KeyError, ValueError) as error:
                if self.limits is None and not isinstance(error, answer.NoAnswerError):
                    raise  # a defect of ours
                raise _death(job.function, code, log, verdict) from error

    def _waited(self, words: list[str], folder: Path, log: IO[bytes]) -> tuple[int, Verdict | None]:
        """Run a child; return its exit code, and which limit it exceeded."""
        streams = (sys.stderr, None) if self.debug else (log, log)
        if self.limits is None:
            child = _start(words, folder, *streams)
            with _killed_on_exit(child):
                return child.wait(), None
        how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        pulse = os.open(folder / _PULSE, how, 0o600)
        try:
            child = _start(words, folder, *streams, alone=_bounded(self.limits))
            with _killed_on_exit(child):
                folders = (folder, *map(Path, self.writable))
                with _kept(folder / notes.FOLDER, self.notes) as keep:
                    watch = Watch(child, self.limits, folders, pulse, self.progress, keep)
                    verdict = watch.wait()
                    _kill(child)  # and what it may have started, if it has ended
                    code = child.wait()
            _tell(watch)
        finally:
            os.close(pulse)
        return code, verdict

    def run_many(self, jobs: Sequence[Job[T]], workers: int) -> Iterator[tuple[int, Answer[T]]]:
        """Run several calls in parallel, and yield (index, answer) as each one ends.

        The first error, or an interrupt of the caller, kills the other children.
        """
        for index, found in self.attempt_many(jobs, workers, lambda error: False):
            assert isinstance(found, Answer)
            yield index, found

    def attempt_many(
        self, jobs: Sequence[Job[T]], workers: int, tolerated: Callable[[EdgeZooError], bool]
    ) -> Iterator[tuple[int, Answer[T] | EdgeZooError]]:
        """Run several calls as `run_many` does, and yield errors that are tolerated as answers."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = {pool.submit(self.run, job): i for i, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
                    error = future.exception()
                    if isinstance(error, EdgeZooError) and tolerated(error):
                        yield futures[future], error
                    else:
                        yield futures[future], future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                for child in list(_children):
                    _kill(child)
                raise


def call(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function of EdgeZoo in a new interpreter, and return its result; see `Launcher.run`."""
    return Launcher().call(function, *args, **kwargs).value


def guarded(job: Job[T], crashed: EdgeZooError) -> T:
    """Run a call that may crash in a process of its own, and raise `crashed` if it does.

    In a limited process, which starts no other one, the call runs here; the error is left as this
    process' answer for the case that it dies.
    """
    place = answer.own_place
    if place is None or not limits.confined():
        try:
            return Launcher().run(job).value
        except CrashError as error:
            raise crashed from error
    place.write_text(json.dumps(_reported(crashed)))
    try:
        return Launcher().run(job).value
    finally:
        place.unlink()


@contextlib.contextmanager
def _kept(own: Path, kept: Path | None) -> Iterator[Callable[[], None]]:
    """Give a function that keeps a child's notes, and call it when the child has ended."""

    def keep() -> None:
        if kept is not None:
            notes.keep(own, kept)

    try:
        yield keep
    finally:
        keep()


def limited_program(given: Limits, folder: Path) -> list[str]:
    """Return what comes before a command, so that it runs limited and may write to a folder."""
    request = folder / "limits.json"
    asked = _Request("", {}, given, (os.path.realpath(folder),))
    request.write_text(json.dumps(typed_json.encode(asked)))
    return [*_interpreter(), "-m", __spec__.name, "--program", str(request)]


def _become(request: Path, command: list[str]) -> int:
    """Turn this process into a program with limits."""
    asked = typed_json.decode(_Request, json.loads(request.read_text()))
    request.unlink()
    assert asked.limits is not None
    limits.confine(asked.limits, map(Path, asked.writable))
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
    return os.EX_UNAVAILABLE


def _bounded(given: Limits | None) -> bool:
    """Return whether the answer may be a stranger's."""
    return given is not None and not given.writes


def _tell(watch: Watch) -> None:
    """Say once that this system does not enforce all limits."""
    global _told
    if watch.partly and not _told:
        _told = True
        _log.warning(limits.warning(limits.lacking()))


def _interpreter() -> list[str]:
    """Return the command of Python without the current folder on its path.

    A file called onnx.py in a user's folder must not replace the package. The folder stays only if
    EdgeZoo itself runs from it, uninstalled.
    """
    here = {"", os.getcwd()}
    elsewhere = [place for place in sys.path if place not in here]
    if importlib.machinery.PathFinder.find_spec("edgezoo", elsewhere) is None:
        return [sys.executable]
    return [sys.executable, "-P"]


def _start(
    words: list[str],
    folder: Path,
    stdout: Any,
    stderr: Any,
    pipes: Sequence[int] = (),
    *,
    alone: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child that runs this module, with its temporary files in a folder.

    One that is `alone` knows only what it needs of the environment.
    """
    given = {k: v for k, v in os.environ.items() if not alone or k.startswith(_PASSED)}
    return subprocess.Popen(
        [*_interpreter(), "-m", "edgezoo.system.process", *words],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**given, **_QUIET, "TMPDIR": str(folder)},
        start_new_session=True,
        pass_fds=pipes,
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def _killed_on_exit(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the child in any case, also when the parent is interrupted."""
    _children.add(child)
    try:
        yield
    finally:
        _children.discard(child)
        if child.poll() is None:
            _kill(child)
            child.wait()
        if child.stdin:
            child.stdin.close()


def _death(
    function: str, code: int, log: IO[bytes], verdict: Verdict | None = None
) -> EdgeZooError:
    """Return the error for a child that died without an answer."""
    step = function.rpartition(":")[2].replace("_", " ")
    if code == os.EX_IOERR:
        return DataError(f"The step '{step}' could not write its result.", "Free some space.")
    if code == -signal.SIGKILL:
        message = (
            f"The process for the step '{step}' was killed, most likely because memory ran out."
        )
        hint = "Close other programs, or try a smaller model or fewer calibration images."
    else:
        lines = [line for line in _tail(log).splitlines() if line.strip()]
        died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        message = f"The process for the step '{step}' died ({died})."
        tail = "\n".join([" Its last lines:", *lines[-_LOG_LINES:]]) if lines else ""
        hint = f"Run again with --debug to see all of its output.{tail}"
    error = CrashError(message, hint)
    error.returncode, error.verdict = code, verdict
    return error


def _tail(log: IO[bytes]) -> str:
    """Return the end of a log, by the descriptor that it was created with."""
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES)).decode(errors="replace")


class Conversation(Generic[C]):
    """A child process that holds an instance of a class of EdgeZoo and calls its methods.

    Each line, in both directions, is a JSON object. The child ends when its standard input is
    closed, and at once when its parent ends.
    """

    def __init__(
        self,
        partner: type[C],
        debug: bool = False,
        timeout_s: float | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Start a child that calls `partner` without arguments.

        With `debug` it writes to this terminal; a call without a response for `timeout_s` seconds
        kills it. `launcher` has the child's limits; its time is limited by `timeout_s` alone.
        """
        self.timeout_s = timeout_s
        self._launcher = launcher or Launcher()
        self._name = name_of(partner)
        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(scratch(self._launcher.scratch))
        self._log = self._stack.enter_context((folder / "log").open("w+b"))
        lifeline, end = os.pipe()
        self._stack.callback(os.close, end)
        given = self._launcher.limits
        asked = _Request("", {}, given, (str(folder), *self._launcher.writable))
        request = folder / "request.json"
        request.write_text(json.dumps(typed_json.encode(asked)))
        pulse = os.open(folder / _PULSE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._stack.callback(os.close, pulse)
        words = ["--converse", self._name, str(lifeline), str(request)]
        streams, alone = (subprocess.PIPE, None if debug else self._log), _bounded(given)
        self._child = _start(words, folder, *streams, (lifeline,), alone=alone)
        os.close(lifeline)
        _children.add(self._child)
        self._verdict: Verdict | None = None
        self._watcher: threading.Thread | None = None
        if given is not None:
            folders = (folder, *map(Path, self._launcher.writable))
            self._watch = Watch(self._child, given, folders, pulse, clock=False)
            self._watcher = threading.Thread(target=self._look, daemon=True)
            self._watcher.start()

    def _look(self) -> None:
        """Watch over a limited child, in a thread."""
        self._verdict = self._watch.wait()
        if self._verdict is not None:
            _kill(self._child)

    def ask(
        self, method: Callable[Concatenate[C, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the class in the child, and return its result.

        Raises:
            EdgeZooError: the error that the child raised, of the same class.
            CrashError: the child died, or did not respond in time and was killed.
        """
        arguments = bound_arguments(method, (None, *args), kwargs)
        del arguments[next(iter(arguments))]  # self
        asked = {"method": method.__name__, "arguments": typed_json.encode(arguments)}
        answer = self._exchange(method.__name__, json.dumps(asked) + "\n")
        return cast("T", typed_json.decode(typed_json.returned(method), answer))

    def _exchange(self, method: str, request: str) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(request.encode())
            self._child.stdin.flush()
        timer = threading.Timer(self.timeout_s or threading.TIMEOUT_MAX, _kill, [self._child])
        timer.daemon = True  # an interrupt may come before it is cancelled
        timer.start()
        try:
            line = self._child.stdout.readline(_MOST_LINE)
            timed_out = timer.finished.is_set()
        finally:
            timer.cancel()
        if timed_out and not line.endswith(b"\n"):
            raise CrashError(
                f"The process for the step '{method}' did not respond for {self.timeout_s:.0f} s "
                "and was killed.",
                "The device or its driver may hang: try again, or measure the other files alone.",
            )
        return self._answered(method, line)

    def _answered(self, method: str, line: bytes) -> Any:
        try:
            if not line.endswith(b"\n"):
                raise answer.NoAnswerError
            facts = answer.checked(line, untrusted=_bounded(self._launcher.limits))
            return facts["value"]
        except (answer.NoAnswerError, KeyError) as error:
            if line:
                _kill(self._child)
            died = _death(f"{self._name}:{method}", self._child.wait(), self._log, self._verdict)
            if self._launcher.blame is not None and isinstance(died, CrashError):
                died = self._launcher.blame(died)
            raise died from error

    def close(self) -> None:
        """Kill the child if it still runs, and release its resources."""
        _children.discard(self._child)
        if self._child.poll() is None:
            _kill(self._child)
            self._child.wait()
        if self._watcher is not None:
            self._watcher.join()
            _tell(self._watch)
            self._watcher = None
        for stream in (self._child.stdin, self._child.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._stack.close()

    def __enter__(self) -> Conversation[C]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _exit_with_parent(pipe: int = 0) -> None:
    """End this child when its parent, which holds the other end of a pipe, ends.

    Linux sends SIGIO, whose default action ends the process at once. Elsewhere a waiting thread
    ends it as soon as a library's long call releases the interpreter.
    """
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def usage() -> Usage:
    """Return the resources that this process has used so far."""
    return Usage(round(time.process_time(), 2), round(peak_rss_mb(), 1))


def peak_rss_mb() -> float:
    """Return the peak resident megabytes of this process.

    On Linux `ru_maxrss` of a child starts at its parent's value, so /proc is read instead.
    """
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def find(name: str) -> Any:
    """Import the function or class "edgezoo.module:name".

    Raises:
        ValueError: it is not part of EdgeZoo.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("edgezoo."):
        raise ValueError(f"{module} is not part of EdgeZoo")
    return getattr(importlib.import_module(module), attribute)


def invoke(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function with arguments from JSON, and return its result as JSON."""
    return typed_json.encode(function(**typed_json.decode_arguments(function, arguments)))


def _answered(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Json:
    """Return the result of a call as {"value": …}, or an error for the user as {"error": …}."""
    reported: EdgeZooError
    try:
        return {"value": invoke(function, arguments)}
    except EdgeZooError as error:
        reported = error
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        what = f"{error.filename or 'A file'} could not be written: {error.strerror}."
        reported = DataError(what, "Free some space or choose another folder with --output.")
    return _reported(reported)


def _reported(error: EdgeZooError) -> Json:
    kind, message = type(error).__name__, error.message
    return {"error": {"class": kind, "message": message, "hint": error.hint}}


def _limit(asked: _Request, folder: Path) -> int | None:
    """Limit this process as it was asked, and return where it counts; None without limits."""
    if asked.limits is None:
        return None
    pulse = os.open(folder / _PULSE, os.O_WRONLY | os.O_CLOEXEC)
    whole = asked.limits.writes or not limits.lacking()
    os.pwrite(pulse, heartbeat.enforced(whole), 16)
    limits.confine(asked.limits, map(Path, asked.writable))
    return pulse


def _converse(name: str, lifeline: int, request: Path) -> int:
    """Run the child's side of a `Conversation`; output of libraries goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = typed_json.decode(_Request, json.loads(request.read_text()))
    _limit(asked, request.parent)
    _exit_with_parent(lifeline)
    partner = find(name)()
    for line in sys.stdin:
        question = json.loads(line)
        called = getattr(partner, question["method"])
        facts = _answered(called, question["arguments"])
        answers.write(json.dumps(facts) + "\n")
        answers.flush()
    return 0


def _main(request: Path, place: Path) -> int:
    asked = typed_json.decode(_Request, json.loads(request.read_text()))
    pulse = _limit(asked, place.parent)
    _exit_with_parent()
    if asked.notes is not None:
        notes.set_places(Path(asked.notes), place.parent / notes.FOLDER)
    answer.own_place, function = place, find(asked.function)
    if pulse is not None:
        heartbeat.start(pulse)  # what was imported until now is no part of the time
    try:
        facts = _answered(function, asked.arguments)
    except Exception:
        if pulse is None:
            raise
        traceback.print_exc()
        return os.EX_SOFTWARE
    facts["usage"] = typed_json.encode(usage())
    part = place.with_suffix(".part")
    try:
        part.write_text(json.dumps(facts))
        part.replace(place)
    except OSError:
        return os.EX_IOERR
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--converse":
        code = _converse(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    elif sys.argv[1] == "--program":
        code = _become(Path(sys.argv[2]), sys.argv[3:])
    else:
        code = _main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    # The answer is written, and some native libraries crash while the interpreter unloads them.
    os._exit(code)
