"""Labelled images: a folder per class, a flat folder with a ground-truth file, or shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TypeVar

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, UsageError
from edgezoo.images import class_folders, finding, folders, ground_truth_lists, shards
from edgezoo.images.class_names import ClassNames, LabelsFrom
from edgezoo.images.finding import CLASS_SUFFIX, image_files
from edgezoo.images.folders import LeftOut
from edgezoo.images.preprocessing import require_readable
from edgezoo.images.shards import Member

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with the index of their class.

    Attributes:
        paths: files, or members of tar, zip and parquet files.
        numbered: the classes are numbers of a list without 0, which may have been counted from 1.
        remarks: what a user should know of the folder, as sentences.
        left_out: files that are not images of a class.
        every: all classes of each image, where a list has them; see `ground_truth_lists.Classes`.
    """

    root: Path
    paths: tuple[Path | Member, ...]
    labels: tuple[int, ...]
    numbered: bool = False
    remarks: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    every: tuple[tuple[int, ...], ...] = ()

    def thinned(self, limit: int | None) -> LabelledImages:
        """Return at most `limit` images, evenly spread over all of them."""
        paths, labels = _thin(self.paths, limit), _thin(self.labels, limit)
        every = _thin(self.every, limit) if self.every else ()
        return replace(self, paths=paths, labels=labels, every=every)


