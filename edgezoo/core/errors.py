"""Errors for users, with one exit code per branch.

EdgeZooError              1  a defect of EdgeZoo (with a request to report it)
├── UsageError            2  the request itself is wrong
├── RefusedError          3  the combination is not supported
├── MissingError          4  something is missing on this machine
├── DataError             5  data or weights are unreachable, corrupt or unsafe
├── ThresholdError        6  the result misses a required threshold
└── CrashError            1  a child process died

Every message states what was asked and why it fails; `hint` states what to do next.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

_MAX_LISTED = 40  # known names in a message; a network has hundreds of layers
_MAX_REASON = 300  # characters of another library's message
# What onnxruntime puts in front of a cause: its code, the file's name, and of a failed check the
# place in its C++ sources with the signature of the function, or with the condition.
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LOADING = re.compile(r"Load model from .*? failed: ?")
_PLACE = re.compile(r"/\S+\.(?:cc|cpp|cxx|h|hpp|cu):\d+ ")
_CONDITION = " was false. "


class EdgeZooError(Exception):
    """Base class of all errors that EdgeZoo raises."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(EdgeZooError):
    """An unknown name, an invalid value, or contradictory options."""

    exit_code = 2


class RefusedError(EdgeZooError):
    """A valid request that no converter or runtime supports, with the reason."""

    exit_code = 3


class MissingError(EdgeZooError):
    """A package, device or compiler is missing; the hint states how to install it."""

    exit_code = 4


class DataError(EdgeZooError):
    """Images, weights, files or folders that cannot be read, written or trusted."""

    exit_code = 5


class ThresholdError(EdgeZooError):
    """The files were written, but a required bound does not hold."""

    exit_code = 6


class CrashError(EdgeZooError):
    """A child process died without a result (a converter's abort, a kill for memory).

    `returncode` is that of `subprocess.Popen`: negative for a signal, None if there is none.
    `verdict` names the limit that a limited process exceeded (`edgezoo.system.watch`).
    """

    returncode: int | None = None
    verdict: str | None = None


_CLASSES: tuple[type[EdgeZooError], ...] = (EdgeZooError, *EdgeZooError.__subclasses__())
BY_NAME = {cls.__name__: cls for cls in _CLASSES}


def defect(error: Exception) -> EdgeZooError:
    """Return the error for an unexpected exception."""
    if isinstance(error, OSError):
        return DataError(
            f"{error.filename or 'A file or the output'}: {error.strerror or error}.",
            "" if error.filename else "Free some space, or redirect the output elsewhere.",
        )
    if isinstance(error, MemoryError):
        return DataError(
            f"This needs more memory than there is ({words_of(error)}).",
            "Ask for fewer images, a smaller input or fewer classes.",
        )
    return EdgeZooError(
        f"EdgeZoo failed unexpectedly ({type(error).__name__}: {error}).",
        "This is a defect: please report it with the output of the same command and --debug.",
    )


def words_of(error: Exception, line: int = 0) -> str:
    """Return one line of another library's message: shortened, without a full stop.

    What is in front of the cause and does not help a user, such as a position in C++ sources, is
    removed.
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines() or ["no reason given"]
    reason = lines[line].strip()
    return (_cause(reason) or reason)[:_MAX_REASON].rstrip(". ")


def _cause(reason: str) -> str:
    """Return the part of onnxruntime's words behind code, file, place and signature."""
    for prefix in (_CODE, _LOADING):
        found = prefix.search(reason)
        if found and found.start() == 0:
            reason = reason[found.end() :]
    place = _PLACE.search(reason)
    if place is None:
        return reason.strip()
    before, behind = reason[: place.start()], reason[place.end() :]
    if _CONDITION in behind:
        behind = behind.partition(_CONDITION)[2]
    else:
        behind = _behind_signature(behind)
    return f"{before.strip()} {behind.strip()}".strip()


def _behind_signature(text: str) -> str:
    """Return what follows a C++ signature: the parentheses of its arguments may be nested."""
    depth = 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == ")" and depth <= 0:
            return text[place + 1 :].strip().removeprefix("const ").removeprefix("[")
    return text


@contextlib.contextmanager
def interpreting(what: object) -> Iterator[None]:
    """Turn every exception of code that only interprets a file's content into a DataError.

    Offsets, names and types in a damaged file are arbitrary, and generated readers and native
    libraries then raise arbitrary exceptions.

    Raises:
        DataError: `what` cannot be read, with the reader's message.
    """
    try:
        yield
    except (EdgeZooError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"{what} is damaged or unsupported ({type(error).__name__}: {words_of(error)}).",
            "Check where it came from.",
        ) from error


def either(words: Sequence[str]) -> str:
    """Join alternatives: "a", "a or b", "a, b or c"."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number} {noun}" if number == 1 else f"{number} {plural}"


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return a sentence with the most similar known words, or with all if none is similar."""
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {either(near)}?"
    if len(known) > _MAX_LISTED:
        return f"Known: {', '.join(known[:5])}, … {', '.join(known[-5:])} ({len(known)} in all)."
    return f"Known: {', '.join(known)}."
