"""Heavy work in child processes, called by function object, with JSON between the two.

A converter that aborts, an out-of-memory kill or a library that prints to the terminal stays
in the child: the parent gets a typed result, or one error with the end of the child's log.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from edgezoo.core import typed_json
from edgezoo.core.errors import BY_NAME, CrashError, DataError, EdgeZooError
from edgezoo.system.limits import Limits, confine

_LOG_LINES = 6
_STORAGE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
# What keeps libraries from reporting their use. CI is what openvino-telemetry looks at, which
# openvino and nncf import.
SILENT = {"CI": "true", "ORT_DISABLE_TELEMETRY": "1"}
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "PYTHONFAULTHANDLER": "1",
    "TQDM_DISABLE": "1",
    "KERAS_BACKEND": "tensorflow",
    **SILENT,
    # A sum in float32 depends on how many threads share it, and a rounding of 8 bits on the sum.
    # With one, files are the same on any number of cores, for a third of the CPU seconds.
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
    """What a child process used.

    Attributes:
        cpu_s: CPU seconds, user and system.
        peak_rss_mb: peak resident memory, megabytes.
    """

    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """What a function returned in a child process, and what the child used."""

    value: T_co
    usage: Usage


@dataclass(frozen=True, slots=True)
class Job(Generic[T_co]):
    """A call that a child process can carry out; make one with `job`.

    Attributes:
        function: "edgezoo.module:name".
        arguments: keyword arguments as JSON.
        returns: type to read the answer as.
    """

    function: ModuleFunction
    arguments: dict[str, Any]
    returns: Any = Any


def job(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """A call of a module's function, checked by the type checker like any other call.

    Its annotations say how arguments and result cross the process border as JSON
    (`edgezoo.core.typed_json`).
    """
    return Job(name_of(function), _bound(function, args, kwargs), typed_json.returned(function))


def name_of(function: Callable[..., Any]) -> ModuleFunction:
    """The name of a function or class, as "edgezoo.module:name"."""
    return f"{function.__module__}:{function.__qualname__}"


def _bound(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    return {k: typed_json.encode(v) for k, v in bound_arguments(function, args, kwargs).items()}


def bound_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by their names."""
    return dict(inspect.signature(function).bind(*args, **kwargs).arguments)


@dataclass(frozen=True, slots=True)
class Launcher:
    """How child processes are started.

    Attributes:
        debug: let the child write to this terminal.
        limits: what the child may use; None for no limits.
        writable: folders that a limited child may write in, next to its own temporary one.
        scratch: where the child may leave files on its way; None for the system's folder.
    """

    debug: bool = False
    limits: Limits | None = None
    writable: tuple[str, ...] = ()
    scratch: Path | None = None

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        """Run a function of EdgeZoo in a fresh interpreter; see `run`."""
        return self.run(job(function, *args, **kwargs))

    def run(self, job: Job[T]) -> Answer[T]:
        """Carry out a call in a fresh interpreter.

        Raises:
            EdgeZooError: whatever the child raised, of the same class.
            CrashError: the child died.
        """
        with tempfile.TemporaryDirectory(prefix="edgezoo-", dir=self.scratch) as folder:
            request, answer, log = (Path(folder, n) for n in ("request.json", "answer.json", "log"))
            bounds = {
                "limits": asdict(self.limits) if self.limits else None,
                "writable": [folder, *self.writable],
            }
            asked = {"function": job.function, "arguments": job.arguments, **bounds}
            request.write_text(json.dumps(asked))
            command = [*_interpreter(), "-m", "edgezoo.system.process", str(request), str(answer)]
            with log.open("wb") as stream:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=sys.stderr if self.debug else stream,
                    stderr=None if self.debug else stream,
                    env={**os.environ, **_QUIET, "TMPDIR": folder},
                    start_new_session=True,
                )
                with _killed_on_exit(child):
                    code = child.wait()
            facts = _read_answer(job.function, code, answer, log)
        value = typed_json.decode(job.returns, facts["value"])
        return Answer(value, Usage(**facts["usage"]))

    def run_many(self, jobs: Sequence[Job[T]], workers: int) -> Iterator[tuple[int, Answer[T]]]:
        """Carry out several calls at once; yields (index, answer) as each one ends.

        The first error, or an interrupt of the caller, kills the rest.
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
    """Run a function of EdgeZoo in a fresh interpreter, and return what it returns.

    Raises:
        EdgeZooError: whatever the child raised, of the same class.
        CrashError: the child died.
    """
    return Launcher().call(function, *args, **kwargs).value


def _interpreter() -> list[str]:
    """Python without the current folder on its path.

    A file called onnx.py in a user's folder must not stand in for the package. Only where EdgeZoo
    itself is run from the current folder, uninstalled, the folder stays.
    """
    here = {"", os.getcwd()}
    elsewhere = [place for place in sys.path if place not in here]
    if importlib.machinery.PathFinder.find_spec("edgezoo", elsewhere) is None:
        return [sys.executable]
    return [sys.executable, "-P"]


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def _killed_on_exit(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no child behind, whatever interrupts the parent."""
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


