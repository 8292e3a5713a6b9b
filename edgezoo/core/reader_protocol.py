"""What a reader is: a program or library that opens our files, one file in edgezoo/readers/.

`edgezoo verify --everywhere` asks every reader the same images. A reader runs in a limited child
process of its own, so it may import, start or crash whatever it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.protocols import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Opened:
    """A file, and its first input and output tensor as its own runtime describes them.

    Readers that report no quantization of a tensor, or another type, go by these.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    contract: InputContract
    input: TensorInfo
    output: TensorInfo

    @property
    def artifact(self) -> Artifact:
        """The same as an artifact."""
        return Artifact(self.path, self.format, self.files, self.contract)


@dataclass(frozen=True, slots=True)
class Scores:
    """The answer of a reader.

    Attributes:
        values: float32, shape (n, classes) or (n, ...) for features.
        backend: what computed them, such as "XNNPACK"; None where the reader does not say.
        arithmetic: "bfloat16" or "float16" where a float file is computed in less than float32.
        version: package and version, where it is found out only by running.
    """

    values: NDArray[np.float32]
    backend: str | None = None
    arithmetic: str | None = None
    version: str | None = None


class Reader(Protocol):
    """Opens files of some formats, outside of the session that EdgeZoo measures with.

    Attributes:
        name: a word, such as "opencv".
        formats: of the files that it opens.
        install: how to get it, as a sentence.
        patience_s: seconds that it may take from one sign of life to the next.
        most_images: that it is asked; None for all. Emulators are slow.
        programs: it starts other programs.
    """

    name: str
    formats: tuple[str, ...]
    install: str
    patience_s: float
    most_images: int | None
    programs: bool

    def version(self) -> str | None:
        """Package and version that would run; None where it is not here."""

    def writable(self) -> tuple[Path, ...]:
        """Folders that it writes to besides that of temporary files."""

    def answer(self, opened: Opened, pixels: NDArray[np.uint8]) -> Scores:
        """The scores of images: RGB, shape (n, size, size, 3).

        Raises:
            RefusedError: the reader does not take such a file.
            DataError: the reader cannot open the file, with its own words.
        """

    def known_fault(self, opened: Opened, scores: NDArray[Any]) -> str | None:
        """Why this reader is known to answer wrongly for such a file, and what to do instead.

        Called only where its answers are wrong, so a release that is repaired needs no change here.
        """
