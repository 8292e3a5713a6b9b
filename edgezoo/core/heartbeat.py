"""Signs of life of a process whose time is limited (`edgezoo.system.limits`)."""

from __future__ import annotations

import signal

_timeout: float | None = None


def start(timeout: float) -> None:
    """Let the kernel end this process when `timeout` seconds pass without a sign of life."""
    global _timeout
    _timeout = timeout
    alive()


def alive() -> None:
    """A sign of life: the time of a limited process counts from here. Nothing in other processes.

    To be called where work of unknown length goes on to its next part, such as another image.
    """
    if _timeout is not None:
        signal.setitimer(signal.ITIMER_REAL, _timeout)
