"""Which errors concern one file of an export, and which end all of it."""

from __future__ import annotations

import signal

import pytest

from edgezoo.core.errors import CrashError, DataError, EdgeZooError, RefusedError
from edgezoo.pipeline.attempts import _blames_network, refusal_of


def _died(returncode: int, *, told_of_a_file: bool) -> EdgeZooError:
    died = CrashError("The process died.", "Report it.")
    died.returncode = returncode
    if not told_of_a_file:
        return died
    told = DataError("The process that worked on own.keras died.", "Check where it came from.")
    told.__cause__ = died
    return told


@pytest.mark.parametrize("told_of_a_file", [False, True])
def test_a_library_that_aborts_takes_one_format_along(told_of_a_file: bool) -> None:
    """Also in a limited process, whose death is told as a fault of the file."""
    aborted = _died(-signal.SIGABRT, told_of_a_file=told_of_a_file)
    assert _blames_network(aborted)
    assert "Leave this format or precision out" in refusal_of(aborted).hint
    assert not _blames_network(_died(-signal.SIGKILL, told_of_a_file=told_of_a_file))


def test_other_errors() -> None:
    assert _blames_network(RefusedError("Not this layer.", "Another."))
    assert not _blames_network(DataError("The disk is full.", "Make room."))
