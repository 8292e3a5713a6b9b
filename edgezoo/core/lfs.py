"""Git LFS pointers: what a clone without Git LFS leaves in place of large files."""

from __future__ import annotations

from pathlib import Path

from edgezoo.core.errors import DataError
from edgezoo.core.files import open_regular

_START = b"version https://git-lfs.github.com/spec/"
_WORDS = "it is a Git LFS pointer, not the file itself: run git lfs pull"


def is_pointer(head: bytes) -> bool:
    """Return whether a file's first bytes are those of a pointer."""
    return head.startswith(_START)


def refuse_pointer(head: bytes) -> None:
    """Raise a ValueError for the first bytes of a pointer."""
    if is_pointer(head):
        raise ValueError(_WORDS)


def require_content(path: Path) -> None:
    """Check that a file is not a pointer; other reasons not to read it are left to its reader.

    Raises:
        DataError: it is a pointer.
    """
    try:
        with open_regular(path) as stream:
            head = stream.read(len(_START))
    except OSError:
        return
    if is_pointer(head):
        raise DataError(
            f"{path} is a Git LFS pointer: the file itself was not downloaded.",
            "Run git lfs pull in its repository, or download the file.",
        )
