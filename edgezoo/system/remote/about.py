"""The device that produced a result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copied:
    """Files copied to the device because it lacked them.

    Attributes:
        files: number of files.
        bytes: their total size.
    """

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Remote:
    """The device that a function ran on.

    Attributes:
        device: its address, ssh://user@host.
        python: version of its Python.
        executable: path of its Python.
        machine: its architecture.
        system: its operating system.
        runtimes: packages and versions of its runtimes, by runtime.
        copied: files that were copied there.
    """

    device: str
    python: str
    executable: str
    machine: str
    system: str
    runtimes: dict[str, str]
    copied: Copied
