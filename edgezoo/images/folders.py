"""What a folder of images contains, as people and other programs leave folders.

Hidden folders are not entered, links to folders are followed once, and only plain files are images.
The parts of a data set (train, val, test) below one root are never mixed.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgezoo.core.errors import DataError, UsageError, counted, words_of
from edgezoo.core.files import not_a_folder

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
    | {".heic", ".heif", ".hif", ".avif", ".avifs"}
)
# Formats of images that are not read: most likely their owner believes that they are.
_OTHER_IMAGES = {".jp2", ".j2k", ".jxl", ".psd", ".svg", ".ico", ".tga", ".ppm", ".pgm", ".eps"}
_OTHER_IMAGES |= {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"}
# Names of the parts of a data set.
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"}
SPLITS |= {"held_out", "held-out", "holdout"}
# Folders that name no class: Tiny-ImageNet has a level of them.
PLAIN = {"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "jpeg"}
_OTHER_SYSTEMS = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information"})
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not used.

    Attributes:
        path: relative to the folder of the images.
        reason: as a clause.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Listing:
    """The image files below a folder, sorted, and what is not used of it."""

    images: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def hidden(name: str) -> bool:
    """Return whether programs make a file or folder of that name for themselves."""
    return (name.startswith(".") and name != "..") or name in _OTHER_SYSTEMS


def walk(root: Path) -> Listing:
    """List the images below a folder.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    if not root.is_dir():
        raise not_a_folder(root, "Give a folder of images.")
    images: list[Path] = []
    left_out: list[LeftOut] = []
    seen = {_identity(root.stat())}
    # Links come last, so that a folder is found where it is, not where a link leads to it.
    folders, links = [root], list[Path]()
    while folders or links:
        linked = not folders
        folder = links.pop(0) if linked else folders.pop()
        place = folder.relative_to(root).as_posix()
        if linked and not _is_new(folder, seen):
            reason = "a link to a folder that was read already"
            left_out.append(LeftOut(place, reason))
            continue
        for entry in _entries(folder):
            if hidden(entry.name):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                if _is_new(path, seen):
                    folders.append(path)
            elif entry.is_dir():
                links.append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                if entry.is_file():
                    images.append(path)
                else:
                    left_out.append(LeftOut(path.relative_to(root).as_posix(), _kind_of(path)))
            elif path.suffix.lower() in _OTHER_IMAGES:
                reason = f"{path.suffix.lower()} is not read"
                left_out.append(LeftOut(path.relative_to(root).as_posix(), reason))
        links.sort()
    left_out += _without_images(root, images, left_out)
    return Listing(tuple(sorted(images)), tuple(sorted(left_out, key=lambda file: file.path)))


def _without_images(root: Path, images: list[Path], others: list[LeftOut]) -> list[LeftOut]:
    """Return the folders in the root without any image, each most likely a class."""
    used = {path.relative_to(root).parts[0] for path in images}
    if not used - {path.name for path in images}:
        return []  # no class has a folder
    named = {file.path for file in others}
    names = [entry.name for entry in _entries(root) if entry.is_dir() and not hidden(entry.name)]
    missing = [name for name in names if name not in used and name not in named]
    return [LeftOut(name, "a folder without images") for name in missing]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read: {words_of(error)}.", "Check its permissions."
        ) from error


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Return whether a folder was not read before, and note it."""
    try:
        found = _identity(folder.stat())
    except OSError:
        return True  # reading it will say why
    new = found not in seen
    seen.add(found)
    return new


def _kind_of(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing"
    if stat.S_ISFIFO(mode):
        return "a pipe, not a file"
    return "a socket, not a file" if stat.S_ISSOCK(mode) else "a device, not a file"


def part_of(root: Path, split: str | None) -> Path:
    """Return the folder of one part of a data set; the root itself without a split.

    Raises:
        UsageError: the root has no such folder.
    """
    if split is None:
        return root
    names = [entry.name for entry in _entries(root) if entry.is_dir()] if root.is_dir() else []
    for name in names:
        if name.lower() == split.lower() and not hidden(name):
            return root / name
    known = ", ".join(sorted(name for name in names if not hidden(name))[:MOST_NAMED]) or "none"
    raise UsageError(
        f"--split {split} names a folder of {root}, which has no such folder.",
        f"Its folders: {known}.",
    )


def splits(
    parents: Iterable[PurePath], is_class: Callable[[str], bool] = lambda name: False
) -> dict[str, int]:
    """Return the parts of a data set among images, with how many each has; none or at least two.

    Args:
        parents: the folder of each image, relative to the root.
        is_class: whether a name is a class of the model, as "train" may be.
    """
    levels: dict[int, Counter[str]] = defaultdict(Counter)
    for parent in parents:
        for level, name in enumerate(parent.parts):
            if name.lower() in SPLITS and not is_class(name):
                levels[level][name] += 1
    for _, found in sorted(levels.items()):
        if len(found) > 1:
            return dict(sorted(found.items()))
    return {}


def require_one_part(
    root: Path,
    parents: Iterable[PurePath],
    option: str,
    is_class: Callable[[str], bool] = lambda name: False,
) -> None:
    """Check that a folder has no more than one part of a data set.

    Args:
        root: the folder.
        parents, is_class: see `splits`.
        option: that named the root, for the hint.

    Raises:
        UsageError: it has several: what a network was trained on would count as new.
    """
    found = splits(parents, is_class)
    if not found:
        return
    parts = ", ".join(f"{name} ({counted(count, 'image')})" for name, count in found.items())
    trains = option in ("--data", "--calibration")
    fitting = [name for name in found if (name.lower() in ("train", "training")) == trains]
    chosen = fitting[0] if fitting else next(iter(found))
    hint = f"Give one of them: {option} {root / chosen}, or add --split {chosen}."
    others = [name for name in found if name.lower() in ("val", "valid", "validation")]
    if option == "--data" and others:
        apart = f"{option} {root / chosen} --held-out {root / others[0]}"
        hint = f"Give {apart}, or --split {chosen} to hold out images of {chosen}."
    if not (root / chosen).is_dir():
        hint = "Sort or unpack them into a folder for each part, and give one of these."
    raise UsageError(f"{root} contains the parts of a data set: {parts}. They are not mixed.", hint)


def named(files: Sequence[LeftOut], all_of_them: bool = False) -> str:
    """Return the names and reasons of files, the first ten of them unless all are wanted."""
    shown = files if all_of_them else files[:MOST_NAMED]
    more = len(files) - len(shown)
    return ", ".join(map(str, shown)) + (f" and {more} more" if more else "")
