"""Temporary folders: gone afterwards, swept up after a kill, whatever is in them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgezoo.system import scratch as module
from edgezoo.system.scratch import remove_tree, scratch
from tests.conftest import ROOT, environment

HOLD = (
    "import sys; from pathlib import Path; from edgezoo.system.scratch import scratch\n"
    "with scratch(Path(sys.argv[1])) as folder:\n"
    "    (folder / 'half').write_text('x'); print(folder, flush=True); sys.stdin.read()\n"
)


@pytest.fixture(autouse=True)
def first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is the first that this process does."""
    monkeypatch.setattr(module, "_swept", set())


def _holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], cwd=ROOT, text=True,
                             env=environment(), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_gone_afterwards_and_closed_to_others(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(KeyError), scratch(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_swept_up_after_a_kill(tmp_path: Path) -> None:
    child, folder = _holder(tmp_path)
    with child, scratch(tmp_path):
        assert (folder / "half").exists(), "of a process that works"
        child.send_signal(signal.SIGKILL)
    assert (folder / "half").exists()
    module._swept.clear()
    with scratch(tmp_path):
        assert not folder.exists()


def test_only_folders_of_processes_that_are_gone(tmp_path: Path) -> None:
    """Neither others' folders, nor what a link leads to, nor what is locked."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    gone = int(ended.stdout)
    kept = [f"edgezoo-run-{os.getpid()}-alive", f"edgezoo-run-{gone}-locked", "edgezoo-run-x",
            "edgezoo-mine"]  # fmt: skip
    for name in (*kept, "victim", f"edgezoo-run-{gone}-dead"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / f"edgezoo-run-{gone}-link").symlink_to(tmp_path / "victim")
    if os.geteuid() == 0:
        kept.append(f"edgezoo-run-{gone}-theirs")
        (tmp_path / kept[-1]).mkdir()
        (tmp_path / kept[-1] / "file").write_text("x")
        os.chown(tmp_path / kept[-1], 65534, 65534)
    lock = os.open(tmp_path / kept[1], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with scratch(tmp_path):
        pass
    os.close(lock)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, "victim", f"edgezoo-run-{gone}-link"}
    assert all((tmp_path / name / "file").exists() for name in (*kept, "victim"))


def test_removes_what_is_deep_and_closed(tmp_path: Path) -> None:
    """More levels than Python may call itself, and folders without rights."""
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (top / "closed" / "in").mkdir(parents=True)
    (top / "closed").chmod(0)
    remove_tree(top)
    assert not top.exists()
