"""Read the header of an OpenVINO file, and check that its XML is safe to read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from edgezoo.core.errors import DataError
from edgezoo.core.files import open_regular

_MOST_DEPTH = 200
_BLOCK = 1 << 16


def read(path: Path) -> Head:
    """Parse the XML once, without building a tree.

    Raises:
        DataError: it is not OpenVINO's XML, is nested too deeply, or declares a document type or
            entities, which OpenVINO never writes and which could name other files or expand
            without limit.
    """
    parser = expat.ParserCreate()
    found = Head(path)
    parser.StartElementHandler = found._start
    parser.EndElementHandler = found._end
    parser.StartDoctypeDeclHandler = found._refuse
    try:
        with open_regular(path) as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block)
            parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        message = f"{path} is not a complete OpenVINO file: {error}."
        raise DataError(message, "Check where it came from.") from error
    return found


class Head:
    """IR version, and the newest operation set (opset1, opset2, …) of all layers."""

    def __init__(self, path: Path) -> None:
        self._path, self._depth = path, 0
        self.version, self.opset = "", 1

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0 and name != "net":
            raise DataError(f"{self._path} is not an OpenVINO file.", "Check where it came from.")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise DataError(f"{self._path} is nested deeper than any network.")
        if name == "net" and not self.version:
            self.version = attributes.get("version", "")
        opset = re.fullmatch(r"opset(\d{1,4})", attributes.get("version", ""))
        if name == "layer" and opset:
            self.opset = max(self.opset, int(opset[1]))

    def _end(self, name: str) -> None:
        self._depth -= 1

    def _refuse(self, *declared: object) -> NoReturn:
        message = f"{self._path} declares a document type, which OpenVINO files never do."
        raise DataError(message, "Use only files from sources that you trust.")
