"""What a result says of the device that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from edgezoo.core.typed_json import Count


@dataclass(frozen=True, slots=True)
class Copied:
    """Files that were copied to a device because it did not have them yet."""

    files: Count
    bytes: Count


@dataclass(frozen=True, slots=True)
class Remote:
    """The device that a result comes from.

    Attributes:
        device: ssh://user@host:port
        python: version
        executable: path of its Python
        machine: such as aarch64
        runtimes: package and version of each runtime that is installed there
        copied: what the device did not have yet
    """

    device: str
    python: str
    executable: str
    machine: str
    system: str
    runtimes: dict[str, str]
    copied: Copied
