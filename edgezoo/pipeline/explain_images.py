"""The images that `edgezoo explain` runs."""

from __future__ import annotations

from edgezoo.calibration import fingerprints, sources
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.images import samples
from edgezoo.images.labelled import find_labelled


def require(images: str) -> None:
    """Raise a DataError if the source of the images does not exist."""
    if images not in ("synthetic", samples.WORD) and not sources.place_of(images).exists():
        raise DataError(
            f"There are no images at {images}.",
            "Give a folder of images, an .npz file, samples or synthetic.",
        )


def choose(images: str, contract: InputContract, count: int, seed: int) -> sources.ImageSet:
    """Choose the images to run."""
    size, resize = contract.frame, contract.resize
    if images == "synthetic":  # the second set: the same seed calibrates on the first
        return sources.choose(images, size, 1, count, seed, resize)[1]
    return sources.choose(images, size, count, 2, seed, resize)[0]


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
    folder = sources.place_of(images)
    paths = [folder / name for name in chosen.names]
    shared = fingerprints.overlapping(metadata, paths, contract.frame, contract.resize)
    return len(shared) if shared is not None else None


def labels_of(
    chosen: sources.ImageSet, images: str, contract: InputContract
) -> tuple[list[int] | None, str | None]:
    """Return the classes of the images, or the reason why they have none."""
    if chosen.source not in ("folder", "samples"):
        return None, f"{images} has no classes"
    folder = sources.place_of(images)
    try:
        found = find_labelled(folder, contract)
    except DataError as error:
        return None, error.message
    known = dict(zip(found.paths, found.labels, strict=True))
    return [known[folder / name] for name in chosen.names], None
