"""Call a function of EdgeZoo on a device over OpenSSH."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast
from urllib.parse import unquote, urlsplit

from edgezoo.core import typed_json
from edgezoo.core.errors import BY_NAME, DataError, MissingError, UsageError, words_of
from edgezoo.core.ran_on import Copied, Remote
from edgezoo.core.typed_json import Json
from edgezoo.system import process
from edgezoo.system.remote import agent
from edgezoo.system.remote.copied_files import File, Names, package

_FORM = "Write ssh://user@host, ssh://user@host:port or ssh://user@host/path/to/python."
_NAME_PYTHON = "Name its Python, as in ssh://user@host/path/to/python."
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
}
_LONGEST_LINE, _LONGEST_NOISE = 256 << 20, 1 << 20  # bytes
_NOISE_LINES = 1000  # most lines that a login script may print before the agent starts
# Messages of OpenSSH or the remote shell, with cause and hint.
_CAUSES = (
    (
        "Host key verification failed",
        "the device's host key is unknown or has changed",
        "Connect once with `{ssh}` and compare the fingerprint.",
    ),
    (
        "Permission denied (",
        "the device does not accept this user's key",
        "Install the key: `{copy_id}`. EdgeZoo does not use passwords.",
    ),
    ("Could not resolve hostname", "the name is unknown", "Check the name, or use the address."),
    ("Connection refused", "no server listens there", "Start its ssh server; check the port."),
    ("timed out", "it does not respond", "Check with `{ssh}` that it is on and in this network."),
    ("No route to host", "there is no route to it", "Check that it is on and in this network."),
    ("not found", "it has no {python}", _NAME_PYTHON),
    ("No such file", "it has no {python}", _NAME_PYTHON),
    ("Permission denied", "{python} cannot be run there", _NAME_PYTHON),
    ("Is a directory", "{python} is a folder", _NAME_PYTHON),
)
_SSH_FAILED = 255  # ssh's own exit code; all others come from the remote command


class _SilentError(EOFError):
    """The connection ended before the agent started."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device's address; the user's ssh configuration adds the rest (names, keys, jump hosts)."""

    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"

    @property
    def target(self) -> str:
        """The address in ssh's own form."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")


def parse(url: str) -> Device:
    """Parse ssh://[user@]host[:port][/path/to/python].

    Raises:
        UsageError: the address is invalid or contains a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not an address of a device: {error}.", _FORM) from error
    user, host = unquote(parts.username or ""), parts.hostname
    # ssh would read a user or host that begins with "-" as an option.
    dashed = user.startswith("-") or parts.netloc.rpartition("@")[2].startswith("-")
    extra = parts.query or parts.fragment
    if parts.scheme != "ssh" or not host or extra or port == 0 or dashed:
        raise UsageError(f"{url!r} is not an address of a device.", _FORM)
    if parts.password is not None:
        raise UsageError("EdgeZoo does not use passwords.", "Install a key with ssh-copy-id.")
    path = unquote(parts.path) if parts.path not in ("", "/") else "python3"
    return Device(host, user or None, port, path)


P = ParamSpec("P")
T = TypeVar("T")