def _read_answer(function: str, code: int, answer: Path, log: Path) -> dict[str, Any]:
    if answer.exists():
        facts: dict[str, Any] = json.loads(answer.read_text())
        if "error" not in facts:
            return facts
        raise _error_of(facts)
    raise _death(function, code, log)


def _error_of(facts: dict[str, Any]) -> EdgeZooError:
    error = facts["error"]
    return BY_NAME.get(error["class"], EdgeZooError)(error["message"], error["hint"])


def _death(function: str, code: int, log: Path) -> EdgeZooError:
    """What to say of a child that died without an answer."""
    if code == os.EX_IOERR:
        step = _step(function)
        return DataError(f"The step '{step}' could not write its answer.", "Free some space.")
    error = CrashError(*_last_words(function, code, log))
    error.returncode = code
    return error


def _step(function: str) -> str:
    return function.rpartition(":")[2].replace("_", " ")


def _last_words(function: str, code: int, log: Path) -> tuple[str, str]:
    step = _step(function)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    tail = "\n".join(lines[-_LOG_LINES:])
    if code == -signal.SIGKILL:
        return (
            f"The process for the step '{step}' was killed, most likely because memory ran out.",
            "Close other programs, or try a smaller model or fewer calibration images.",
        )
    died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"The process for the step '{step}' died ({died}).",
        f"Run again with --debug to see all it prints. Its last lines:\n{tail}"
        if tail
        else "Run again with --debug to see all it prints.",
    )


