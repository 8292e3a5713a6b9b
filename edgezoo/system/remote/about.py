"""The device that a result comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copied:
    """Files that the device did not have.

    Attributes:
        files: how many.
        bytes: their size together.
    """

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Remote:
    """The device that the work was done on.

    Attributes:
        device: its address, ssh://user@host.
        python: version of its Python.
        executable: path of its Python.
        machine: its architecture.
        system: its operating system.
        runtimes: packages and versions of the runtimes there, by runtime.
        copied: files that were copied there.
    """

    device: str
    python: str
    executable: str
    machine: str
    system: str
    runtimes: dict[str, str]
    copied: Copied
