"""What `test_deeds` runs in a limited process, as the module `edgezoo.deeds`.

all_of_them     tries each deed in turn, and returns what became of it: None if it was refused
answer_as       leaves something in place of an answer
end_as          does not end, or takes more than it may
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MPTCP, _FAST_OPEN, _VSOCK = 262, 0x20000000, 40
# Numbers of system calls on x86-64, with arguments that would succeed or fail otherwise.
_RAW = {
    "ptrace": (101, 0, 0, 0, 0),
    "read another's memory": (310, os.getppid(), 0, 0, 0, 0, 0),
    "io_uring": (425, 4, ctypes.create_string_buffer(120)),
    "memory file": (319, b"x", 0),
    "shared memory": (29, 0, 4096, 0o1600),
    "message queue": (68, 0, 0o1600),
    "namespaces": (272, 0x10000000),
    "keyring": (250, 0, -3, 0),
    "pidfd of the parent": (434, os.getppid(), 0),
    "file handle": (304, -100, ctypes.create_string_buffer(64), 0),
    "userfaultfd": (323, 1),
    "BPF": (321, 0, ctypes.create_string_buffer(64), 64),
    "performance counters": (298, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "32-bit numbers of x32": (0x40000000 + 39,),
    "a call that is not known": (600,),
    "dumpable": (157, 4, 1, 0, 0, 0),
    "a new session": (112,),
    "affinity of the parent": (203, os.getppid(), 8, (1).to_bytes(8, "little")),
    "scheduler of the parent": (144, os.getppid(), 0, bytes(4)),
}
_SIGNAL_OWNER, _SIGNAL = 8, 10


def all_of_them(victim: str, port: int, path: str, shared: str, raw: bool) -> dict[str, str | None]:
    """Try everything; what became of each."""
    found: dict[str, str | None] = {}

    def attempt(name: str, deed: Callable[[], object]) -> None:
        try:
            found[name] = f"{deed()}"[:80]
        except OSError:
            found[name] = None

    _allowed(attempt, victim)
    _files(attempt, victim, shared)
    _sockets(attempt, port, path)
    _others(attempt)
    if raw:
        for name, words in _RAW.items():
            attempt(name, lambda words=words: _syscall(*words))  # type: ignore[misc]
    return found


def _syscall(number: int, *words: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(libc.syscall(ctypes.c_long(number), *words))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return answer


def _allowed(attempt: Any, victim: str) -> None:
    own = Path(tempfile.gettempdir())

    def moved() -> None:
        (own / "link").symlink_to("a")
        (own / "a").rename(own / "b")

    def thread() -> None:
        started = threading.Thread(target=time.time)
        started.start()
        started.join()

    attempt("write to its own folder", lambda: (own / "a").write_text("x"))
    attempt("make a folder there", lambda: (own / "folder").mkdir())
    attempt("link and rename there", moved)
    attempt("write to /dev/null", lambda: Path("/dev/null").write_text("x"))
    attempt("read a file of the user", lambda: Path(victim, "secret").read_text())
    attempt("start a thread", thread)
    attempt("signal 0 to itself", lambda: os.kill(os.getpid(), 0))
    attempt("ask for a limit", lambda: resource.getrlimit(resource.RLIMIT_DATA))
    attempt("ask for the affinity", lambda: os.sched_getaffinity(0))


def _files(attempt: Any, victim: str, shared: str) -> None:
    file, own = f"{victim}/file", tempfile.gettempdir()

    def write(place: str) -> None:
        with open(place, "w") as stream:
            stream.write("x")

    def by_descriptor(change: Callable[[int], object]) -> Callable[[], object]:
        def change_it() -> object:
            opened = os.open(file, os.O_RDONLY)
            try:
                return change(opened)
            finally:
                os.close(opened)

        return change_it

    attempt("write", lambda: write(file))
    attempt("make", lambda: write(f"{victim}/new"))
    attempt("remove", lambda: os.unlink(f"{victim}/gone"))
    attempt("truncate", lambda: os.truncate(file, 0))
    attempt("move here", lambda: os.rename(file, f"{own}/file"))
    attempt("move there", lambda: os.rename(f"{own}/b", f"{victim}/b"))
    attempt("make a folder", lambda: os.mkdir(f"{victim}/made"))
    attempt("remove a folder", lambda: os.rmdir(f"{victim}/folder"))
    attempt("link here", lambda: os.link(file, f"{own}/linked"))
    attempt("link there", lambda: os.symlink("x", f"{victim}/linked"))
    attempt("chmod", lambda: os.chmod(f"{victim}/secret", 0o666))
    attempt("chmod a folder", lambda: os.chmod(f"{victim}/folder", 0))
    attempt("fchmod", by_descriptor(lambda opened: os.fchmod(opened, 0o666)))
    attempt("chown", lambda: os.chown(file, os.getuid(), os.getgid()))
    attempt("fchown", by_descriptor(lambda opened: os.fchown(opened, os.getuid(), os.getgid())))
    attempt("utime", lambda: os.utime(file, (0, 0)))
    attempt("utime by descriptor", by_descriptor(lambda opened: os.utime(opened, (0, 0))))
    attempt("set an attribute", lambda: os.setxattr(file, "user.x", b"x"))
    attempt("remove an attribute", lambda: os.removexattr(file, "user.x"))
    flags = (ctypes.c_long * 1)(0x80)
    attempt("chattr", by_descriptor(lambda opened: fcntl.ioctl(opened, 0x40086602, bytes(flags))))
    attempt("write in /dev/shm", lambda: write(shared))
    attempt("make in /dev/shm", lambda: write(f"{shared}-new"))
    attempt("write to a terminal", lambda: write("/dev/tty"))
    attempt("make a pipe with a name", lambda: os.mkfifo(f"{own}/pipe"))


def _sockets(attempt: Any, port: int, path: str) -> None:
    here = ("127.0.0.1", port)

    def reached(family: int, kind: int, protocol: int, address: Any) -> None:
        client = socket.socket(family, kind, protocol)
        client.settimeout(3)
        client.connect(address)
        client.sendall(b"hello")

    inet, unix, stream = socket.AF_INET, socket.AF_UNIX, socket.SOCK_STREAM
    attempt("TCP", lambda: reached(inet, stream, 0, here))
    attempt("MPTCP", lambda: reached(inet, stream, _MPTCP, here))
    attempt("TCP Fast Open", lambda: socket.socket().sendto(b"hello", _FAST_OPEN, here))
    attempt("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
    attempt("listen", lambda: socket.socket().listen(1))
    attempt("UDP", lambda: reached(inet, socket.SOCK_DGRAM, 0, here))
    attempt("UDP of IPv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    attempt("Unix", lambda: reached(unix, stream, 0, path))
    attempt("abstract Unix", lambda: reached(unix, stream, 0, "\0edgezoo-test"))
    attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
    attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    attempt("virtual machine", lambda: socket.socket(_VSOCK, stream))
    attempt("a pair", socket.socketpair)


def _others(attempt: Any) -> None:
    parent = os.getppid()

    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child

    def steered(command: int, value: int) -> None:
        reader, writer = os.pipe()
        try:
            fcntl.fcntl(reader, command, value)
        finally:
            os.close(reader)
            os.close(writer)

    attempt("signal 0 to the parent", lambda: os.kill(parent, 0))
    attempt("signal 0 to its group", lambda: os.kill(0, 0))
    attempt("signal 0 to everyone", lambda: os.kill(-1, 0))
    attempt("signals of files to the parent", lambda: steered(_SIGNAL_OWNER, parent))
    attempt("another signal of files", lambda: steered(_SIGNAL, signal.SIGKILL))
    attempt("environment of the parent", Path(f"/proc/{parent}/environ").read_bytes)
    attempt("memory of the parent", lambda: open(f"/proc/{parent}/mem", "rb").close())
    attempt("fork", fork)
    attempt("a shell", lambda: subprocess.check_output(["/bin/sh", "-c", "echo x"]))
    attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
    attempt("become a shell", lambda: os.execv("/bin/true", ["true"]))
    attempt("priority of the parent", lambda: os.setpriority(os.PRIO_PROCESS, parent, 19))
    attempt("its own limit", lambda: _raised(resource.RLIMIT_DATA, None))
    attempt("its own file size", lambda: _raised(resource.RLIMIT_FSIZE, None))
    attempt("a limit of the parent", lambda: _raised(resource.RLIMIT_NOFILE, parent))
    attempt("a timer", lambda: signal.setitimer(signal.ITIMER_REAL, 0))
    attempt("become another user", lambda: os.setuid(os.getuid()))
    attempt("a secret of the environment", _secret)


def _raised(kind: int, pid: int | None) -> None:
    if pid is not None:
        resource.prlimit(pid, kind, resource.prlimit(pid, kind))
        return
    try:
        resource.setrlimit(kind, (-1, -1))
    except ValueError as error:  # as Python calls EPERM here
        raise PermissionError(str(error)) from error


def _secret() -> str:
    text = Path("/proc/self/environ").read_bytes().decode()
    if "hunter2" in text or "hunter2" in os.environ.values():
        return "hunter2"
    raise PermissionError("not there")


_USAGE = {"cpu_s": 1.0, "peak_rss_mb": 1.0}


def answer_as(kind: str) -> dict[str, Any]:
    """Leave something in place of the answer, and end."""
    place = Path(sys.argv[2])
    facts: dict[str, Any] = {
        "list": [1],
        "number": 5,
        "error": {"error": {"class": "Nope", "message": "a", "hint": "b"}},
        "hint": {"error": {"class": "DataError", "message": "a\x1b[31m", "hint": 5}},
        "both": {"value": {}, "error": {}, "usage": _USAGE},
        "usage": {"value": {}, "usage": [1]},
        "value": {"usage": _USAGE},
        "escapes": {"error": {"class": "DataError", "message": "a\x1b[31mb\u202e", "hint": "c\rd"}},
    }
    if kind == "link":
        place.symlink_to("/etc/hostname")
    elif kind == "folder":
        place.mkdir()
    elif kind == "hard link":
        other = place.with_name("other")
        other.write_text(json.dumps({"value": {}, "usage": _USAGE}))
        os.link(other, place)
    elif kind == "no JSON":
        place.write_text("not JSON")
    elif kind == "nested":
        place.write_text('{"value": ' + "[" * 200_000 + "]" * 200_000 + "}")
    elif kind == "large":
        with place.open("wb") as stream:
            stream.truncate(70 << 20)
    elif kind in facts:
        place.write_text(json.dumps(facts[kind]))
    os._exit(0)


def end_as(kind: str) -> dict[str, Any]:
    """Do not end, or take more than is allowed."""
    own = Path(tempfile.gettempdir())
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "sleep":
        time.sleep(600)
    elif kind == "spin":
        ctypes.PyDLL(None).sleep(600)
    elif kind == "many":
        for _ in range(20):
            threading.Thread(target=_spin, daemon=True).start()
        _spin()
    elif kind in ("fork", "daemon"):
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
    elif kind == "timer":
        signal.setitimer(signal.ITIMER_REAL, 0)
    elif kind == "exit":
        os._exit(7)
    elif kind == "fill":
        (own / "fill").write_bytes(bytes(17 << 20))
    elif kind == "shared":
        held = mmap.mmap(-1, 1 << 29)
        held.write(b"x" * (1 << 29))
        time.sleep(600)
    else:
        _pile(kind, own)
    return {}


def _spin() -> None:
    while True:
        pass


def _pile(kind: str, own: Path) -> None:
    """Write many files, or such as have no name any more, or deep folders."""
    kept = []
    for number in range(60):
        if kind == "deep":
            os.mkdir("d" if number else own / "d")
            os.chdir("d" if number else own / "d")
            continue
        stream = (own / str(number)).open("wb")
        stream.write(bytes(1 << 20))
        stream.flush()
        kept.append(stream)
        if kind == "deleted":
            (own / str(number)).unlink()
    time.sleep(600)
