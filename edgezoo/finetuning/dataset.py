"""The user's images: found, split and decoded once.

Pixels are stored as one uint8 array on disk that the training process maps into memory, so any
number of images takes the same memory. A margin around the network's square is kept: training uses
shifted crops, everything else the centre crop, with exactly the pixels of
`preprocessing.load_pixels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.calibration import fingerprints
from edgezoo.core.errors import DataError, counted
from edgezoo.core.files import not_a_folder
from edgezoo.core.labels import unfit
from edgezoo.core.spec import USUAL_RESIZE, Frame, Resize
from edgezoo.images import finding, folders
from edgezoo.images.finding import Image
from edgezoo.images.folders import LeftOut
from edgezoo.images.preprocessing import load_many, require_readable, why_unreadable
from edgezoo.images.shards import Member
from edgezoo.system.staging import new_array

FEWEST_IMAGES = 3  # per class: one for training, one for validation, one to score
VALIDATION = 0.15
PARTS = ("train", "validation", "held_out")


@dataclass(frozen=True, slots=True)
class Folder:
    """Images in a folder per class.

    Attributes:
        root: a folder, or a tar, zip or parquet file.
        labels: names of the class folders, sorted; the position is the class.
        paths, classes: images, and the class of each.
        left_out: files and folders without images that are read.
    """

    root: Path
    labels: tuple[str, ...]
    paths: tuple[Image, ...]
    classes: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Decoded images for training, validation and scoring.

    Attributes:
        path: .npy of uint8, shape (n, height + 2 margin, width + 2 margin, channels).
        margin: rows and columns.
        parts: rows of "train", "validation" and "held_out", each with images of every class.
        classes: of each row.
    """

    path: Path
    margin: tuple[int, int]
    parts: dict[str, tuple[int, ...]]
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredPixels(Split):
    """A split with the files that it came from.

    Attributes:
        files: of each row, relative to its folder.
        prints: `calibration.fingerprints` of the rows for training and validation, in hex.
        unreadable: files that were left out, and why.
        repeated: number of files that were left out.
    """

    files: tuple[str, ...]
    prints: tuple[str, ...] = field(repr=False)
    unreadable: tuple[LeftOut, ...]
    repeated: int


def find(
    root: Path, fewest: int = FEWEST_IMAGES, classes: int = 2, option: str = "--data"
) -> Folder:
    """Find the images of each class.

    Args:
        root: contains a folder per class; images in subfolders count too. Or a tar, zip or parquet
            file of such folders, or of images with a .cls file.
        fewest: minimum number of images per class.
        classes: minimum number of classes.
        option: that named the root, for messages.

    Raises:
        DataError: there is no such folder, or it has too few classes or images.
        UsageError: it has several parts of a data set.
    """
    if not finding.is_place(root):
        raise not_a_folder(root, "Give a folder with a folder per class.")
    paths, texts = finding.read(finding.image_files(root))
    folders.require_one_part(root, (finding.parent_of(path, root) for path in paths), option)
    names = [_class_of(path, root, texts) for path in paths]
    if texts or not root.is_dir():
        names = _below_one(names)
    for path, parts in zip(paths, names, strict=True):
        if not parts:
            hint = "Sort all images into a folder per class."
            raise DataError(f"{path} is not in a class folder.", hint)
    found = _folder(root, [parts[0] for parts in names], paths, fewest, classes)
    return replace(found, left_out=folders.walk(root).left_out if root.is_dir() else ())


def _class_of(image: Image, root: Path, texts: finding.Texts) -> tuple[str, ...]:
    """Return the folders of an image, of which the first names its class; or its .cls text."""
    text = texts.get((image.tar, image.sample)) if isinstance(image, Member) else None
    if text is not None:
        return (text.decode("utf-8", "replace").partition("\0")[0].strip(),)
    return finding.parent_of(image, root).parts


