"""Whenever an export is killed, every file is absent or what the manifest has the hash of.

`benchmarks/faults.py` does the same a thousand times, and with the real exporters.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError
from edgezoo.pipeline import export_cache
from tests.support import fake_export
from tests.support.disks import small_disk
from tests.support.processes import state, until

KILLS = 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds an earlier export; the cache has room for about three."""
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "90k")
    fake_export.finish(tmp_path / "made", 0)
    return tmp_path / "made"


def _changes(folder: Path, seed: int, note: Path) -> int:
    """How many changes an export makes."""
    fake_export.finish(folder, seed, None, signal.SIGKILL, note)
    return int(note.read_text())


def _kill(folder: Path, seed: int, moment: int) -> None:
    """Kill an export before one of its changes, and look at what is left."""
    child = fake_export.started(folder, seed, moment)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert fake_export.faults(folder) == [], f"killed before change {moment}"


def test_killed_at_every_change(folder: Path, tmp_path: Path) -> None:
    """Before each rename, removal, new folder, opened file and piece of a file of an export."""
    changes = _changes(folder, 1, tmp_path / "count")
    assert changes > 50, "the cache, the stage and the files at least"
    for moment in range(1, changes + 1):
        seed = moment + 1
        _kill(folder, seed, moment)
        fake_export.finish(folder, seed)
        assert fake_export.complete(folder, seed) == [], f"after change {moment}, run again"
    left = [path.name for path in (tmp_path / "cache" / "exports").iterdir()]
    assert not [name for name in left if name.startswith(".")]
    assert export_cache.info()["bytes"] <= export_cache.limit()


def test_killed_again_and_again(folder: Path, tmp_path: Path) -> None:
    """At changes here and there, with no export between that ends well."""
    moments = random.Random(1).sample(range(1, _changes(folder, 1, tmp_path / "count") + 1), KILLS)
    for seed, moment in enumerate(moments, 2):
        _kill(folder, seed, moment)
    fake_export.finish(folder, 99)
    assert fake_export.complete(folder, 99) == []


def test_two_at_once_do_not_mix(folder: Path, tmp_path: Path) -> None:
    """The second is refused while the first is at work, and spoils nothing of it."""
    changes = _changes(folder, 1, tmp_path / "count")
    for seed, moment in enumerate((changes // 3, changes // 2, changes - 2), 2):
        first = fake_export.started(folder, seed, moment, signal.SIGSTOP)
        assert until(lambda: state(first.pid) == "T")  # noqa: B023 - called at once
        second = fake_export.started(folder, 50 + seed)
        second.join()
        os.kill(first.pid, signal.SIGCONT)
        first.join()
        assert (first.exitcode, second.exitcode) == (0, 1), f"stopped before change {moment}"
        assert fake_export.complete(folder, seed) == []


def _filled(folder: Path, seed: int) -> bool:
    """Export in a process that says whether the disk was full; asserts that it said so well."""
    child_says, parent_hears = os.pipe()[::-1]
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                fake_export.main(folder, seed)
                code = 0
            except DataError as error:
                code = 5 if "Free some space" in error.hint else 1
        os._exit(code)
    os.close(child_says)
    os.close(parent_hears)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 5)
    return code == 5


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little more room each time, until the second export fits beside the first."""
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "0")
    page = resource.getpagesize()
    ended = []
    for pages in range(1, 60, 5):
        with small_disk(tmp_path / "disk", pages * page) as disk:
            (disk / "mine.txt").write_text("keep")
            full = _filled(disk / "made", 1)
            first = fake_export.faults(disk / "made")
            if not full:
                full = _filled(disk / "made", 2)
                first += fake_export.faults(disk / "made")
            assert first == [] and (disk / "mine.txt").read_text() == "keep"
            assert not list(disk.glob("made/.*")), "the stage went, so that there is room again"
            ended.append(full)
    assert ended[0] and not ended[-1]
    assert ended == sorted(ended, reverse=True), "with more room it does not fail again"
