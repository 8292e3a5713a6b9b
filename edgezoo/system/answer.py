"""What a child process answers: read as data, since a file may have taken the process over."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, NoReturn

from edgezoo.core.errors import BY_NAME
from edgezoo.core.escapes import text
from edgezoo.core.typed_json import parse_json

_MOST = 64 << 20
_MOST_WORDS = 20_000  # characters of a message
_PLAIN = re.compile(r"[^/\x00-\x1f\x7f]{1,255}")


own_place: Path | None = None  # where this process, a child, leaves its answer


class NoAnswerError(Exception):
    """There is no answer, or what is there cannot be one."""


def read(path: Path, most: int = _MOST) -> bytes:
    """Return the content of a regular file of this user that no other name leads to.

    Raises:
        NoAnswerError: it is missing, a link, a pipe, another's, or larger than `most`.
    """
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        opened = os.open(path, how)
    except OSError as error:
        raise NoAnswerError(error.strerror or "it cannot be opened") from error
    try:
        facts = os.fstat(opened)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise NoAnswerError("it is no regular file")
        if facts.st_uid != os.geteuid():
            raise NoAnswerError("it belongs to another user")
        with os.fdopen(os.dup(opened), "rb") as stream:
            content = stream.read(most + 1)
    finally:
        os.close(opened)
    if len(content) > most:
        raise NoAnswerError("it is too large")
    return content


def read_below(folder: Path, name: str, most: int) -> bytes:
    """Return the content of a regular file in a folder; no part of its name is a link.

    Raises:
        NoAnswerError: see `read`; or the name leads out of the folder.
    """
    parts = name.split("/")
    if not all(_PLAIN.fullmatch(part) for part in parts) or ".." in parts:
        raise NoAnswerError("its name leads elsewhere")
    place = folder
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink() or not place.is_dir():
            raise NoAnswerError("its folder is none")
    return read(place / parts[-1], most)


def checked(content: bytes, *, untrusted: bool = False) -> dict[str, Any]:
    """Parse the answer of a child, and raise the error that it reports, if any.

    Raises:
        NoAnswerError: it has another form.
    """
    try:
        facts = parse_json(content, paths=True) if untrusted else json.loads(content)
    except ValueError as error:
        raise NoAnswerError(str(error)) from error
    if not isinstance(facts, dict) or not ("value" in facts) ^ ("error" in facts):
        raise NoAnswerError("it has another form")
    if "error" in facts:
        _raise(facts["error"])
    return facts


def _raise(error: Any) -> NoReturn:
    if not isinstance(error, dict):
        raise NoAnswerError("it has another form")
    kind, message, hint = (error.get(name) for name in ("class", "message", "hint"))
    if not (isinstance(kind, str) and isinstance(message, str) and isinstance(hint, str)):
        raise NoAnswerError("it has another form")
    if kind not in BY_NAME:
        raise NoAnswerError("it reports an error that does not exist")
    raise BY_NAME[kind](_words(message), _words(hint))


def _words(words: str) -> str:
    """Return a text without characters that a terminal would obey."""
    short = words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"
    return text(short)
