"""The user's images: found, split and decoded once.

Pixels are stored as one uint8 array on disk that the training process maps into memory, so any
number of images takes the same memory. A margin around the network's square is kept: training uses
shifted crops, everything else the centre crop, with exactly the pixels of
`preprocessing.load_pixels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.calibration import fingerprints
from edgezoo.core.errors import DataError, counted
from edgezoo.core.files import not_a_folder
from edgezoo.core.spec import USUAL_RESIZE, Frame, Resize
from edgezoo.images.preprocessing import find_images, load_many, require_readable
from edgezoo.system.staging import new_array

FEWEST_IMAGES = 3  # per class: one for training, one for validation, one to score
VALIDATION = 0.15
PARTS = ("train", "validation", "held_out")


@dataclass(frozen=True, slots=True)
class Folder:
    """Image files in a folder per class.

    Attributes:
        labels: names of the class folders, sorted; the position is the class.
        paths, classes: image files, and the class of each.
    """

    root: Path
    labels: tuple[str, ...]
    paths: tuple[Path, ...]
    classes: tuple[int, ...]


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
        prints: `calibration.fingerprints` of the rows for training and validation.
        unreadable, repeated: numbers of files that were left out.
    """

    files: tuple[str, ...]
    prints: tuple[bytes, ...] = field(repr=False)
    unreadable: int
    repeated: int


def find(root: Path, fewest: int = FEWEST_IMAGES, classes: int = 2) -> Folder:
    """Find the images of each class.

    Args:
        root: contains a folder per class; images in subfolders count too.
        fewest: minimum number of images per class.
        classes: minimum number of classes.

    Raises:
        DataError: there is no such folder, or it has too few classes or images.
    """
    if not root.is_dir():
        raise not_a_folder(root, "Give a folder with a folder per class.")
    paths = find_images(root)
    for path in paths:
        if path.parent == root:
            hint = "Sort all images into a folder per class."
            raise DataError(f"{path} is not in a class folder.", hint)
    names = [path.relative_to(root).parts[0] for path in paths]
    labels = tuple(sorted(set(names)))
    if len(labels) < classes:
        raise DataError(
            f"{root} has {counted(len(labels), 'folder')} with images, and each class needs one.",
            "Give a folder with a folder per class.",
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
    progress: Callable[[int, int], None],
) -> StoredPixels:
    """Decode all images, and split them reproducibly.

    Args:
        data: images to train on.
        apart: images to score on; None scores on `share` of `data`.
        share: of each class, held out.
        size, resize: of the network's input.
        seed: of the split.
        path: of the .npy to write.
        progress: called with images done and their number.

    Raises:
        DataError: more than a tenth of a folder is not readable, or a class has no images left.
    """
    frame = Frame.of(size)
    margin = margin_of(frame, resize)
    sides = frame.height + 2 * margin[0], frame.width + 2 * margin[1]
    folders = [data] if apart is None else [data, apart]
    total = sum(len(folder.paths) for folder in folders)
    pixels = new_array(path, np.uint8, (total, *sides, frame.channels))
    gathered = _Gathered(pixels, progress, total)
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
    prints = tuple(gathered.prints[row] for row in [*parts["train"], *parts["validation"]])
    rows = {name: tuple(rows) for name, rows in parts.items()}
    classes, files = tuple(gathered.classes), tuple(gathered.files)
    left_out = gathered.unreadable, gathered.repeated
    return StoredPixels(path, margin, rows, classes, files, prints, *left_out)


class _Gathered:
    """Rows as they are decoded, without files whose bytes came before."""

    def __init__(self, pixels: Any, progress: Callable[[int, int], None], total: int) -> None:
        self.classes: list[int] = []
        self.files: list[str] = []
        self.prints: list[bytes] = []
        self.source: list[int] = []
        self.unreadable = self.repeated = 0
        self._pixels, self._progress, self._total, self._done = pixels, progress, total, 0

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
        unreadable = 0
        known = set(self.prints)
        decoded = load_many(folder.paths, frame, resize, margin)
        for (path, values), wanted in zip(decoded, folder.classes, strict=True):
            self._done += 1
            self._progress(self._done, self._total)
            if values is None:
                unreadable += 1
                continue
            fingerprint = fingerprints.of_file(path)
            if fingerprint in known:
                self.repeated += 1
                continue
            known.add(fingerprint)
            self._pixels[len(self.classes)] = values
            self.classes.append(labels.index(folder.labels[wanted]))
            self.files.append(path.relative_to(folder.root).as_posix())
            self.prints.append(fingerprint)
            self.source.append(number)
        require_readable(unreadable, len(folder.paths), folder.root)
        self.unreadable += unreadable


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
