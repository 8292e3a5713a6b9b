"""Calls a function of EdgeZoo on a device that OpenSSH reaches."""

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
from edgezoo.core.errors import BY_NAME, EdgeZooError, MissingError, UsageError
from edgezoo.system import process
from edgezoo.system.remote import agent
from edgezoo.system.remote.about import Copied, Remote
from edgezoo.system.remote.copied_files import File, Names, package

_FORM = "Write ssh://user@host, ssh://user@host:port or ssh://user@host/path/to/python."
_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
}
_NOISE_LINES = 1000  # of a login script, before the agent speaks
# What OpenSSH or the far shell says, and what to do then.
_CAUSES = (
    (
        "Host key verification failed",
        "the device's host key is unknown or has changed",
        "Connect once by hand with `{ssh}` and compare the fingerprint.",
    ),
    (
        "Permission denied (",
        "the device does not accept our key",
        "Bring it there: `{copy_id}`. Passwords are not asked for.",
    ),
    ("Could not resolve hostname", "the name is unknown", "Check the name, or use the address."),
    ("Connection refused", "nothing listens there", "Start the ssh server there; check the port."),
    ("timed out", "it does not answer", "Check with `{ssh}` that it is on and in this network."),
    ("No route to host", "there is no way to it", "Check that it is on and in this network."),
    ("not found", "it has no {python}", "Name its Python, as in ssh://user@host/path/to/python."),
    (
        "No such file",
        "it has no {python}",
        "Name its Python, as in ssh://user@host/path/to/python.",
    ),
    ("Permission denied", "{python} cannot be run there", "Name its Python."),
    (
        "Is a directory",
        "{python} is a folder",
        "Name the interpreter itself, such as /path/to/venv/bin/python.",
    ),
)


_SSH_FAILED = 255  # ssh's own exit code; others are those of what ran there


class _SilentError(EOFError):
    """The far end ended before the agent spoke."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where to run: a user's own ssh configuration adds the rest (names, keys, jump hosts)."""

    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"

    @property
    def target(self) -> str:
        """As ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")


def parse(url: str) -> Device:
    """A device from ssh://[user@]host[:port][/path/to/python].

    Raises:
        UsageError: something else, or a password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no address of a device: {error}.", _FORM) from error
    odd = parts.scheme != "ssh" or not parts.hostname or parts.query or parts.fragment
    if (
        odd
        or port == 0
        or parts.hostname is None
        or parts.netloc.rpartition("@")[2].startswith("-")
    ):
        raise UsageError(f"{url!r} is no address of a device.", _FORM)
    if parts.password is not None:
        raise UsageError("Passwords are not taken.", "Use a key: ssh-copy-id brings it there.")
    user = unquote(parts.username) if parts.username else None
    if user is not None and user.startswith("-"):
        raise UsageError(f"{url!r} is no address of a device.", _FORM)
    path = unquote(parts.path) if parts.path not in ("", "/") else "python3"
    return Device(parts.hostname, user, port, path)


P = ParamSpec("P")
T = TypeVar("T")


