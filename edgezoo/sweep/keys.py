"""Content hashes: what a record depends on, so that nothing is done twice or left undone."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.files import file_sha256
from edgezoo.core.typed_json import encode
from edgezoo.core.versions import dependencies
from edgezoo.images import samples
from edgezoo.images.labelled import image_files, lists_behind
from edgezoo.measurement import protocol
from edgezoo.results.store import content_key
from edgezoo.sweep.grid import Network, SweepRequest, Variant


def folder_hash(folder: Path) -> str:
    """Names and sizes of all images below a folder, or of its tar files.

    Raises:
        DataError: no such folder.
    """
    state = hashlib.sha256()
    for path in image_files(folder):
        state.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n".encode())
    return state.hexdigest()[:16]


def images_hash(request: SweepRequest) -> str | None:
    """The images that accuracy is found on; None where none are."""
    if request.images is None:
        return None
    facts: dict[str, Any] = {"folder": folder_hash(request.images), "limit": request.limit}
    # A list that lies beside the images tells their classes as one that is named does.
    hashes = [file_sha256(path) for path in lists_behind(request.images, request.ground_truth)]
    facts["truth"] = hashes[0] if hashes else None
    if hashes[1:]:
        facts["order"] = hashes[1]
    return content_key(facts)


def file_key(request: SweepRequest, network: Network, variant: Variant) -> str:
    """What an exported file depends on; for a file that exists, its content."""
    if variant.path is not None:
        return artifact_sha256(variant.path)[:16]
    return content_key(file_facts(request, network, variant))


def file_facts(request: SweepRequest, network: Network, variant: Variant) -> dict[str, Any]:
    """What is behind the key of a file that a sweep exports."""
    facts: dict[str, Any] = {
        "model": variant.model,
        "alpha": variant.alpha,
        "input_size": variant.input_size,
        "precision": variant.precision,
        "format": variant.format,
        "weights": request.weights if network.plan is None else network.plan.weights.sha256,
        "seed": request.seed,
        "edgezoo": content_key(encode(dependencies(registry.exporter(variant.format)))),
    }
    if variant.precision == "int8":
        facts["calibration"] = _calibration_hash(request.calibration)
        facts["calibration_count"] = request.calibration_count
    return facts


def artifact_sha256(path: Path) -> str:
    """Hash of a file and of those that belong to it, as `Artifact.sha256` has it."""
    hashes = [file_sha256(file) for file in registry.runtime_for(path).files(path)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def file_bytes(path: Path) -> int:
    """Size of a file and of those that belong to it."""
    return sum(file.stat().st_size for file in registry.runtime_for(path).files(path))


def _calibration_hash(calibration: str) -> str:
    if calibration == samples.WORD:
        return samples.COLLECTION.sha256()
    place = Path(calibration)
    if place.is_dir():
        return folder_hash(place)
    return file_sha256(place) if place.is_file() else calibration


def record_key(
    request: SweepRequest, file: str, variant: Variant, images: str | None, machine: str
) -> str:
    """What a record depends on: the file, the images, the runtime, the machine, the protocol."""
    runtime = next((r for r in registry.runtimes().values() if r.format == variant.format), None)
    return content_key(
        {
            "file": file,
            "device": variant.device,
            "threads": variant.threads,
            "images": images,
            "runtime": [runtime.version(), encode(dependencies(runtime))] if runtime else None,
            "machine": machine,
            "protocol": [protocol.VERSION, asdict(request.settings), request.pin],
        }
    )
