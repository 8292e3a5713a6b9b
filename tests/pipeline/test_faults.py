"""Whenever an export is killed, every file is absent or what the manifest has the hash of.

`benchmarks/faults.py` does the same a thousand times, and with the real exporters.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError
from edgezoo.pipeline import export_cache
from tests.support import fake_export
from tests.support.disks import small_disk

KILLS = 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds an earlier export; the cache has room for about three."""
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "90k")
    fake_export.finish(tmp_path / "made", 0)
    return tmp_path / "made"


def test_killed_at_every_change(folder: Path, tmp_path: Path) -> None:
    """Before each rename, removal, new folder and opened file of an export over an earlier one."""
    fake_export.finish(folder, 1, None, tmp_path / "count")
    changes = int((tmp_path / "count").read_text())
    assert changes > 30, "the cache, the stage and the files at least"
    for moment in range(1, changes + 1):
        seed = moment + 1
        child = fake_export.started(folder, seed, moment)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert fake_export.faults(folder) == [], f"killed before change {moment}"
        fake_export.finish(folder, seed)
        assert fake_export.complete(folder, seed) == [], f"after change {moment}, run again"
    left = [path.name for path in (tmp_path / "cache" / "exports").iterdir()]
    assert not [name for name in left if name.startswith(".")]
    assert export_cache.info().bytes <= export_cache.limit()


def test_killed_at_random_moments(folder: Path) -> None:
    rng = random.Random(1)
    begun = time.monotonic()
    fake_export.finish(folder, 1)
    duration = time.monotonic() - begun
    killed = 0
    for seed in range(2, 2 + KILLS):
        child = fake_export.started(folder, seed)
        time.sleep(rng.uniform(0, duration))
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        assert fake_export.faults(folder) == []
    fake_export.finish(folder, 99)
    assert fake_export.complete(folder, 99) == []
    assert killed > KILLS / 3


def test_two_at_once_do_not_mix(folder: Path) -> None:
    """One of them is told that the other is there; what stays is of one of them."""
    children = [fake_export.started(folder, seed) for seed in (7, 8, 9)]
    for child in children:
        child.join()
    assert 0 in [child.exitcode for child in children]
    assert any(fake_export.complete(folder, seed) == [] for seed in (7, 8, 9))


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
    for pages in range(1, 60, 3):
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
