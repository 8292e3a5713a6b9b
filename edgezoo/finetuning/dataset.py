"""The user's pictures: found, split and decoded once, for training as for deployment.

Pixels are stored as one uint8 array on disk that the training process maps into memory, so that
any number of pictures takes the same memory. Around the square that the network sees, a margin of
what the centre crop cuts away is kept: training looks at shifted crops, all else at the centre,
which holds exactly the pixels of `preprocessing.load_pixels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgezoo.calibration import fingerprints
from edgezoo.core.errors import DataError, counted
from edgezoo.core.files import not_a_folder
from edgezoo.core.spec import Resize
from edgezoo.images.preprocessing import find_images, load_many, require_readable
from edgezoo.system.staging import new_array

FEWEST_IMAGES = 3  # of a class: one to train on, one to stop by, one to score
VALIDATION = 0.15
PARTS = ("train", "validation", "held_out")


@dataclass(frozen=True, slots=True)
class Folder:
    """Image files in a folder a class.

    Attributes:
        labels: names of the class folders, sorted; their place is the class.
        paths, classes: image files, and the class of each.
    """

    root: Path
    labels: tuple[str, ...]
    paths: tuple[Path, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Decoded pictures and what each is for.

    Attributes:
        path: .npy of uint8 RGB, shape (n, size + 2 margin, size + 2 margin, 3).
        parts: rows of "train", "validation" and "held_out", each class spread over all three.
        classes: of each row.
        files: of each row, relative to its folder.
        prints: of the rows to train on and to stop by, as of `calibration.fingerprints`.
        unreadable, repeated: files that were left out.
    """

    path: Path
    margin: int
    parts: dict[str, tuple[int, ...]]
    classes: tuple[int, ...]
    files: tuple[str, ...]
    prints: tuple[bytes, ...] = field(repr=False)
    unreadable: int
    repeated: int


def find(root: Path, fewest: int = FEWEST_IMAGES, classes: int = 2) -> Folder:
    """Find the images of each class.

    Args:
        root: holds a folder a class; images below it count, however deep.
        fewest: images that each class must have.
        classes: how many there must be.

    Raises:
        DataError: no such folder, fewer classes, or a class with too few images.
    """
    if not root.is_dir():
        raise not_a_folder(root, "Give a folder with a folder a class.")
    paths = find_images(root)
    loose = [path for path in paths if path.parent == root]
    if loose:
        raise DataError(
            f"{loose[0]} lies in no class folder.", "Sort all images into a folder a class."
        )
    names = [path.relative_to(root).parts[0] for path in paths]
    labels = tuple(sorted(set(names)))
    if len(labels) < classes:
        raise DataError(
            f"{root} has {counted(len(labels), 'folder')} with images, and classes are told apart "
            "by folder.",
            "Give a folder with a folder a class.",
        )
    few = [label for label in labels if names.count(label) < fewest]
    if few:
        raise DataError(
            f"The class {few[0]} has {counted(names.count(few[0]), 'image')}, and {fewest} are "
            "the fewest.",
            "Add images, or take the folder away.",
        )
    return Folder(root, labels, tuple(paths), tuple(labels.index(name) for name in names))


def check_same_classes(data: Folder, other: Folder) -> None:
    """Check that a second folder has no classes that the first one lacks.

    Raises:
        DataError: with the first of them.
    """
    unknown = sorted(set(other.labels) - set(data.labels))
    if unknown:
        raise DataError(
            f"{other.root} has a class {unknown[0]}, which {data.root} has not.",
            "Name the folders alike.",
        )


def margin_of(size: int, resize: Resize) -> int:
    """Pixels on each side of the centre crop that lie within the resized picture's square."""
    return (resize.shorter_side(size) - size) // 2


def store(
    data: Folder,
    apart: Folder | None,
    share: float,
    size: int,
    resize: Resize,
    seed: int,
    path: Path,
    progress: Callable[[int, int], None],
) -> StoredPixels:
    """Decode all images, and split them so that the same seed gives the same split.

    Args:
        data: what to learn from.
        apart: labelled images to score in the end; None takes `share` of `data` for that.
        share: of each class, held out to score.
        size: height and width that the network takes, in pixels.
        resize: of the model.
        seed: of the split.
        path: where the .npy goes.
        progress: called with images done and their number.

    Raises:
        DataError: more than a tenth of a folder is not readable, or a class is left without images.
    """
    import numpy as np

    margin = margin_of(size, resize)
    side = size + 2 * margin
    wide = Resize(side / resize.shorter_side(size), resize.filter)
    folders = [data] if apart is None else [data, apart]
    total = sum(len(folder.paths) for folder in folders)
    pixels = new_array(path, np.uint8, (total, side, side, 3))
    gathered = _Gathered(pixels, progress, total)
    for number, folder in enumerate(folders):
        gathered.take(folder, data.labels, number, side, wide)
    own = [row for row, number in enumerate(gathered.source) if number == 0]
    parts = _split(own, gathered.classes, share if apart is None else 0.0, seed)
    if apart is not None:
        parts["held_out"] = [row for row, number in enumerate(gathered.source) if number == 1]
    for label, wanted in ((label, c) for c, label in enumerate(data.labels)):
        if not any(gathered.classes[row] == wanted for row in parts["train"]):
            raise DataError(f"No readable image of {label} is left to train on.", "Add images.")
    if not parts["held_out"]:
        raise DataError(
            "No image is left to score: what is held out is unreadable or learned from.",
            "Give other images with --held-out.",
        )
    pixels.flush()
    seen = [*parts["train"], *parts["validation"]]
    return StoredPixels(
        path,
        margin,
        {name: tuple(rows) for name, rows in parts.items()},
        tuple(gathered.classes),
        tuple(gathered.files),
        tuple(gathered.prints[row] for row in seen),
        gathered.unreadable,
        gathered.repeated,
    )


class _Gathered:
    """Rows as they are decoded; a file that was met before is left out, whatever its name."""

    def __init__(self, pixels: Any, progress: Callable[[int, int], None], total: int) -> None:
        self.classes: list[int] = []
        self.files: list[str] = []
        self.prints: list[bytes] = []
        self.source: list[int] = []
        self.unreadable = self.repeated = 0
        self._pixels, self._progress, self._total, self._done = pixels, progress, total, 0

    def take(
        self, folder: Folder, labels: tuple[str, ...], number: int, side: int, resize: Resize
    ) -> None:
        """Decode one folder."""
        unreadable = 0
        known = set(self.prints)
        decoded = load_many(folder.paths, side, resize)
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
    """Each class by the same shares: to score, to stop by, and the rest to train on."""
    import numpy as np

    generator = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for wanted in sorted({classes[row] for row in rows}):
        own = [row for row in rows if classes[row] == wanted]
        order = [own[i] for i in generator.permutation(len(own))]
        scored = max(1, round(share * len(order))) if share else 0
        stopped = max(1, round(VALIDATION * (len(order) - scored)))
        parts["held_out"] += order[:scored]
        parts["validation"] += order[scored : scored + stopped]
        parts["train"] += order[scored + stopped :]
    return {name: sorted(rows) for name, rows in parts.items()}