def call(
    url: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> tuple[T, Remote]:
    """Run a function of EdgeZoo on a device, in a process of its own.

    Files that the device does not have yet are copied there first, EdgeZoo among them: it needs
    Python 3.11, numpy, Pillow, click and a runtime, nothing else.

    Args:
        url: see `parse`.
        function: of a module of EdgeZoo.
        *args: each `Path` and `Tree` among the arguments is copied.
        **kwargs: the same.

    Returns:
        What the function returned, paths as they read here; and the device.

    Raises:
        EdgeZooError: whatever the function raised there.
        MissingError: the device cannot be reached, or the connection was lost; nothing is kept.
    """
    return _call(url, function, process.bound_arguments(function, args, kwargs), None)


def call_limited(
    url: str, files: Sequence[str], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> tuple[T, Remote]:
    """`call` for work on untrusted files: within the device's usual limits.

    Args:
        url: see `parse`.
        files: names of the arguments that hold paths of untrusted files.
        function: of a module of EdgeZoo; takes "device" and "trust".
        *args: as of `call`.
        **kwargs: as of `call`.
    """
    return _call(url, function, process.bound_arguments(function, args, kwargs), list(files))


def _call(
    url: str, function: Callable[..., T], arguments: dict[str, Any], limited: list[str] | None
) -> tuple[T, Remote]:
    device, names = parse(url), Names()
    if shutil.which("ssh") is None:
        raise MissingError("Reaching a device needs OpenSSH's client, ssh.", "Install it.")
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
            here, copied, reply = _converse(child, request, contents)
        except (BrokenPipeError, EOFError) as error:
            child.wait()
            silent = isinstance(error, _SilentError) and child.returncode != _SSH_FAILED
            raise _lost(device, child.returncode, _words(log), silent) from None
    if "error" in reply:
        raise _error(device, names.homeward(reply["error"]))
    answer = names.homeward(reply["answer"])
    about = Remote(
        str(device),
        here["python"],
        here["executable"],
        here["machine"],
        here["system"],
        answer["runtimes"],
        Copied(len(copied), sum(file.bytes for file in copied)),
    )
    value = typed_json.decode(typed_json.returned(function), answer["value"])
    return cast("T", value), about


def _command(device: Device, size: int) -> list[str]:
    """ssh, and the shell line that starts the agent: its source comes first on standard input."""
    start = f"import sys; exec(compile(sys.stdin.buffer.read({size}), 'edgezoo-agent', 'exec'))"
    line = shlex.join(["exec", device.python, "-u", "-c", start])
    options = [word for key, value in _OPTIONS.items() for word in ("-o", f"{key}={value}")]
    port = ["-p", str(device.port)] if device.port else []
    return ["ssh", "-T", *options, *port, "--", device.target, line]


@contextlib.contextmanager
def _connected(device: Device, said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The connection with the agent on it; ends with the block, and the work there with it."""
    source = Path(agent.__file__).read_bytes()
    child = subprocess.Popen(
        _command(device, len(source)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        start_new_session=True,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(source)
            child.stdin.flush()
        yield child
    except BaseException:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)  # also what ssh runs to get there
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.wait()
        child.stdout.close()


def _converse(
    child: subprocess.Popen[bytes], request: dict[str, Any], contents: dict[str, File]
) -> tuple[dict[str, Any], list[File], dict[str, Any]]:
    """What the agent says of the device, the files it lacked, and its last word.

    Raises:
        BrokenPipeError, EOFError: the connection ended before that.
    """
    assert child.stdin is not None and child.stdout is not None
    _wait_for_agent(child.stdout)
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.flush()
    first = json.loads(_line(child.stdout))
    if "error" in first:
        return {}, [], first
    lacked = [contents[digest] for digest in first["missing"]]
    for file in lacked:
        with file.local.open("rb") as stream:
            shutil.copyfileobj(stream, child.stdin)
    child.stdin.flush()
    return first["here"], lacked, json.loads(_line(child.stdout))


def _wait_for_agent(stream: IO[bytes]) -> None:
    """Past what a login script prints."""
    for _ in range(_NOISE_LINES):
        line = stream.readline()
        if line.strip() == agent.MARK.encode():
            return
        if not line:
            break
    raise _SilentError


def _line(stream: IO[bytes]) -> bytes:
    """A whole line; half a one means that the connection broke."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()


def _lost(device: Device, code: int, words: str, silent: bool) -> MissingError:
    """Why there is no connection, in one sentence."""
    port = ["-p", str(device.port)] if device.port else []
    facts = {
        "ssh": shlex.join(["ssh", *port, device.target]),
        "copy_id": shlex.join(["ssh-copy-id", *port, device.target]),
        "python": device.python,
    }
    for text, cause, hint in _CAUSES:
        if text in words:
            return MissingError(
                f"{device} cannot be used: {cause.format(**facts)}.", hint.format(**facts)
            )
    if silent:
        return MissingError(
            f"{device} cannot be used: {device.python} there does not answer as a Python does.",
            "Name its Python, as in ssh://user@host/path/to/python.",
        )
    last = f" ({words.splitlines()[-1].rstrip('.')})" if words else f" (ssh's exit code {code})"
    return MissingError(
        f"The connection to {device} was lost{last}: there is no result.",
        "Run the command again: what was copied there need not be copied again.",
    )


def _error(device: Device, facts: dict[str, str]) -> EdgeZooError:
    kind = BY_NAME.get(facts["class"], EdgeZooError)
    return kind(f"On {device}: {facts['message']}", facts["hint"])
