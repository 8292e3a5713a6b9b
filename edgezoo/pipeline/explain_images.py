"""The images that `edgezoo explain` runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgezoo.calibration import fingerprints, sources
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.images import finding, samples
from edgezoo.images.labelled import find_labelled


def require(images: str) -> None:
    """Raise a DataError if the source of the images does not exist."""
    if images not in ("synthetic", samples.WORD) and not sources.place_of(images).exists():
        raise DataError(
            f"There are no images at {images}.",
            "Give a folder of images, an .npz file, samples or synthetic.",
        )


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The images to run.

    Attributes:
        path: where their pixels are.
        labels: their classes; None if they have none, for the reason `unlabelled`.
        overlap: see `ExplainResult`.
    """

    path: Path
    labels: list[int] | None
    unlabelled: str | None
    overlap: int | None


def store(
    directory: Path, images: str, contract: InputContract, count: int, seed: int
) -> StoredImages:
    """Choose and decode the images, in a limited process."""
    chosen = choose(images, contract, count, seed)
    labels, why_not = labels_of(chosen, images, contract)
    path = sources.store(chosen, contract.frame, directory, "images").path
    return StoredImages(path, labels, why_not, overlap(chosen, images, contract))


def choose(images: str, contract: InputContract, count: int, seed: int) -> sources.ImageSet:
    """Choose the images to run."""
    size, resize = contract.frame, contract.resize
    if images == "synthetic":  # the second set: the same seed calibrates on the first
        return sources.choose(images, size, 1, count, seed, resize)[1]
    return sources.choose(images, size, count, 2, seed, resize, "--images")[0]


def overlap(chosen: sources.ImageSet, images: str, contract: InputContract) -> int | None:
    """Return how many of the images calibrated the file; None if its metadata is missing."""
    metadata = contract.calibration
    if metadata is None:
        return None
    if chosen.source == "synthetic":
        same = (metadata.source, metadata.seed) == ("synthetic", chosen.seed)
        return min(len(chosen.names), metadata.count) if same else 0
    if chosen.source == "npz":
        return fingerprints.overlapping_pixels(metadata, chosen.prints)
    place = sources.place_of(images)
    wanted = set(chosen.names)
    every = finding.one_part(place, "--images")
    paths = [image for image in every if finding.name_of(image, place) in wanted]
    shared = fingerprints.overlapping(metadata, paths, contract.frame, contract.resize)
    return len(shared) if shared is not None else None


def labels_of(
    chosen: sources.ImageSet, images: str, contract: InputContract
) -> tuple[list[int] | None, str | None]:
    """Return the classes of the images, or the reason why they have none."""
    if chosen.source not in ("folder", "samples"):
        return None, f"{images} has no classes"
    place = sources.place_of(images)
    try:
        found = find_labelled(place, contract)
    except DataError as error:
        return None, error.message
    names = (finding.name_of(image, place) for image in found.paths)
    known = dict(zip(names, found.labels, strict=True))
    if missing := [name for name in chosen.names if name not in known]:
        return None, f"{missing[0]} is in no class folder"
    return [known[name] for name in chosen.names], None
