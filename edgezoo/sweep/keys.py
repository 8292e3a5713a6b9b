"""Content hashes: what a record depends on, so that nothing is done twice or is out of date."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact
from edgezoo.core.files import file_sha256
from edgezoo.core.typed_json import encode, optional
from edgezoo.core.versions import dependencies
from edgezoo.images import samples
from edgezoo.images.finding import image_files
from edgezoo.images.labelled import lists_behind
from edgezoo.results.store import content_key
from edgezoo.sweep.grid import Network, SweepRequest, Variant


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What an exported file depends on; `weights` and `calibration` are hashes."""

    model: str | None
    alpha: float | None
    input_size: int | None
    precision: str | None
    format: str
    weights: str | None
    seed: int
    edgezoo: str
    calibration: str | None = optional()
    calibration_count: int | None = optional()


def folder_hash(folder: Path) -> str:
    """Return a hash of names and sizes of all images below a folder, or of its tar files.

    Raises:
        DataError: the folder does not exist.
    """
    state = hashlib.sha256()
    for path in image_files(folder):
        state.update(
            f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n".encode(
                "utf-8", "surrogateescape"
            )
        )
    return state.hexdigest()[:16]


def images_hash(request: SweepRequest) -> str | None:
    """Return a hash of the images that accuracy is measured on; None without images."""
    if request.images is None:
        return None
    # A list next to the images gives their classes as one that is named does.
    hashes = [file_sha256(path) for path in lists_behind(request.images, request.ground_truth)]
    truth, order = hashes[0] if hashes else None, hashes[1:2]
    facts = {"folder": folder_hash(request.images), "limit": request.limit, "truth": truth}
    return content_key({**facts, "order": order[0]} if order else facts)


def file_key(request: SweepRequest, network: Network, variant: Variant) -> str:
    """Return a hash of what an exported file depends on; of a file that exists, its content."""
    if variant.path is not None:
        return artifact_sha256(variant.path)[:16]
    return content_key(typed_json.encode(made_from(request, network, variant)))


def made_from(request: SweepRequest, network: Network, variant: Variant) -> MadeFrom:
    """Return what a file that a sweep exports depends on."""
    calibrated = variant.precision == "int8"
    place = (variant.model, variant.alpha, variant.input_size, variant.precision, variant.format)
    return MadeFrom(
        *place,
        request.weights if network.plan is None else network.plan.weights.sha256,
        request.seed,
        _exported_by(variant.format),
        _calibration_hash(request.calibration) if calibrated else None,
        request.calibration_count if calibrated else None,
    )


def bare_artifact(path: Path) -> Artifact:
    """Return a file and those that belong to it, with its contract unread."""
    runtime = registry.runtime_for(path)
    return Artifact(path, runtime.format, runtime.files(path))


def artifact_sha256(path: Path) -> str:
    """Return the hash of a file and of those that belong to it."""
    return bare_artifact(path).sha256()


# Reading the metadata of installed packages takes ten milliseconds, and a sweep has many variants.
@lru_cache(maxsize=64)
def _exported_by(format: str) -> str:
    return content_key(encode(dependencies(registry.exporter(format))))


@lru_cache(maxsize=64)
def _run_by(format: str) -> list[object] | None:
    runtime = next((r for r in registry.runtimes().values() if r.format == format), None)
    return [runtime.version(), encode(dependencies(runtime))] if runtime else None


def look_again() -> None:
    """Forget what was read of packages and folders; a sweep calls it once, at its start."""
    for cached in (_exported_by, _run_by, _calibration_hash):
        cached.cache_clear()


@lru_cache(maxsize=8)
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
    """Return a hash of file, images, runtime, machine and protocol."""
    settings = asdict(request.settings)
    protocol = [settings.pop("version"), settings, request.pin]
    place = {"file": file, "device": variant.device, "threads": variant.threads, "images": images}
    here = {"runtime": _run_by(variant.format), "machine": machine, "protocol": protocol}
    return content_key({**place, **here})
