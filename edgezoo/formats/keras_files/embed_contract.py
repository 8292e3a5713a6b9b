"""The contract inside a `.keras` file: a key of its metadata, which Keras ignores."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from edgezoo.core.artifact import CONTRACT_KEY
from edgezoo.core.typed_json import Json

_METADATA = "metadata.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip: equal networks give equal files


def embed(source: Path, target: Path, contract: Json) -> None:
    """Write a copy of a `.keras` file with a contract, atomically.

    The date of saving is removed, so that equal networks give equal files.
    """
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(scratch, "w") as new:
            for entry in old.infolist():
                data = old.read(entry)
                if entry.filename == _METADATA:
                    version = json.loads(data)["keras_version"]
                    facts = {"keras_version": version, CONTRACT_KEY: contract}
                    data = json.dumps(facts).encode()
                new.writestr(zipfile.ZipInfo(entry.filename, _EPOCH), data)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
