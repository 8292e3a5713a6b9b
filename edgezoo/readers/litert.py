"""LiteRT on the CPU: the kernels of its default session, and its reference kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgezoo.core.reader_protocol import Opened
from edgezoo.readers._base import RuntimeReader
from edgezoo.runtimes import litert

if TYPE_CHECKING:
    from edgezoo.core.protocols import Session

_INSTALL = 'Run: pip install "edgezoo[tflite]".'


@dataclass(frozen=True, slots=True)
class ReferenceKernels(RuntimeReader):
    """The kernels that define what each operation computes; no delegate takes any away."""

    def version(self) -> str | None:
        """See `Reader`; tflite-runtime cannot select its kernels."""
        return RuntimeReader.version(self) if litert.has_reference_kernels() else None

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        return litert.open_reference(opened.path)


READERS = (
    RuntimeReader("litert", ("tflite",), _INSTALL, runtime="litert"),
    ReferenceKernels("litert-reference", ("tflite",), _INSTALL, runtime="litert"),
)
