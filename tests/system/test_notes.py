"""Notes of interrupted work: what is old is removed, and nothing that others wrote."""

from __future__ import annotations

import os
from pathlib import Path

from edgezoo.system import notes


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
