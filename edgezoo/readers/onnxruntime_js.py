"""ONNX Runtime for JavaScript, in Node: the WebAssembly of browsers, and the native addon."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError
from edgezoo.core.reader_protocol import Opened, Scores
from edgezoo.readers import _program
from edgezoo.readers._base import BaseReader
from edgezoo.runtimes._session import BaseSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SCRIPT = Path(__file__).with_name("_onnxruntime.js")


@dataclass(frozen=True, slots=True)
class JsReader(BaseReader):
    """A package of npm, in a folder of NODE_PATH or installed with `npm install --global`.

    Not in the current folder: what lies there must not run, as with Python's packages.
    """

    def version(self) -> str | None:
        """See `Reader`."""
        if shutil.which("node") is None:
            return None
        lines = _run({"package": self.name}).lines
        found = next((line for line in lines if line.startswith("version ")), None)
        return found and f"{self.name} {found.removeprefix('version ')}"

    def answer(self, opened: Opened, pixels: NDArray[np.uint8]) -> Scores:
        """See `Reader`; all images in one process of Node."""
        from edgezoo.inference.predict import predict

        with _Session(self.name, opened) as session:
            return Scores(predict(session, opened.contract, pixels), session.backend)


class _Session(BaseSession):
    """Starts Node for each batch."""

    def __init__(self, package: str, opened: Opened) -> None:
        self._package, self._path = package, opened.path
        self.inputs, self.outputs = (opened.input,), (opened.output,)
        self.backend = "wasm" if package.endswith("web") else "native"

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Raw outputs of n inputs, shape (n, classes); see `Session`."""
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            given, output = Path(folder, "input"), Path(folder, "output")
            np.ascontiguousarray(batch).tofile(given)
            described = {"file": str(given), "dtype": str(batch.dtype), "count": len(batch),
                         "shape": [1, *batch.shape[1:]]}  # fmt: skip
            asked = {"package": self._package, "model": str(self._path.resolve()),
                     "input": described, "output": str(output)}  # fmt: skip
            ended = _run(asked)
            if ended.code:
                message = f"{self._path} cannot be opened by {self._package}: {ended.last_words}."
                raise DataError(message)
            return np.fromfile(output, self.outputs[0].dtype).reshape(len(batch), -1)

    def _run_one(self, batch: NDArray[Any]) -> Any:
        return self.run(batch)


def _run(asked: dict[str, Any]) -> _program.Ended:
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request.json")
        request.write_text(json.dumps({**asked, "folders": _folders()}))
        return _program.run(["node", str(_SCRIPT), str(request)])


def _folders() -> list[str]:
    """Return where global packages are."""
    named = [name for name in os.environ.get("NODE_PATH", "").split(os.pathsep) if name]
    if shutil.which("npm") is None:
        return named
    ended = _program.run(["npm", "root", "--global"])
    return [*named, *(line for line in ended.lines if line)]


READERS = tuple(
    JsReader(name, ("onnx",), f"Run: npm install --global {name} (with Node 18 or newer).",
             programs=True)
    for name in ("onnxruntime-web", "onnxruntime-node")
)  # fmt: skip
