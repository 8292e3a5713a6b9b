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
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from edgezoo.core import typed_json
from edgezoo.core.errors import BY_NAME, CrashError, DataError, EdgeZooError
from edgezoo.core.typed_json import Json
from edgezoo.system.limits import Limits, confine

_LOG_LINES = 6
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
        interpreter: the command of another Python than this one.
    """

    debug: bool = False
    limits: Limits | None = None
    writable: tuple[str, ...] = ()
    scratch: Path | None = None
    interpreter: tuple[str, ...] = ()

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Run a function of EdgeZoo in a new interpreter; see `run`."""
        return self.run(job(function, *args, **kwargs))

    def run(self, job: Job[T]) -> Answer[T]:
        """Run a call in a new interpreter.

        Raises:
            EdgeZooError: the error that the child raised, of the same class.
            CrashError: the child died.
        """
        with tempfile.TemporaryDirectory(prefix="edgezoo-", dir=self.scratch) as folder:
            request, answer, log = (Path(folder, n) for n in ("request.json", "answer.json", "log"))
            asked = _Request(job.function, job.arguments, self.limits, (folder, *self.writable))
            request.write_text(json.dumps(typed_json.encode(asked)))
            with log.open("wb") as stream:
                stdout, stderr = (sys.stderr, None) if self.debug else (stream, stream)
                words = [str(request), str(answer)]
                child = _start(words, folder, stdout, stderr, interpreter=self.interpreter)
                with _killed_on_exit(child):
                    code = child.wait()
            if not answer.exists():
                raise _death(job.function, code, log)
            facts = _checked(answer.read_text())
        value = typed_json.decode(job.returns, facts["value"])
        return Answer(value, typed_json.decode(Usage, facts["usage"]))

    def run_many(self, jobs: Sequence[Job[T]], workers: int) -> Iterator[tuple[int, Answer[T]]]:
        """Run several calls in parallel, and yield (index, answer) as each one ends.

        The first error, or an interrupt of the caller, kills the other children.
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(max_workers=workers) as pool:
            futures = {pool.submit(self.run, job): i for i, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
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
    folder: str,
    stdout: Any,
    stderr: Any,
    pipes: Sequence[int] = (),
    interpreter: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that runs this module, with its temporary files in a folder."""
    return subprocess.Popen(
        [*(interpreter or _interpreter()), "-m", "edgezoo.system.process", *words],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **_QUIET, "TMPDIR": folder},
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


def _checked(text: str | bytes) -> Any:
    """Parse the answer of a child, and raise the error that it reports, if any."""
    facts = json.loads(text)
    if error := facts.get("error"):
        raise BY_NAME.get(error["class"], EdgeZooError)(error["message"], error["hint"])
    return facts


def _death(function: str, code: int, log: Path) -> EdgeZooError:
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
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        message = f"The process for the step '{step}' died ({died})."
        tail = "\n".join([" Its last lines:", *lines[-_LOG_LINES:]]) if lines else ""
        hint = f"Run again with --debug to see all of its output.{tail}"
    error = CrashError(message, hint)
    error.returncode = code
    return error


class Conversation(Generic[C]):
    """A child process that holds an instance of a class of EdgeZoo and calls its methods.

    Each line, in both directions, is a JSON object. The child ends when its standard input is
    closed, and at once when its parent ends.
    """

    def __init__(
        self, partner: type[C], debug: bool = False, timeout_s: float | None = None
    ) -> None:
        """Start a child that calls `partner` without arguments.

        With `debug` it writes to this terminal; a call without a response for `timeout_s` seconds
        kills it.
        """
        self.timeout_s = timeout_s
        self._name = name_of(partner)
        self._scratch = tempfile.TemporaryDirectory(prefix="edgezoo-")
        self._log = Path(self._scratch.name, "log")
        self._lifeline: int | None
        lifeline, self._lifeline = os.pipe()
        words, folder = ["--converse", self._name, str(lifeline)], self._scratch.name
        with self._log.open("wb") as stream:
            errors = None if debug else stream
            self._child = _start(words, folder, subprocess.PIPE, errors, (lifeline,))
        os.close(lifeline)
        _children.add(self._child)

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
            line = self._child.stdout.readline()
            timed_out = timer.finished.is_set()
        finally:
            timer.cancel()
        if timed_out and not line.endswith(b"\n"):
            raise CrashError(
                f"The process for the step '{method}' did not respond for {self.timeout_s:.0f} s "
                "and was killed.",
                "The device or its driver may hang: try again, or measure the other files alone.",
            )
        if not line.endswith(b"\n"):
            raise _death(f"{self._name}:{method}", self._child.wait(), self._log)
        return _checked(line)["value"]

    def close(self) -> None:
        """Kill the child if it still runs, and release its resources."""
        _children.discard(self._child)
        if self._child.poll() is None:
            _kill(self._child)
            self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._scratch.cleanup()

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
    kind, message = type(reported).__name__, reported.message
    return {"error": {"class": kind, "message": message, "hint": reported.hint}}


def _converse(name: str) -> int:
    """Run the child's side of a `Conversation`; output of libraries goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    partner = find(name)()
    for line in sys.stdin:
        request = json.loads(line)
        facts = _answered(getattr(partner, request["method"]), request["arguments"])
        answers.write(json.dumps(facts) + "\n")
        answers.flush()
    return 0


def _main(request: Path, answer: Path) -> int:
    asked = typed_json.decode(_Request, json.loads(request.read_text()))
    if asked.limits:
        confine(asked.limits, map(Path, asked.writable))
    _exit_with_parent()
    facts = _answered(find(asked.function), asked.arguments)
    facts["usage"] = typed_json.encode(usage())
    part = answer.with_suffix(".part")
    try:
        part.write_text(json.dumps(facts))
        part.replace(answer)
    except OSError:
        return os.EX_IOERR
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--converse":
        _exit_with_parent(int(sys.argv[3]))
        code = _converse(sys.argv[2])
    else:
        code = _main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    # The answer is written, and some native libraries crash while the interpreter unloads them.
    os._exit(code)
