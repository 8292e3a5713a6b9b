"""What most readers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.errors import MissingError
from edgezoo.core.heartbeat import alive
from edgezoo.core.reader_protocol import Opened, Scores

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgezoo.core.protocols import Session

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class BaseReader(ABC):
    """A reader without known faults that is asked all images."""

    name: str
    formats: tuple[str, ...]
    install: str
    patience_s: float = _PATIENCE_S
    most_images: int | None = None
    programs: bool = False

    def writable(self) -> tuple[Path, ...]:
        """See `Reader`."""
        return ()

    def known_fault(self, opened: Opened, scores: NDArray[Any]) -> str | None:
        """See `Reader`."""
        return None


@dataclass(frozen=True, slots=True)
class SessionReader(BaseReader):
    """A reader in this process, with a session of EdgeZoo's around it."""

    @abstractmethod
    def open(self, opened: Opened) -> Session:
        """Return a session that takes and returns what the contract says."""

    def answer(self, opened: Opened, pixels: NDArray[np.uint8]) -> Scores:
        """See `Reader`."""
        import numpy as np

        with self.open(opened) as session:
            values = np.concatenate(list(_rows(session, opened, pixels)))
            return Scores(
                values, session.backend, "bfloat16" if session.ran_on.in_bfloat16 else None
            )


def _rows(
    session: Session, opened: Opened, pixels: NDArray[np.uint8]
) -> Iterator[NDArray[np.float32]]:
    from edgezoo.inference.predict import predict

    for i in range(len(pixels)):
        alive()
        yield predict(session, opened.contract, pixels[i : i + 1])


@dataclass(frozen=True, slots=True)
class RuntimeReader(SessionReader):
    """A runtime of EdgeZoo on one device, as every command opens it."""

    runtime: str = ""
    device: str = "cpu"

    def version(self) -> str | None:
        """See `Reader`."""
        runtime = registry.runtimes()[self.runtime]
        here = self.device == "cpu" or self.device in runtime.devices()
        return runtime.version() if here else None

    def open(self, opened: Opened) -> Session:
        """See `SessionReader`."""
        runtime = registry.runtimes()[self.runtime]
        if reason := runtime.refusal(opened.artifact, self.device):
            raise MissingError(f"{opened.path} cannot be opened: {reason}.")
        return runtime.open(opened.artifact, self.device, 1)
