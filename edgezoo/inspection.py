"""What is in a file, whoever made it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo import portability, registry


def inspect(path: Path | str) -> dict[str, Any]:
    """Look into a file.

    Returns:
        {"path", "format", "bytes", "files", "ops", "float_ops", "quantized", "inputs", "outputs",
        "contract", "minimum_runtime", "portability"}.

    Raises:
        DataError: no such file, or a damaged one.
        MissingError: the package that reads the format is not installed.
    """
    artifact = registry.load_artifact(path)
    description = registry.runtime_for(artifact.path).describe(artifact.path)
    return {
        "path": str(path),
        "format": artifact.format,
        "bytes": artifact.bytes,
        "files": [str(file) for file in artifact.files],
        "ops": description.ops,
        "float_ops": list(description.float_ops),
        "quantized": description.quantized,
        "inputs": [asdict(tensor) for tensor in description.inputs],
        "outputs": [asdict(tensor) for tensor in description.outputs],
        "contract": artifact.contract.to_json() if artifact.contract else None,
        "minimum_runtime": description.minimum_runtime,
        "portability": portability.check(artifact.path) if description.quantized else None,
    }
