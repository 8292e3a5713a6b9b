"""What a result was computed on: a runtime's device, and the machine behind an ssh:// address.

Apart from `protocols` and `system.remote`: results name these types, and a process that only reads
a result loads nothing else of a runtime or of ssh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# A detail of `RanOn`: the types in which a runtime says that it computes.
COMPUTED_IN = "computed_in"
# Another: "session" where the session had to ask for float32, as the plugin ignored the file.
ASKED_BY = "float32_asked_by"


@dataclass(frozen=True, slots=True)
class RanOn:
    """What a session runs on, as the runtime itself reports after opening.

    Attributes:
        device: one of the `supported_devices` of a runtime.
        kind: "hardware"; "software" where the CPU emulates a GPU (SwiftShader); "unknown" where
            the runtime does not report it.
        name: the device's own name, where the runtime reports one.
        fully_accelerated: no operation runs on the CPU; None where the runtime does not report it.
        details: what else the runtime reports, such as "arena_bytes" of a microcontroller.
    """

    device: str = "cpu"
    kind: Literal["hardware", "software", "unknown"] = "hardware"
    name: str | None = None
    fully_accelerated: bool | None = True
    details: Mapping[str, bool | int | str | None] = field(default_factory=dict)

    @property
    def in_bfloat16(self) -> bool:
        """Whether the runtime says that it computes in bfloat16, whatever the file's precision."""
        return "bf16" in str(self.details.get(COMPUTED_IN))

    @property
    def asked_by_session(self) -> bool:
        """Whether a file's wish for float32 was kept only because the session asked for it, too."""
        return self.details.get(ASKED_BY) == "session"


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
