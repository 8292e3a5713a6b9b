"""What a file that has taken over its limited process may not do, tried by one that does it.

One process tries everything in turn; what it reached is asked of the world outside.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError
from edgezoo.system import landlock, process, sandbox, seccomp
from edgezoo.system.limits import Limits
from tests.conftest import ROOT
from tests.support.processes import PATIENCE

# The child finds this as edgezoo.deeds: only EdgeZoo's own functions may be called.
DEEDS = Path(__file__).with_name("deeds.py")
_SITE = """
import sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "edgezoo.deeds": return None
        from importlib.util import spec_from_file_location
        return spec_from_file_location(name, {path!r})
sys.meta_path.insert(0, Finder)
"""
needs_all = pytest.mark.skipif(
    landlock.version() < 6 or not seccomp.available(), reason="the kernel lacks Landlock or seccomp"
)
pytestmark = needs_all
# What a runtime needs is allowed, so that the rest says something.
ALLOWED = {
    "write to its own folder", "make a folder there", "link and rename there", "write to /dev/null",
    "read a file of the user", "start a thread", "signal 0 to itself", "ask for a limit",
    "ask for the affinity",
}  # fmt: skip


@pytest.fixture(autouse=True)
def deeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_SITE.format(path=str(DEEDS)))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    yield
    assert list((tmp_path / "scratch").iterdir()) == []


def _call(name: str, limits: Limits, **arguments: object) -> Any:
    job: process.Job[Any] = process.Job(f"edgezoo.deeds:{name}", arguments)
    return sandbox.Sandbox((Path("m.tflite"),), limits).run(job)


@contextlib.contextmanager
def _servers(place: Path) -> Iterator[tuple[int, list[str]]]:
    """Sockets of several families that note who comes in."""
    seen: list[str] = []
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = tcp.getsockname()[1]
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", port))
        listening = [tcp]
        for address in (str(place), "\0edgezoo-test"):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(address)
            unix.listen()
            listening.append(unix)
        for server in (*listening, udp):
            server.settimeout(0.2)
        over = threading.Event()

        def watch(server: socket.socket) -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    if server is udp:
                        seen.append(f"datagram {server.recv(9)!r}")
                    else:
                        server.accept()[0].close()
                        seen.append(f"connection to {server.getsockname()}")

        threads = [threading.Thread(target=watch, args=(s,)) for s in (*listening, udp)]
        for thread in threads:
            thread.start()
        yield port, seen
        over.set()
        for thread in threads:
            thread.join()


def test_deeds(tmp_path: Path) -> None:
    """Files elsewhere, sockets of every family, processes, others' limits, the environment."""
    victim = tmp_path / "victim"
    (victim / "folder").mkdir(parents=True)
    for name in ("file", "gone", "secret"):
        (victim / name).write_text("of the user\n")
    (victim / "secret").chmod(0o600)
    before = {path: path.stat() for path in (victim, *sorted(victim.rglob("*")))}
    there = Path(f"/dev/shm/edgezoo-test-{os.getpid()}")
    there.write_text("of the user\n")
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        with _servers(tmp_path / "socket") as (port, seen):
            found = _call(
                "all_of_them",
                Limits(4 << 30, PATIENCE),
                victim=str(victim),
                port=port,
                path=str(tmp_path / "socket"),
                shared=str(there),
                raw=platform.machine() == "x86_64",
            )
        assert there.read_text() == "of the user\n"
    finally:
        there.unlink()
    assert {name for name, done in found.items() if done is not None} == ALLOWED, found
    assert seen == []
    after = {path: path.stat() for path in (victim, *sorted(victim.rglob("*")))}
    assert after.keys() == before.keys()
    for path, facts in after.items():
        for fact in ("st_mode", "st_uid", "st_mtime_ns", "st_size", "st_nlink", "st_ctime_ns"):
            assert getattr(facts, fact) == getattr(before[path], fact), (path, fact)
    assert os.getpriority(os.PRIO_PROCESS, 0) == priority


# Ways to end, or not to


@pytest.mark.parametrize(
    "kind",
    ["nothing", "link", "folder", "hard link", "list", "number", "no JSON", "nested", "error",
     "hint", "both", "large", "usage", "value"],
)  # fmt: skip
def test_answers_of_another_form(kind: str) -> None:
    """Exit code 5 and one sentence, whatever stands in place of the answer."""
    with pytest.raises(DataError, match=r"m\.tflite ended without an answer") as caught:
        _call("answer_as", Limits(None, PATIENCE), kind=kind)
    assert caught.value.exit_code == 5
    assert "\x1b" not in str(caught.value) and "\n" not in caught.value.message


def test_texts_of_an_error_are_escaped() -> None:
    with pytest.raises(DataError) as caught:
        _call("answer_as", Limits(None, PATIENCE), kind="escapes")
    assert caught.value.message == "a\\x1b[31mb\\u202e" and caught.value.hint == "c\\rd"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stop", "stopped itself"),
        ("sleep", "no progress"),
        ("spin", "no progress"),
        ("many", "no progress"),
        ("fork", "forbidden"),
        ("daemon", "forbidden"),
        ("timer", "forbidden"),
        ("exit", "ended without an answer"),
        ("fill", "write more than the limit"),
        ("files", "wrote more than"),
        ("deleted", "wrote more than"),
        ("deep", "wrote more than"),
        ("shared", "more memory"),
    ],
)
def test_ends_within_its_limits(kind: str, words: str) -> None:
    limits = Limits(1 << 28, 2.0, disk=16 << 20)
    with pytest.raises(DataError, match=words) as caught:
        _call("end_as", limits, kind=kind)
    assert caught.value.exit_code == 5