def call(
    url: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> tuple[T, Remote]:
    """Run a function of EdgeZoo in a child process on a device.

    Files that the device lacks are copied first, EdgeZoo included: the device needs only
    Python 3.11, numpy, Pillow, click and a runtime.

    Each `Path` and `Tree` among the arguments is copied.

    Returns:
        The function's result, with local paths; and the device.

    Raises:
        EdgeZooError: the error that the function raised there.
        MissingError: the device is unreachable, or the connection was lost.
    """
    return _call(url, function, process.bound_arguments(function, args, kwargs), None)


def call_limited(
    url: str, files: Sequence[str], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> tuple[T, Remote]:
    """Do the same for work on untrusted files, within the device's default limits.

    `files` names the arguments with paths of untrusted files; the function takes "device" and
    "trust".
    """
    return _call(url, function, process.bound_arguments(function, args, kwargs), list(files))


def _call(
    url: str, function: Callable[..., T], arguments: Json, limited: list[str] | None
) -> tuple[T, Remote]:
    device, names = parse(url), Names()
    if shutil.which("ssh") is None:
        raise MissingError("Running on a device needs OpenSSH's client, ssh.", "Install it.")
    outward = typed_json.encode(names.outward(arguments))
    payload = {"function": process.name_of(function), "arguments": outward, "limited": limited}
    own = package()
    request = {
        "files": [file.row() for file in names.files],
        "package": [file.row() for file in own],
        "function": "edgezoo.system.remote.there:run",
        "arguments": payload,
    }
    contents = {file.sha256: file for file in (*names.files, *own)}
    with tempfile.TemporaryFile() as log, _connected(device, log) as child:
        try:
            here, copied, reply = _converse(child, json.dumps(request), contents)
        except ValueError as error:
            raise _misunderstood(device, error) from error
        except (BrokenPipeError, EOFError) as error:
            child.wait()
            silent = isinstance(error, _SilentError) and child.returncode != _SSH_FAILED
            log.seek(0)
            output = log.read().decode(errors="replace").strip()
            raise _lost(device, child.returncode, output, silent) from None
    if isinstance(reply, _Failure):
        kind = BY_NAME[reply.class_]
        message, hint = names.homeward(reply.message), names.homeward(reply.hint)
        raise kind(f"On {device}: {message}", hint)
    sent = Copied(len(copied), sum(file.bytes for file in copied))
    about = Remote(str(device), **typed_json.encode(here), runtimes=reply.runtimes, copied=sent)
    try:
        result = typed_json.decode(typed_json.returned(function), names.homeward(reply.value))
    except ValueError as error:
        raise _misunderstood(device, error) from error
    return cast("T", result), about


@dataclass(frozen=True, slots=True)
class _Here:
    """Facts about the device."""

    python: str
    executable: str
    machine: str
    system: str


@dataclass(frozen=True, slots=True)
class _First:
    """What the agent states before it gets the files that it lacks."""

    here: _Here
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    runtimes: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Failure:
    class_: str
    message: str
    hint: str


def _misunderstood(device: Device, error: ValueError) -> DataError:
    return DataError(
        f"{device} gave an answer that is none of EdgeZoo's: {words_of(error)}.",
        "Check what runs there, and that its files were not changed.",
    )


def _command(device: Device, size: int) -> list[str]:
    """Return the command that starts the agent, whose source comes first on standard input."""
    start = f"import sys; exec(compile(sys.stdin.buffer.read({size}), 'edgezoo-agent', 'exec'))"
    line = shlex.join(["exec", device.python, "-u", "-c", start])
    options = [word for key, value in _OPTIONS.items() for word in ("-o", f"{key}={value}")]
    port = ["-p", str(device.port)] if device.port else []
    return ["ssh", "-T", *options, *port, "--", device.target, line]


@contextlib.contextmanager
def _connected(device: Device, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Connect and start the agent; the end of the block ends the connection and the work."""
    source = Path(agent.__file__).read_bytes()
    command, pipe = _command(device, len(source)), subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True)
    assert child.stdin is not None and child.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(source)
            child.stdin.flush()
        yield child
    except BaseException:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)  # including processes that ssh started
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.wait()
        child.stdout.close()


def _converse(
    child: subprocess.Popen[bytes], request: str, contents: dict[str, File]
) -> tuple[_Here, list[File], _Answer | _Failure]:
    """Return the agent's facts about the device, the files it lacked, and its answer.

    Raises:
        ValueError: the answer has another form.
        BrokenPipeError, EOFError: the connection ended before the answer.
    """
    assert child.stdin is not None and child.stdout is not None
    _wait_for_agent(child.stdout)
    child.stdin.write(request.encode() + b"\n")
    child.stdin.flush()
    first = _said(child.stdout, _First, "here")
    if isinstance(first, _Failure):
        return _Here("", "", "", ""), [], first
    if unknown := set(first.missing) - contents.keys():
        raise ValueError(f"it lacks a file that it does not need, {min(unknown)[:16]}")
    lacked = [contents[digest] for digest in first.missing]
    for file in lacked:
        with file.local.open("rb") as stream:
            shutil.copyfileobj(stream, child.stdin)
    child.stdin.flush()
    return first.here, lacked, _said(child.stdout, _Answer, "answer")


def _said(stream: IO[bytes], kind: type[T], name: str) -> T | _Failure:
    """Return an object of the agent, or the error that it reports.

    Raises:
        ValueError: it has another form.
    """
    facts = typed_json.decode(Json, typed_json.parse_json(_line(stream), paths=True))
    if "error" in facts:
        failure = typed_json.decode(_Failure, facts["error"], unknown="ignore")
        if failure.class_ not in BY_NAME:
            raise ValueError(f"it reports an error {failure.class_[:40]!r} that does not exist")
        return failure
    if name == "answer":
        facts = typed_json.part(facts, name)
    return typed_json.decode(kind, facts, unknown="ignore")


def _wait_for_agent(stream: IO[bytes]) -> None:
    """Skip the output of a login script."""
    for _ in range(_NOISE_LINES):
        line = stream.readline(_LONGEST_NOISE)
        if line.strip() == agent.MARK.encode():
            return
        if not line:
            break
    raise _SilentError


def _line(stream: IO[bytes]) -> bytes:
    """Read a line; a truncated line means that the connection broke."""
    line = stream.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise ValueError("it has no end")
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _lost(device: Device, code: int, output: str, silent: bool) -> MissingError:
    """Return the error for a connection that failed or ended early."""
    port = ["-p", str(device.port)] if device.port else []
    ssh, copy_id = (shlex.join([word, *port, device.target]) for word in ("ssh", "ssh-copy-id"))
    facts = {"ssh": ssh, "copy_id": copy_id, "python": device.python}
    for text, cause, hint in _CAUSES:
        if text in output:
            why = f"{device} cannot be used: {cause.format(**facts)}."
            return MissingError(why, hint.format(**facts))
    if silent:
        why = f"{device} cannot be used: {device.python} there is not a Python interpreter."
        return MissingError(why, _NAME_PYTHON)
    last = f" ({output.splitlines()[-1].rstrip('.')})" if output else f" (ssh's exit code {code})"
    message = f"The connection to {device} was lost{last}: there is no result."
    return MissingError(message, "Run the command again; files that were copied there are reused.")
