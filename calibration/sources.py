"""Chooses calibration images: from where, how many, and which.

The choice is made once, before any heavy work: a folder of images (nested by class or flat),
an .npz of pixels, the public samples, or synthetic images. The pixels are stored as one uint8
array that the steps read as a memory map, so that 500 images cost no more memory than 50.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import fingerprints, synthetic
from edgezoo.core import lfs
from edgezoo.core.arrays import Pixels
from edgezoo.core.calibration_metadata import CalibrationMetadata, ImageSource, RangesRecord
from edgezoo.core.errors import DataError
from edgezoo.core.paths import expanded
from edgezoo.core.spec import USUAL_RESIZE, Frame, Resize
from edgezoo.images import finding, folders, samples
from edgezoo.images.finding import Image
from edgezoo.images.folders import LeftOut
from edgezoo.images.preprocessing import load_many, recipe_hash, require_readable, why_unreadable

FEW_IMAGES = 100
# Agreement on fewer is not evidence: images that calibrate are added, with a note.
LEAST_HELD_OUT = 16
_LARGEST_ARRAYS = 8 << 30  # 50,000 images of 224 px take 7 GiB
# Added to the seed of the synthetic images that verify, so that they are not those that calibrate.
_VERIFICATION_SEED = 1_000_003


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pixels that were chosen, and how.

    Attributes:
        pixels: uint8 RGB or grey, shape (n, height, width, channels); from `open_images` a memory
            map.
        names: of the images, relative to the source; for the list hash.
        classes: class folders that are represented; None where the source has none.
        unreadable, unreadable_files: files that were skipped, and their names and reasons.
        left_out: files that were not tried, such as pipes.
        note: which images verify, as a clause, where too few are left to hold out.
        prints: a fingerprint of each image; none for synthetic images.
        resize: how files became pixels.
    """

    pixels: Pixels
    source: ImageSource
    names: tuple[str, ...]
    seed: int
    classes: int | None = None
    unreadable: int = 0
    unreadable_files: tuple[LeftOut, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    note: str | None = None
    prints: tuple[bytes, ...] = ()
    resize: Resize = USUAL_RESIZE


@dataclass(frozen=True, slots=True)
class StoredImages:
    """A `CalibrationSource` over pixels on disk."""

    path: Path
    metadata: CalibrationMetadata

    @property
    def count(self) -> int:
        """How many images."""
        return len(self.array())

    def annotate(self, ranges: RangesRecord) -> None:
        """Add to the stored metadata the ranges that the images led to."""
        replace(self.metadata, ranges=ranges).save(self.path.with_suffix(".json"))

    def array(self) -> Pixels:
        """All pixels as a memory map: uint8, shape (n, height, width, channels)."""
        pixels: Pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return pixels

    def pixels(self) -> Iterator[Pixels]:
        """Each image in turn: uint8, shape (height, width, channels)."""
        yield from self.array()


def list_hash(names: tuple[str, ...]) -> str:
    """SHA-256 over the names in order."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def metadata(images: ImageSet, size: int | Frame) -> CalibrationMetadata:
    """Return what an int8 artifact records about the images that it was calibrated on."""
    hashed: Literal["file", "pixels"] = "pixels" if images.source == "npz" else "file"
    return CalibrationMetadata(
        source=images.source,
        count=len(images.names),
        classes=images.classes,
        seed=images.seed,
        list_sha256=list_hash(images.names),
        unreadable=images.unreadable,
        preprocessing=recipe_hash(size, images.resize),
        fingerprints=fingerprints.pack(images.prints, hashed) if images.prints else None,
    )


def shared_images(chosen: ImageSet, held_out: ImageSet) -> int:
    """Count the held-out images that were chosen too, under whatever name."""
    known = set(chosen.prints)
    return sum(fingerprint in known for fingerprint in held_out.prints)


def store(images: ImageSet, size: int | Frame, directory: Path, name: str) -> StoredImages:
    """Write pixels and metadata for the next steps."""
    path = directory / f"{name}.npy"
    np.save(path, images.pixels)
    stored = StoredImages(path, metadata(images, size))
    stored.metadata.save(path.with_suffix(".json"))
    return stored


def open_images(path: Path) -> StoredImages:
    """Open what `store` wrote."""
    return StoredImages(path, CalibrationMetadata.load(path.with_suffix(".json")))


def choose(
    where: str,
    size: int | Frame,
    count: int,
    verify_count: int,
    seed: int,
    resize: Resize = USUAL_RESIZE,
    option: str = "--calibration",
) -> tuple[ImageSet, ImageSet]:
    """Choose images to calibrate on and others to verify with.

    Args:
        where: "synthetic", "samples", a folder or a tar, zip or parquet file of images, or an
            .npz/.npy file of pixels.
        size: of the images; a number for a square of RGB pixels.
        count: images to calibrate on, at the most.
        verify_count: images to verify with; see `_held_out`.
        seed: makes the choice repeatable.
        resize: how image files become pixels.
        option: that named the source, for messages.

    Raises:
        DataError: there are no usable images, or more than a tenth cannot be read.
        UsageError: a folder with several parts of a data set.
    """
    check_source(where)
    frame = Frame.of(size)
    if where == "synthetic":
        held_out = _synthetic(frame, verify_count, seed + _VERIFICATION_SEED)
        return _synthetic(frame, count, seed), held_out
    path = place_of(where)
    if finding.is_place(path):
        source: ImageSource = "samples" if where == samples.WORD else "folder"
        images = finding.one_part(path, option)
        return _from_folder(source, path, images, frame, count, verify_count, seed, resize)
    return _from_array(path, frame, count, verify_count, seed)


def place_of(where: str) -> Path:
    """Return the path of a source; DataError if the public samples have not been fetched."""
    return samples.folder() if where == samples.WORD else expanded(where)


def part_of(where: str, split: str | None) -> str:
    """Return the folder of one part of a source's data set; UsageError if there is none."""
    return where if split is None else str(folders.part_of(place_of(where), split))


def check_source(where: str) -> None:
    """Raise a DataError unless a source is a folder or an array file; do not read it."""
    if where == "synthetic":
        return
    path = place_of(where)
    if finding.is_place(path) or (path.suffix in (".npz", ".npy") and path.is_file()):
        return
    if not path.exists():
        raise DataError(
            f"There is no calibration source {where}.",
            "Give a folder of images, an .npz file, samples or synthetic.",
        )
    raise DataError(
        f"{where} is neither a folder nor an .npz file.",
        "Give a folder or a .tar, .zip or .parquet file of images, an .npz file with one uint8 "
        "array of pixels, samples or synthetic.",
    )


def _synthetic(frame: Frame, count: int, seed: int) -> ImageSet:
    names = tuple(f"picture-{seed}-{i}" for i in range(count))
    pixels = np.empty((count, *frame.shape), np.uint8)
    for i, image in enumerate(synthetic.frames(count, frame, seed)):
        pixels[i] = image
    return ImageSet(pixels, "synthetic", names, seed)


def spread(folder: Path, paths: list[Image], seed: int) -> list[Image]:
    """Return all paths in a seeded order that alternates between the class folders.

    The first n of them cover as many classes as n allows, whatever the folders' sizes.
    """
    groups: dict[PurePath, list[Image]] = defaultdict(list)
    for path in paths:
        groups[finding.parent_of(path, folder)].append(path)
    rng = np.random.default_rng(seed)
    keys = sorted(groups)
    orders = {key: list(rng.permutation(len(groups[key]))) for key in keys}
    ranked = [
        (rank, turn, groups[key][index])
        for turn, key in zip(rng.permutation(len(keys)), keys, strict=True)
        for rank, index in enumerate(orders[key])
    ]
    return [path for _, _, path in sorted(ranked, key=lambda item: item[:2])]


def _from_folder(
    source: ImageSource,
    folder: Path,
    paths: list[Image],
    frame: Frame,
    count: int,
    verify: int,
    seed: int,
    resize: Resize,
) -> tuple[ImageSet, ImageSet]:
    good: dict[Image, Pixels] = {}
    bad: list[Image] = []
    for path, decoded in load_many(spread(folder, paths, seed), frame, resize):
        if decoded is None:
            bad.append(path)
        else:
            good[path] = decoded
        if len(good) == count + verify:
            break
    skipped = why_unreadable(bad, folder, frame, resize)
    require_readable(len(bad), len(good) + len(bad), folder, skipped)
    n = min(count, len(good))
    held_out, note = _held_out(len(good), n, verify)
    names = tuple(finding.name_of(path, folder) for path in good)
    prints = tuple(fingerprints.of_file(path) for path in good)
    classes = {finding.parent_of(path, folder) for path in list(good)[:n]}
    seen = len(classes) if classes != {PurePath(".")} else None
    stack = np.stack(list(good.values()))
    left_out = folders.walk(folder).left_out if folder.is_dir() else ()
    facts = (seed, seen, len(bad), skipped, left_out, note)
    held_names = tuple(names[i] for i in held_out)
    held_prints = tuple(prints[i] for i in held_out)
    return (
        ImageSet(stack[:n], source, names[:n], *facts, prints[:n], resize),
        ImageSet(stack[held_out], source, held_names, *facts, held_prints, resize),
    )


def _held_out(total: int, calibrating: int, verify_count: int) -> tuple[list[int], str | None]:
    """Choose images to verify with: held-out ones, and others where there are too few of them.

    The first `calibrating` of all images calibrate. Returns indices, and the note for `ImageSet`.
    """
    spare = list(range(calibrating, total))[:verify_count]
    if len(spare) == verify_count:
        return spare, None
    if len(spare) >= LEAST_HELD_OUT:
        return spare, f"verified on {len(spare)}, not on {verify_count}"
    if not spare:
        note = "verified on images that it was calibrated on"
    else:
        note = f"verified on {len(spare)} and on images that it was calibrated on"
    return [*spare, *range(min(calibrating, verify_count - len(spare)))], note


def _from_array(
    path: Path, frame: Frame, count: int, verify_count: int, seed: int
) -> tuple[ImageSet, ImageSet]:
    pixels = _read_array(path)
    check_pixels(pixels, frame, str(path))
    order = np.random.default_rng(seed).permutation(len(pixels))
    n = min(count, len(order))
    held_out, note = _held_out(len(order), n, verify_count)
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()

    def part(indices: NDArray[np.int64]) -> ImageSet:
        names = tuple(f"{digest}:{i}" for i in indices)
        taken = np.ascontiguousarray(pixels[indices])
        prints = tuple(fingerprints.of_pixels(image) for image in taken)
        return ImageSet(taken, "npz", names, seed, note=note, prints=prints)

    return part(order[:n]), part(order[held_out])


def _read_array(path: Path) -> NDArray[Any]:
    lfs.require_content(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            names = list(archive.keys())
            if sum(entry.file_size for entry in archive.zip.infolist()) > _LARGEST_ARRAYS:
                raise DataError(f"{path} unpacks to more than {_LARGEST_ARRAYS >> 30} GiB.")
            if len(names) != 1 and "images" not in names:
                raise DataError(
                    f"{path} holds {len(names)} arrays ({', '.join(names[:5])}).",
                    "Store one array, or name it images.",
                )
            values = archive["images" if "images" in names else names[0]]
            if not isinstance(values, np.ndarray):  # a file of another kind in the zip
                raise DataError(f"{path} holds {names[0]}, which is not an array.")
            return values
    except (OSError, ValueError, EOFError, KeyError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as an array file: {error}.") from error
    except DataError:
        raise
    except Exception as error:  # zipfile's and zlib's own errors
        raise DataError(f"{path} is damaged: {error}.") from error


def check_pixels(pixels: NDArray[Any], size: int | Frame, what: str) -> None:
    """Raise a DataError unless an array holds pixels of the right size and channels."""
    frame = Frame.of(size)
    height, width, channels = frame.shape
    kind = "RGB" if channels == 3 else "grey"
    expected = f"expected uint8 {kind} pixels 0 to 255, shape (n, {height}, {width}, {channels})"
    got = f"got {pixels.dtype}, shape {pixels.shape}"
    if pixels.ndim == 4 and pixels.shape[1] == channels and pixels.shape[3] != channels:
        got += ", which looks like NCHW"
    if pixels.dtype != "uint8" or pixels.ndim != 4 or pixels.shape[1:] != frame.shape:
        raise DataError(f"{what}: {expected}, {got}.", "Convert the array; do not normalise it.")
    if len(pixels) == 0:
        raise DataError(f"{what}: {expected}, got no image at all.")
    if int(pixels.max()) <= 1:
        raise DataError(f"{what}: {expected}, got values 0 to {pixels.max()}.", "Scale it to 255.")
