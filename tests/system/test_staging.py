"""Stages: gone afterwards, one at a time for a name, swept up after a kill."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgezoo.core.errors import DataError, UsageError
from edgezoo.system.staging import new_array, publish, staging
from tests.conftest import ROOT, environment
from tests.support.disks import small_disk

HOLD = (
    "import sys; from pathlib import Path; from edgezoo.system.staging import staging\n"
    "with staging(Path(sys.argv[1]), 'm') as stage:\n"
    "    (stage / 'half').write_text('x'); print(stage, flush=True); sys.stdin.read()\n"
)


def _holder(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, text=True,
                             env=environment(), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout is not None
    assert ".edgezoo-m" in child.stdout.readline()
    return child


def _interrupted(folder: Path) -> Path:
    with contextlib.suppress(KeyboardInterrupt), staging(folder, "m") as stage:
        (stage / "file").write_text("x")
        raise KeyboardInterrupt
    return stage


def test_gone_whatever_happens(tmp_path: Path) -> None:
    with staging(tmp_path / "new", "m") as stage:
        (stage / "file").write_text("x")
    assert not (tmp_path / "new").exists(), "nothing came of it, so the folder goes too"
    stage = _interrupted(tmp_path)
    assert ".edgezoo-m" in str(stage)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_disk_is_ours(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No space left"), staging(tmp_path, "m"):
        raise OSError(28, os.strerror(28))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"), staging(tmp_path / "file", "m"):
        pass


def test_a_stage_that_cannot_be_made_is_nobodys() -> None:
    """Linux answers ENOENT in /proc, as where the last holder has just removed the stage."""
    with pytest.raises(DataError, match="/proc cannot be written"), staging(Path("/proc"), "x"):
        pass


def test_one_at_a_time_for_a_name(tmp_path: Path) -> None:
    with _holder(tmp_path):
        with (
            pytest.raises(UsageError, match="Another process is writing m into"),
            staging(tmp_path, "m"),
        ):
            pass
        with staging(tmp_path, "another"):
            assert (len(list(tmp_path.glob(".edgezoo-m/*/half")))) == 1, "the other's stage stays"
    with staging(tmp_path, "m"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_thread_is_no_exception(tmp_path: Path) -> None:
    with staging(tmp_path, "m"), pytest.raises(UsageError), staging(tmp_path, "m"):
        pass


def test_swept_up_after_a_kill(tmp_path: Path) -> None:
    with _holder(tmp_path) as child:
        child.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob(".edgezoo-m/*/half"))
    (tmp_path / ".edgezoo-link").symlink_to(tmp_path.parent)
    with staging(tmp_path, "another"):
        assert not list(tmp_path.glob(".edgezoo-m"))
    assert [path.name for path in tmp_path.iterdir()] == [".edgezoo-link"], "not followed"


def test_a_new_array_has_its_room(tmp_path: Path) -> None:
    """Or an error at once; later, a full disk would end the process."""
    with small_disk(tmp_path / "disk", 10 * resource.getpagesize()) as disk:
        with pytest.raises(OSError, match="No space left"):
            new_array(disk / "large.npy", np.uint8, (20 * resource.getpagesize(),))
        rows = new_array(disk / "small.npy", np.float32, (3, 2))
        rows[:] = 7
        del rows
        assert np.load(disk / "small.npy").tolist() == [[7, 7]] * 3
        with pytest.raises(DataError, match="No space left"), staging(disk, "m") as stage:
            np.save(stage / "large.npy", np.zeros(20 * resource.getpagesize(), np.uint8))
        assert [path.name for path in disk.iterdir()] == ["small.npy"]


class _Interrupt(BaseException):
    pass


@pytest.mark.parametrize("after", range(6))
def test_published_whatever_interrupts(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes after so many removals and renames, and all of them are done."""
    moves: list[tuple[Path | None, Path]] = []
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.new").write_text("new")
        (tmp_path / name).write_text("old")
        moves += [(None, tmp_path / name), (tmp_path / f"{name}.new", tmp_path / name)]
    done = 0

    def interrupted(function: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if done == after:
                done += 1
                raise _Interrupt
            done += 1
            return function(*arguments, **options)  # type: ignore[operator]

        return call

    monkeypatch.setattr(Path, "replace", interrupted(Path.replace))
    monkeypatch.setattr(Path, "unlink", interrupted(Path.unlink))
    with pytest.raises(_Interrupt):
        publish(moves)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("a", "b", "c"), "new"
    )


@pytest.mark.parametrize("planted", ["folder", "file", "nothing"])
def test_a_link_in_place_of_the_stage_is_refused(planted: str, tmp_path: Path) -> None:
    """It would lead what is written elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    if planted == "folder":
        elsewhere.mkdir()
    elif planted == "file":
        elsewhere.write_text("kept")
    output = tmp_path / "out"
    output.mkdir()
    (output / ".edgezoo-m").symlink_to(elsewhere)
    with pytest.raises(DataError, match="is a link"), staging(output, "m"):
        pass
    assert (output / ".edgezoo-m").is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == [] if planted == "folder" else True
    with staging(output, "another"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder to another user")
def test_a_stage_of_another_user_is_refused(tmp_path: Path) -> None:
    """Its owner could change what is written; and it is not removed as an orphan."""
    (tmp_path / ".edgezoo-m").mkdir()
    (tmp_path / ".edgezoo-m" / "theirs").write_text("kept")
    os.chown(tmp_path / ".edgezoo-m", 65534, 65534)
    with pytest.raises(DataError, match="belongs to another user"), staging(tmp_path, "m"):
        pass
    assert (tmp_path / ".edgezoo-m" / "theirs").read_text() == "kept"
