"""Heartbeat of a process whose time is limited; its parent keeps the clock.

The process counts in a file that its parent holds open (`edgezoo.system.watch`). What is counted
says only that work goes on: a process that counts for ever has a limit in all.
"""

from __future__ import annotations

import os

COUNTS = 3  # heartbeats, progress, and whether the limits are enforced; eight bytes each
WHOLE, PARTLY = 1, 2
_pulse: int | None = None
_beats = 0
_progress = 0


def enforced(whole: bool) -> bytes:
    """Return the third count: whether the system enforces all limits."""
    return (WHOLE if whole else PARTLY).to_bytes(8, "little")


def start(pulse: int) -> None:
    """Count in this open file from now on; the first heartbeat starts the clock."""
    global _pulse
    _pulse = pulse
    alive()


def alive() -> None:
    """Restart the time of a limited process; without effect in other processes.

    Call it where work of unknown length goes on to its next part, such as another image.
    """
    global _beats
    if _pulse is not None:
        _beats += 1
        os.pwrite(_pulse, _beats.to_bytes(8, "little"), 0)


def advance(more: int) -> None:
    """Count progress, which the parent shows."""
    global _progress
    alive()
    if _pulse is not None:
        _progress += more
        os.pwrite(_pulse, _progress.to_bytes(8, "little"), 8)