def _below_one(names: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leave out the one folder that all images of a file are in, as packers make it."""
    while len({parts[:1] for parts in names}) == 1 and all(len(parts) > 1 for parts in names):
        names = [parts[1:] for parts in names]
    return names


def _folder(root: Path, names: list[str], paths: list[Image], fewest: int, classes: int) -> Folder:
    labels = tuple(sorted(set(names)))
    if len(labels) < classes:
        raise DataError(
            f"{root} has {counted(len(labels), 'folder')} with images, and each class needs one.",
            "Give a folder with a folder per class.",
        )
    for label in labels:
        if reason := unfit(label):
            raise DataError(
                f"The folder {label} in {root} names no class: its name {reason}.", "Rename it."
            )
    few = [label for label in labels if names.count(label) < fewest]
    if few:
        raise DataError(
            f"The class {few[0]} has {counted(names.count(few[0]), 'image')}, and each class needs "
            f"at least {fewest}.",
            "Add images, or remove the folder.",
        )
    return Folder(root, labels, tuple(paths), tuple(labels.index(name) for name in names))


def check_same_classes(data: Folder, other: Folder) -> None:
    """Raise DataError if a second folder has other classes than the first one."""
    unknown = sorted(set(other.labels) - set(data.labels))
    if unknown:
        raise DataError(
            f"{other.root} has a class {unknown[0]}, which {data.root} does not have.",
            "Give the folders the same names.",
        )


def margin_of(frame: Frame, resize: Resize) -> tuple[int, int]:
    """Return the rows and columns to keep on each side of the input, for shifted crops.

    A crop has them within the resized image. Where nothing is cut off, as much as the usual crop
    cuts off is added.
    """
    room = resize if resize.mode == "crop" else USUAL_RESIZE
    sides = [(room.shorter_side(side) - side) // 2 for side in (frame.height, frame.width)]
    return sides[0], sides[1]


def store(
    data: Folder,
    apart: Folder | None,
    share: float,
    size: int | Frame,
    resize: Resize,
    seed: int,
    path: Path,
    progress: Callable[[int], None] = lambda count: None,
) -> StoredPixels:
    """Decode all images, and split them reproducibly.

    Args:
        data: images to train on.
        apart: images to score on; None scores on `share` of `data`.
        share: of each class, held out.
        size, resize: of the network's input.
        seed: of the split.
        path: of the .npy to write.
        progress: called with the number of images that were done since the last call.

    Raises:
        DataError: more than a tenth of a folder is not readable, or a class has no images left.
    """
    frame = Frame.of(size)
    margin = margin_of(frame, resize)
    sides = frame.height + 2 * margin[0], frame.width + 2 * margin[1]
    folders = [data] if apart is None else [data, apart]
    total = sum(len(folder.paths) for folder in folders)
    pixels = new_array(path, np.uint8, (total, *sides, frame.channels))
    gathered = _Gathered(pixels, progress)
    for number, folder in enumerate(folders):
        gathered.take(folder, data.labels, number, frame, resize, margin)
    own = [row for row, number in enumerate(gathered.source) if number == 0]
    parts = _split(own, gathered.classes, share if apart is None else 0.0, seed)
    if apart is not None:
        parts["held_out"] = [row for row, number in enumerate(gathered.source) if number == 1]
    trained = {gathered.classes[row] for row in parts["train"]}
    for label in [label for wanted, label in enumerate(data.labels) if wanted not in trained]:
        raise DataError(f"No readable image of {label} is left for training.", "Add images.")
    if not parts["held_out"]:
        raise DataError(
            "No image is left to score on: all are unreadable or copies of training images.",
            "Give other images with --held-out.",
        )
    pixels.flush()
    prints = tuple(gathered.prints[row].hex() for row in [*parts["train"], *parts["validation"]])
    rows = {name: tuple(rows) for name, rows in parts.items()}
    classes, files = tuple(gathered.classes), tuple(gathered.files)
    left_out = tuple(gathered.unreadable), gathered.repeated
    return StoredPixels(path, margin, rows, classes, files, prints, *left_out)


class _Gathered:
    """Rows as they are decoded, without files whose bytes came before."""

    def __init__(self, pixels: Any, progress: Callable[[int], None]) -> None:
        self.classes: list[int] = []
        self.files: list[str] = []
        self.prints: list[bytes] = []
        self.source: list[int] = []
        self.unreadable: list[LeftOut] = []
        self.repeated = 0
        self._pixels, self._progress = pixels, progress

    def take(
        self,
        folder: Folder,
        labels: tuple[str, ...],
        number: int,
        frame: Frame,
        resize: Resize,
        margin: tuple[int, int],
    ) -> None:
        """Decode one folder."""
        unreadable: list[Image] = []
        known = set(self.prints)
        decoded = load_many(folder.paths, frame, resize, margin)
        for (path, values), wanted in zip(decoded, folder.classes, strict=True):
            self._progress(1)
            if values is None:
                unreadable.append(path)
                continue
            fingerprint = fingerprints.of_file(path)
            if fingerprint in known:
                self.repeated += 1
                continue
            known.add(fingerprint)
            self._pixels[len(self.classes)] = values
            self.classes.append(labels.index(folder.labels[wanted]))
            self.files.append(finding.name_of(path, folder.root))
            self.prints.append(fingerprint)
            self.source.append(number)
        skipped = why_unreadable(unreadable, folder.root, frame, resize)
        require_readable(len(unreadable), len(folder.paths), folder.root, skipped)
        self.unreadable += skipped


def _split(rows: list[int], classes: list[int], share: float, seed: int) -> dict[str, list[int]]:
    """Split each class by the same shares into held-out, validation and training rows."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for wanted in sorted({classes[row] for row in rows}):
        members = [row for row in rows if classes[row] == wanted]
        order = [members[i] for i in rng.permutation(len(members))]
        held_out = max(1, round(share * len(order))) if share else 0
        validation = max(1, round(VALIDATION * (len(order) - held_out)))
        parts["held_out"] += order[:held_out]
        parts["validation"] += order[held_out : held_out + validation]
        parts["train"] += order[held_out + validation :]
    return {name: sorted(rows) for name, rows in parts.items()}
