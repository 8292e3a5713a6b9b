"""What a limited process may not do, tried by one that does it."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError, EdgeZooError, RefusedError
from edgezoo.core.heartbeat import alive
from edgezoo.system import landlock, process, sandbox
from edgezoo.system.limits import Limits, for_files, for_work
from tests.conftest import ROOT
from tests.support.processes import PATIENCE

# The child finds these as edgezoo.faults: only EdgeZoo's own functions may be called.
_FAULTS = '''
import sys, types
source = """
import ctypes, os, socket
from edgezoo.core.errors import RefusedError
from edgezoo.core.heartbeat import alive
def fill(): return {"bytes": len(bytearray(1 << 30))}
def leak():
    kept = []
    while True: kept.append(ctypes.create_string_buffer(1 << 26))
def reserve():
    import mmap
    place = mmap.mmap(-1, 1 << 34, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    return {"bytes": len(place)}
def hang(): ctypes.PyDLL(None).sleep(3600)  # with Python's lock, as native code may
def show_life(pauses):
    import time
    for pause in pauses: time.sleep(pause); alive()
    return {}
def crash(): os.kill(os.getpid(), 11)
def write(path):
    open(path, "w").write("x"); return {}
def remove(path): os.remove(path); return {}
def connect(port): socket.create_connection(("127.0.0.1", port), 5).close(); return {}
def signal_to(pid): os.kill(pid, 0); return {}
def nothing(): return {"figure": float("nan")}
def refuse(): raise RefusedError("Not this one.", "Another.")
def defect(): raise KeyError("a bug")
def count(progress):
    for n in (3, 4, 5): progress(n)
    return {}
def core(): import resource; return {"core": resource.getrlimit(resource.RLIMIT_CORE)[0]}
"""
module = types.ModuleType("edgezoo.faults")
class Later:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "edgezoo.faults": return None
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, Later)
    @staticmethod
    def create_module(spec): return None
    @staticmethod
    def exec_module(module): exec(source, module.__dict__)
sys.meta_path.insert(0, Later)
'''
USUAL = Limits(1 << 30, PATIENCE)
needs_landlock = pytest.mark.skipif(
    landlock.version() < 6, reason="the kernel has no Landlock, or an old one"
)


@pytest.fixture(autouse=True)
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_FAULTS)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    yield
    assert list((tmp_path / "scratch").iterdir()) == []


def _call(
    name: str,
    limits: Limits = USUAL,
    writable: tuple[Path, ...] = (),
    progress: sandbox.Progress | None = None,
    **arguments: object,
) -> dict[str, object]:
    given = {key: str(v) if isinstance(v, Path) else v for key, v in arguments.items()}
    job: process.Job[dict[str, object]] = process.Job(f"edgezoo.faults:{name}", given)
    return sandbox.Sandbox((Path("m.tflite"),), limits, writable, progress).run(job)


@pytest.mark.parametrize("name", ["fill", "leak"])
def test_memory(name: str) -> None:
    with pytest.raises(DataError, match=r"memory than 0\.5 GiB") as caught:
        _call(name, Limits(1 << 29, PATIENCE))
    assert "--max-memory" in caught.value.hint


@pytest.mark.parametrize("mebibytes", [1, 2])
def test_memory_that_is_too_little_for_python(mebibytes: int) -> None:
    """It ends before the file is looked at, with words of its own and an exit code."""
    with pytest.raises(DataError, match=rf"m\.tflite needs more memory than {mebibytes}\.0 MiB"):
        _call("reserve", Limits(mebibytes << 20, PATIENCE))


def test_address_space_that_is_only_reserved_is_no_memory() -> None:
    """Allocators and runtimes reserve gigabytes."""
    assert _call("reserve", Limits(1 << 29, PATIENCE)) == {"bytes": 1 << 34}


def test_hang_that_holds_the_lock_of_python() -> None:
    with pytest.raises(DataError, match=r"m\.tflite made no progress for 1 s") as caught:
        _call("hang", Limits(None, 1.0))
    assert "--max-seconds" in caught.value.hint


def test_signs_of_life_make_more_time() -> None:
    """Each one starts the clock again; without them the same work takes too long."""
    assert _call("show_life", Limits(None, 1.5), pauses=[0.8] * 4) == {}
    with pytest.raises(DataError, match=r"no progress for 2 s"):
        _call("show_life", Limits(None, 1.5), pauses=[9])
    alive()  # and nothing here, where nothing limits
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_signs_of_life_for_ever() -> None:
    """All of the work has a limit too, by the number of its parts."""
    with pytest.raises(DataError, match=r"longer than its size explains"):
        _call("show_life", Limits(None, 1.0, items=1), pauses=[0.2] * 200)


def test_crash_is_the_files_fault() -> None:
    with pytest.raises(DataError, match=r"worked on m\.tflite died \(SIGSEGV\)") as caught:
        _call("crash")
    assert caught.value.exit_code == 5


def test_errors_and_defects_keep_their_class() -> None:
    with pytest.raises(RefusedError, match="Not this one"):
        _call("refuse")
    with pytest.raises(EdgeZooError, match=r"unexpectedly \(KeyError: 'a bug'\)") as caught:
        _call("defect")
    assert caught.value.exit_code == 1, "a bug of ours is not blamed on the file"


def test_figures_that_are_no_numbers() -> None:
    with pytest.raises(DataError, match="not numbers"):
        _call("nothing")


def test_progress_comes_through() -> None:
    counts: list[int] = []
    assert _call("count", progress=counts.append) == {}
    assert sum(counts) == 12


def test_no_core_files() -> None:
    assert _call("core") == {"core": 0}


@needs_landlock
def test_writes(tmp_path: Path) -> None:
    """Only where the command is to write; with --trust anywhere."""
    place, inside = tmp_path / "x", tmp_path / "inside"
    inside.mkdir()
    place.write_text("kept")
    for name in ("write", "remove"):
        with pytest.raises(DataError, match=r"/x"):
            _call(name, path=place)
    assert place.read_text() == "kept"
    _call("write", path=inside / "y", writable=(inside,))
    assert (inside / "y").read_text() == "x"
    _call("write", Limits(None, PATIENCE, writes=True), path=place)
    assert place.read_text() == "x"


@needs_landlock
def test_network_and_signals() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DataError, match="Permission denied"):
            _call("connect", port=port)
        _call("connect", Limits(None, PATIENCE, writes=True), port=port)
    with pytest.raises(DataError, match="not permitted"):
        _call("signal_to", pid=os.getpid())


def test_limits_grow_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(bytes(10 << 20))
    small, large = for_files([]), for_files([tmp_path / "m.tflite"])
    assert large.timeout == small.timeout + 10 < for_files([], device="gpu").timeout
    assert small.memory and large.memory and large.memory - small.memory in (0, 160 << 20)
    assert small.disk and large.disk == small.disk + 12 * (10 << 20)
    work = for_work([tmp_path / "m.tflite"])
    assert work.timeout == 3600 + 200 and work.disk == (64 << 30) + 64 * (10 << 20)
    assert work.memory and small.memory <= work.memory
    assert sandbox.limits_for([], memory_gb=0).memory is None
    assert sandbox.limits_for([], memory_gb=2, seconds=7) == Limits(2 * 10**9, 7)
