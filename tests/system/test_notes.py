"""Notes of limited processes: moved by the parent, read as data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgezoo.system import notes

NAME = f"{'a' * 32}.npy"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def test_moved_replaced_and_removed(own: Path, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "kept"
    for content in (b"first", b"second"):
        (own / NAME).write_bytes(content)
        notes.keep(own, kept)
        assert (kept / NAME).read_bytes() == content
        assert list(own.iterdir()) == []
    (own / NAME).touch()  # an empty one: the work is complete
    notes.keep(own, kept)
    assert not kept.exists()


def test_only_files_with_plain_names(own: Path, tmp_path: Path) -> None:
    """Neither what a link leads to, nor other names, nor what has two names."""
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    (own / NAME).symlink_to(secret)
    (own / f"{'b' * 32}.npy").hardlink_to(secret)
    (own / f"{'c' * 32}.npy").mkdir()
    (own / "other.txt").write_text("x")
    os.mkfifo(own / f"{'d' * 32}.npy")
    notes.keep(own, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert secret.read_text() == "of the user"


def test_a_folder_for_each_file_as_it_is(tmp_path: Path) -> None:
    """A file's notes are not another's, nor those of what was there before."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    places = {notes.folder_for(tmp_path, [one]), notes.folder_for(tmp_path, [two]),
              notes.folder_for(tmp_path, [one, two])}  # fmt: skip
    one.write_text("longer")
    places.add(notes.folder_for(tmp_path, [one]))
    assert len(places) == 4
    assert notes.folder_for(tmp_path, [one]) in places


def test_only_old_notes_are_removed(tmp_path: Path) -> None:
    own = tmp_path / ("a" * 32)
    users = tmp_path / "thesis"
    for folder in (own, users):
        folder.mkdir()
    old = (own / f"{'b' * 32}.npy", own / f".{'b' * 32}.npy.17", tmp_path / f"{'d' * 32}.npy")
    kept = (own / f"{'c' * 32}.npy", tmp_path / "photo.jpg", users / f"{'b' * 32}.npy")
    for path in (*old, *kept):
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    os.utime(kept[0])
    (tmp_path / "empty").mkdir()
    notes.remove_expired(tmp_path)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*kept, tmp_path / "empty"))
