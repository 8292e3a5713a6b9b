"""Heartbeat of a process whose time is limited (`edgezoo.system.limits`)."""

from __future__ import annotations

import signal

_timeout: float | None = None


def start(timeout: float) -> None:
    """Let the kernel end this process when `timeout` seconds pass without a heartbeat."""
    global _timeout
    _timeout = timeout
    alive()


def alive() -> None:
    """Restart the time of a limited process; without effect in other processes.

    Call it where work of unknown length goes on to its next part, such as another image.
    """
    if _timeout is not None:
        signal.setitimer(signal.ITIMER_REAL, _timeout)
