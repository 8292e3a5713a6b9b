"""What can go wrong for a user, one exit code a branch.

EdgeZooError              1  a defect of EdgeZoo (with a request to report it)
├── UsageError            2  the request itself is wrong
├── RefusedError          3  this combination cannot be done
├── MissingError          4  something is missing on this machine
├── DataError             5  data or weights unreachable, corrupt or unsafe
├── ThresholdError        6  made, but it does not meet the asked threshold
└── CrashError            1  a child process died

Every message says what was asked and why it cannot be; `hint` says what to do next.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

_MANY = 40  # names; a longer list is abridged
_LONGEST = 300  # characters of another library's message
# As onnxruntime begins: file, line, signature and condition of a check that failed.
_CHECKED = re.compile(r"/\S+\.(?:cc|cpp|h):\d+ .* was false\. ")


class EdgeZooError(Exception):
    """Base of all errors that EdgeZoo raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(EdgeZooError):
    """An unknown name, an illegal value, options that contradict each other."""

    exit_code = 2


class RefusedError(EdgeZooError):
    """A well-formed request that no converter or runtime can fulfil, with the reason."""

    exit_code = 3


class MissingError(EdgeZooError):
    """A package, device or compiler is missing; the hint says how to get it."""

    exit_code = 4


class DataError(EdgeZooError):
    """Images, weights, files or folders that cannot be read, written or trusted."""

    exit_code = 5


class ThresholdError(EdgeZooError):
    """The files were made, but a promised or asked bound does not hold."""

    exit_code = 6


class CrashError(EdgeZooError):
    """A child process died without a result (a converter's abort, a kill for memory).

    `returncode` is that of `subprocess.Popen`: negative for a signal, None where there is none.
    """

    returncode: int | None = None


BY_NAME: dict[str, type[EdgeZooError]] = {
    cls.__name__: cls
    for cls in (
        EdgeZooError,
        UsageError,
        RefusedError,
        MissingError,
        DataError,
        ThresholdError,
        CrashError,
    )
}


def defect(error: Exception) -> EdgeZooError:
    """Turn an unexpected exception into a message for the user."""
    if isinstance(error, OSError):
        return DataError(
            f"{error.filename or 'A file or the output'}: {error.strerror or error}.",
            "" if error.filename else "Look for room on the disk, or send the output elsewhere.",
        )
    return EdgeZooError(
        f"EdgeZoo failed unexpectedly ({type(error).__name__}: {error}).",
        "This is a defect: please report it with the output of the same command and --debug.",
    )


def words_of(error: Exception, line: int = 0) -> str:
    """Return one line of another library's message, cut where it is long, without a full stop.

    Positions in its C++ sources are left out.
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines() or ["no reason given"]
    said = lines[line].strip()
    return (_CHECKED.sub("", said, count=1) or said)[:_LONGEST].rstrip(".")


@contextlib.contextmanager
def interpreting(what: object) -> Iterator[None]:
    """Wrap code that does nothing but interpret the content of an untrusted file.

    Offsets, names and types in a file may have any value, and generated readers and native
    libraries raise whatever that leads to.

    Raises:
        DataError: `what` cannot be read, with the reader's own message.
    """
    try:
        yield
    except (EdgeZooError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"{what} is damaged or holds what EdgeZoo cannot read ({type(error).__name__}: "
            f"{words_of(error)}).",
            "Check where it came from.",
        ) from error


def either(words: Sequence[str]) -> str:
    """Join alternatives: "a", "a or b", "a, b or c"."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return a sentence with the nearest known words, or with all of them when none is near."""
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {either(near)}?"
    if len(known) > _MANY:
        return f"Known: {', '.join(known[:5])}, … {', '.join(known[-5:])} ({len(known)} in all)."
    return f"Known: {', '.join(known)}."