class Conversation(Generic[C]):
    """A child process that stays alive and answers one call after another.

    It holds an instance of a class of EdgeZoo and calls its methods: a JSON object a line in both
    directions. It ends when its standard input does, and at once when its parent does.
    """

    def __init__(
        self, partner: type[C], debug: bool = False, timeout_s: float | None = None
    ) -> None:
        """Start a child that makes an instance of a class, without arguments.

        Args:
            partner: the class.
            debug: let the child write to this terminal.
            timeout_s: seconds after which a call without an answer ends the child; None for ever.
        """
        self.timeout_s = timeout_s
        self._name = name_of(partner)
        self._scratch = tempfile.TemporaryDirectory(prefix="edgezoo-")
        self._log = Path(self._scratch.name, "log")
        self._lifeline: int | None
        lifeline, self._lifeline = os.pipe()
        own = [*_interpreter(), "-m", "edgezoo.system.process", "--converse"]
        with self._log.open("wb") as stream:
            self._child = subprocess.Popen(
                [*own, self._name, str(lifeline)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if debug else stream,
                env={**os.environ, **_QUIET, "TMPDIR": self._scratch.name},
                start_new_session=True,
                pass_fds=(lifeline,),
            )
        os.close(lifeline)
        _children.add(self._child)

    def ask(
        self, method: Callable[Concatenate[C, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a method of the class returns in the child.

        Raises:
            EdgeZooError: whatever the child raised, of the same class.
            CrashError: the child died, or did not answer in time and was killed.
        """
        arguments = _bound(method, (None, *args), kwargs)
        del arguments[next(iter(arguments))]  # self
        answer = self._exchange(method.__name__, arguments)
        return cast("T", typed_json.decode(typed_json.returned(method), answer))

    def _exchange(self, method: str, arguments: dict[str, Any]) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        request = json.dumps({"method": method, "arguments": arguments}) + "\n"
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(request.encode())
            self._child.stdin.flush()
        timer = threading.Timer(self.timeout_s or threading.TIMEOUT_MAX, _kill, [self._child])
        timer.daemon = True  # an interrupt may come before it can be cancelled
        timer.start()
        try:
            line = self._child.stdout.readline()
            timed_out = timer.finished.is_set()
        finally:
            timer.cancel()
        if timed_out and not line.endswith(b"\n"):
            raise CrashError(
                f"The process for the step '{method}' did not respond for {self.timeout_s:.0f} s "
                "and was ended.",
                "The device or its driver may hang: try again, or measure the other files alone.",
            )
        if not line.endswith(b"\n"):
            raise _death(f"{self._name}:{method}", self._child.wait(), self._log)
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            raise _error_of(facts)
        return facts["value"]

    def close(self) -> None:
        """End the child, whatever it does."""
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
    """End this child when the parent goes away, which holds the other end of a pipe.

    Linux then sends SIGIO, which ends a process at once; a thread that waits has to, elsewhere,
    until a library's long call lets go of the interpreter.
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
    """CPU seconds and peak resident megabytes of this process so far."""
    return Usage(round(time.process_time(), 2), round(peak_rss_mb(), 1))


def peak_rss_mb() -> float:
    """Peak resident megabytes of this process.

    Linux starts `ru_maxrss` of a child at what its parent had, so /proc is asked there.
    """
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _error_facts(error: EdgeZooError) -> dict[str, Any]:
    return {"error": {"class": type(error).__name__, "message": error.message, "hint": error.hint}}


def find(name: str) -> Any:
    """What "edgezoo.module:name" names.

    Raises:
        ValueError: it is not part of EdgeZoo.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("edgezoo."):
        raise ValueError(f"{module} is not part of EdgeZoo")
    return getattr(importlib.import_module(module), attribute)


def invoke(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function with arguments that came as JSON; its result as JSON."""
    return typed_json.encode(function(**typed_json.decode_arguments(function, arguments)))


def _answered(work: Callable[[], Any]) -> dict[str, Any]:
    """What the work returns as {"value": …}; an error that a user should read becomes facts."""
    try:
        return {"value": work()}
    except EdgeZooError as error:
        return _error_facts(error)
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        return _error_facts(
            DataError(
                f"{error.filename or 'A file'} could not be written: {error.strerror}.",
                "Free some space or choose another folder with --output.",
            )
        )


def _converse(name: str) -> int:
    """The child's side of a `Conversation`; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    partner = find(name)()
    for line in sys.stdin:
        request = json.loads(line)
        method = getattr(partner, request["method"])
        facts = _answered(lambda: invoke(method, request["arguments"]))  # noqa: B023 - called at once
        answers.write(json.dumps(facts) + "\n")
        answers.flush()
    return 0


def _main(request: Path, answer: Path) -> int:
    asked = json.loads(request.read_text())
    if asked.get("limits"):
        confine(Limits(**asked["limits"]), map(Path, asked["writable"]))
    _exit_with_parent()
    facts = _answered(lambda: invoke(find(asked["function"]), asked["arguments"]))
    facts["usage"] = asdict(usage())
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
    # Libraries of native code sometimes crash while the interpreter takes them down; the
    # answer is written, so nothing is left to do.
    os._exit(code)