def _thin(items: tuple[T, ...], limit: int | None) -> tuple[T, ...]:
    if limit is None or limit >= len(items):
        return items
    return tuple(items[i * len(items) // limit] for i in range(limit))


def wanted_files(
    place: Path, ground_truth: Path | None, limit: int | None
) -> tuple[tuple[Path, ...], Path | None]:
    """Return the image or tar files that `finder` would read, and their ground-truth file.

    Raises:
        DataError: there is no such folder or tar file.
    """
    paths = image_files(place)
    in_tars = any(shards.is_shard(path) for path in paths)
    ground_truth = ground_truth or _list_of(place, paths)
    return tuple(paths) if in_tars else _thin(tuple(paths), limit), ground_truth


def _list_of(place: Path, paths: Sequence[Path]) -> Path | None:
    """Return the ground-truth file that `find_labelled` would use; None if it needs none."""
    if not any(shards.is_shard(path) for path in paths):
        flat = any(_is_flat(path.relative_to(place).parent) for path in paths)
        return ground_truth_lists.find(place) if flat else None
    found = [member for tar in paths for member, _ in shards.members(tar, CLASS_SUFFIX)]
    has_classes = any(member.suffix == CLASS_SUFFIX for member in found)
    in_folders = not any(_is_flat(member.parent) for member in found if finding.is_image(member))
    return None if has_classes or in_folders else ground_truth_lists.find(place)


def lists_behind(place: Path, ground_truth: Path | None = None) -> tuple[Path, ...]:
    """Return the ground-truth files of flat images: the list, and meta.mat if it needs that.

    Raises:
        DataError: there is no such folder or tar file.
    """
    found = ground_truth or _list_of(place, image_files(place))
    return ground_truth_lists.files(found) if found else ()


def count_images(place: Path) -> int:
    """Count the images of a folder, or in its tar files.

    Raises:
        DataError: there is no such folder or tar file, or a tar file is damaged.
    """
    paths = image_files(place)
    tars = [path for path in paths if shards.is_shard(path)]
    if not tars:
        return len(paths)
    return sum(finding.is_image(member) for tar in tars for member, _ in shards.members(tar, ""))


def _is_flat(parent: PurePath) -> bool:
    """Return whether a folder, relative to the root, names no class."""
    return all(name.lower() in folders.PLAIN for name in parent.parts)


def finder(
    place: Path, ground_truth: Path | None, limit: int | None, labels_from: LabelsFrom | None = None
) -> Callable[[InputContract], LabelledImages]:
    """Return `find_labelled` with a limit and a cache for files of the same classes.

    Listing a tar file of 50,000 images takes seconds, and every file of a comparison needs it.
    """
    known: dict[tuple[int, tuple[str, ...], bool], LabelledImages] = {}

    def find(contract: InputContract) -> LabelledImages:
        classes = (contract.classes, contract.labels, contract.multi_label)
        if classes not in known:
            found = find_labelled(place, contract, ground_truth, labels_from)
            known[classes] = found.thinned(limit)
        return known[classes]

    return find


def find_labelled(
    place: Path,
    contract: InputContract,
    ground_truth: Path | None = None,
    labels_from: LabelsFrom | None = None,
) -> LabelledImages:
    """Find images and their classes.

    Args:
        place: a folder per class (named by wnid, label or number), a flat ILSVRC2012 validation
            folder, or the same in tar, zip and parquet files: WebDataset's shards with a .cls file
            for each image, ILSVRC2012_img_val.tar, or a file with a folder per class.
        contract: has the number of classes and their names.
        ground_truth: the classes of flat images: `file class` lines (index, wnid or label),
            Kaggle's LOC_val_solution.csv, or the development kit's list of numbers.
        labels_from: how folders name classes; None for labels or wnids, and numbers where all
            folders have such names.

    Raises:
        DataError: there are no images, or classes that are not the model's.
        UsageError: the place has several parts of a data set, which are not mixed.
    """
    files = image_files(place)
    images, texts = finding.read(files)
    if not images:
        raise DataError(f"{place} contains no images.", "Images end in .jpg, .png and so on.")
    left_out = folders.walk(place).left_out if place.is_dir() else ()
    if ground_truth is None and texts and labels_from is None:
        given = [_class_text(image, texts) for image in images]
        read = _read_texts(given, contract)
        return _labelled(place, images, read, left_out)
    names = ClassNames(contract)
    parents = [finding.parent_of(image, place) for image in images]
    folders.require_one_part(place, parents, "--images", lambda name: names.find(name) is not None)
    flat = [_is_flat(parent) for parent in parents]
    if labels_from is None and (ground_truth or all(flat)):
        read = _of_flat(place, images, ground_truth, contract)
        return _labelled(place, images, read, left_out)
    if ground_truth is not None:
        raise UsageError(
            f"--labels-from {labels_from} reads classes from folders, and {ground_truth} lists "
            "them.",
            "Leave one of them out.",
        )
    if any(flat) and labels_from is None and (beside := ground_truth_lists.find(place)):
        read = ground_truth_lists.labels(place, images, beside, contract)
        return _labelled(place, images, read, left_out)
    stray = [image for image, alone in zip(images, flat, strict=True) if alone]
    outside = tuple(LeftOut(finding.name_of(image, place), "in no class folder") for image in stray)
    require_readable(len(stray), len(images), place, outside, "are in no class folder")
    inside = [image for image, alone in zip(images, flat, strict=True) if not alone]
    named = [parent for parent, alone in zip(parents, flat, strict=True) if not alone]
    read, remarks = class_folders.classes(place, named, names, labels_from)
    found = _labelled(place, inside, read, (*left_out, *outside))
    return replace(found, remarks=(*found.remarks, *remarks))


def _labelled(
    place: Path,
    images: Sequence[Path | Member],
    read: ground_truth_lists.Classes,
    left_out: tuple[LeftOut, ...],
) -> LabelledImages:
    remarks = () if read.remark is None else (read.remark,)
    facts = read.labels, read.numbered, remarks, left_out, read.every
    return LabelledImages(place, tuple(images), *facts)


def _of_flat(
    place: Path, images: Sequence[Path | Member], ground_truth: Path | None, contract: InputContract
) -> ground_truth_lists.Classes:
    """Read the classes of flat images: from a list, or from wnids in the names of files."""
    listed = ground_truth or ground_truth_lists.find(place)
    if listed is not None:
        return ground_truth_lists.labels(place, images, listed, contract)
    names = ClassNames(contract)
    found = [names.in_file_name(image.stem) for image in images]
    labels = tuple(label for label in found if label is not None)
    if len(labels) == len(images):
        return ground_truth_lists.Classes(labels)
    raise DataError(
        f"{place} does not contain the classes of its images.",
        "Give --ground-truth FILE, a folder per class, or in tar files a .cls for each image.",
    )


def _class_text(
    image: Path | Member, texts: dict[tuple[Path, str], bytes]
) -> tuple[str, Path | Member]:
    """Return the text of an image's .cls file, with the image."""
    text = texts.get((image.tar, image.sample)) if isinstance(image, Member) else None
    if text is None:
        raise DataError(f"{image} has no {CLASS_SUFFIX} file.", "Other images there have one.")
    return text.decode("utf-8", "replace").strip(), image


def _read_texts(
    given: list[tuple[str, Path | Member]], contract: InputContract
) -> ground_truth_lists.Classes:
    """Read classes: an index, a wnid or a label; of parquet files a label, else the index."""
    if not any("\0" in text for text, _ in given):
        return ground_truth_lists.read_classes(given, contract)
    names = ClassNames(contract)
    pairs = [(*text.partition("\0")[::2], image) for text, image in given]
    if all(names.find(name) is not None for name in {name for name, _, _ in pairs}):
        return ground_truth_lists.read_classes([(name, at) for name, _, at in pairs], contract)
    found = ground_truth_lists.read_classes([(number, at) for _, number, at in pairs], contract)
    remark = f"{pairs[0][2]}: its names of classes are not the model's, so numbers count."
    return replace(found, numbered=False, remark=remark)
