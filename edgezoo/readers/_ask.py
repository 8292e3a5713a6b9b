"""Ask one reader, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgezoo.core import registry, typed_json
from edgezoo.core.errors import EdgeZooError, MissingError, interpreting
from edgezoo.core.reader_protocol import Opened
from edgezoo.inference.predict import predict


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader reports besides its scores; see `Scores`.

    Attributes:
        fault: why its answers may be wrong, where they are.
    """

    version: str
    backend: str | None
    arithmetic: str | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """What `ask` is called with, for an interpreter of another machine."""

    name: str
    opened: Opened
    pixels: Path
    images: int
    output: Path


@dataclass(frozen=True, slots=True)
class Reference:
    """The file as its own runtime opens it, and that runtime."""

    opened: Opened
    version: str
    backend: str | None


def open_reference(path: Path, pixels: Path, output: Path) -> Reference:
    """Write the scores of the file's own runtime, and describe the file."""
    artifact = registry.load_artifact(path)
    contract = artifact.required_contract()
    runtime = registry.runtime_for(path)
    images = np.load(pixels, mmap_mode="r")
    # One that may compute in less than float32 has a session that does not.
    exact = getattr(runtime, "open_exact", None)
    with exact(artifact) if exact else runtime.open(artifact, "cpu", 1) as session:
        tensors = session.inputs[0], session.outputs[0]
        np.save(output, predict(session, contract, images))
        opened = Opened(artifact.path, artifact.format, artifact.files, contract, *tensors)
        return Reference(opened, runtime.version() or runtime.name, session.backend)


def ask(name: str, opened: Opened, pixels: Path, images: int, output: Path) -> Asked:
    """Let a reader answer the first images, and write its scores.

    Raises:
        MissingError: the reader is not here.
        RefusedError, DataError: it does not open the file.
    """
    reader = registry.reader(name)
    version = reader.version()
    if version is None:
        raise MissingError(f"{reader.name} is not here.", reader.install)
    with interpreting(opened.path):
        scores = reader.answer(opened, np.load(pixels, mmap_mode="r")[:images])
    np.save(output, scores.values)
    fault = reader.known_fault(opened, scores.values)
    return Asked(scores.version or version, scores.backend, scores.arithmetic, fault)


def _main(request: Path) -> int:
    """Answer a request, in JSON on the last line; refusals go to standard error."""
    asked = typed_json.decode(Request, json.loads(request.read_text()))
    try:
        told = ask(asked.name, asked.opened, asked.pixels, asked.images, asked.output)
    except EdgeZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(typed_json.encode(told)), flush=True)
    return 0


if __name__ == "__main__":
    code = _main(Path(sys.argv[1]))
    os._exit(code)  # some native libraries crash while the interpreter unloads them
