"""Other CPUs, emulated by QEMU: their kernels answer, their speed means nothing.

A CPU without VNNI multiplies 8-bit numbers by instructions that may overflow. A Raspberry Pi's
Python, as docs/examples/raspberry_pi.py makes it, is found in the folder EDGEZOO_RASPBERRY_PI, else
in EdgeZoo's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError
from edgezoo.core.paths import PACKAGE, cache_home
from edgezoo.core.reader_protocol import Opened, Scores
from edgezoo.readers import _ask, _program
from edgezoo.readers._base import BaseReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HASWELL = ("qemu-x86_64-static", "-cpu", "Haswell")
_IMAGES, _PATIENCE_S = 16, 900.0
_INNER = (("litert", ("tflite",)), ("onnxruntime", ("onnx",)))


@dataclass(frozen=True, slots=True)
class EmulatedReader(BaseReader):
    """Another reader in an interpreter for another CPU.

    Attributes:
        inner: the reader.
        board: "" for an x86 CPU without VNNI, or the name of an emulated board.
    """

    inner: str = ""
    board: str = ""

    def _python(self) -> tuple[str, ...] | None:
        """Return the command of the interpreter; None where it is not here."""
        if not self.board:
            here = shutil.which(_HASWELL[0]) and os.uname().machine == "x86_64"
            return (*_HASWELL, sys.executable) if here else None
        place = _boards() / "bin" / self.board
        return (str(place),) if os.access(place, os.X_OK) else None

    def version(self) -> str | None:
        """See `Reader`; `Scores` adds what is installed there."""
        python = self._python()
        return None if python is None else Path(python[0]).name

    def writable(self) -> tuple[Path, ...]:
        """See `Reader`; a board's own /dev/null, which QEMU prefers."""
        return (_boards() / self.board / "dev",) if self.board else ()

    def answer(self, opened: Opened, pixels: NDArray[np.uint8]) -> Scores:
        """See `Reader`."""
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            # EdgeZoo alone: what is installed next to it was built for this machine's CPU.
            Path(folder, "edgezoo").symlink_to(PACKAGE)
            path = {"PYTHONPATH": folder} if self.board else {}
            request, given = Path(folder, "request.json"), Path(folder, "pixels.npy")
            np.save(given, pixels)
            output = Path(folder, "scores.npy")
            asked = _ask.Request(self.inner, opened, given, len(pixels), output)
            request.write_text(json.dumps(typed_json.encode(asked)))
            command = [*(self._python() or ()), "-m", _ask.__name__, str(request)]
            ended = _program.run(command, {**os.environ, **path})
            if ended.code or not ended.lines:
                message = f"{opened.path} cannot be opened on {self.name}: {ended.last_words}."
                raise DataError(message)
            told = typed_json.decode(_ask.Asked, json.loads(ended.lines[-1]))
            return Scores(np.load(output), told.backend, told.arithmetic, told.version)


def _boards() -> Path:
    """Return the folder of emulated boards."""
    named = os.environ.get("EDGEZOO_RASPBERRY_PI")
    return Path(named).absolute() if named else cache_home() / "raspberry-pi"


def _readers() -> tuple[EmulatedReader, ...]:
    without = "Install qemu-user-static, on an x86-64 machine."
    board = "Make it: docs/examples/raspberry_pi.py, and name its folder in EDGEZOO_RASPBERRY_PI."
    boards = (("", "haswell", without), ("pi4", "pi4", board), ("pi5", "pi5", board))
    inner = {"": (*_INNER, ("openvino", ("openvino",)))}
    return tuple(
        EmulatedReader(f"{name}-{title}", formats, install, _PATIENCE_S, _IMAGES, True, name, key)
        for key, title, install in boards
        for name, formats in inner.get(key, _INNER)
    )


READERS = _readers()
