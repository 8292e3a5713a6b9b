"""Labelled images as people have them: a folder a class, a flat folder with a list, tar files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgezoo import registry, samples, shards
from edgezoo.artifact import InputContract, not_a_folder
from edgezoo.errors import DataError, RefusedError, words_of
from edgezoo.models import _imagenet
from edgezoo.preprocessing import IMAGE_SUFFIXES, find_images
from edgezoo.shards import Member

T = TypeVar("T")
_GROUND_TRUTH_NAMES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "ground_truth.txt",
)
_NUMBERED = re.compile(r"_(\d{8})\.", re.IGNORECASE)
_WNID = re.compile(r"n\d{8}")
_CLASS_SUFFIX = ".cls"


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with the index of their class; `paths` are files, or members of tar files."""

    root: Path
    paths: tuple[Path | Member, ...]
    labels: tuple[int, ...]

    def thinned(self, limit: int | None) -> LabelledImages:
        """At most `limit` of them, spread evenly."""
        return LabelledImages(self.root, _thin(self.paths, limit), _thin(self.labels, limit))


def _thin(items: tuple[T, ...], limit: int | None) -> tuple[T, ...]:
    if limit is None or limit >= len(items):
        return items
    return tuple(items[i * len(items) // limit] for i in range(limit))


def image_files(place: Path) -> list[Path]:
    """The files that hold the images of a place: images, else tar files; sorted.

    Raises:
        DataError: there is no such place.
        RefusedError: the public samples were asked for.
    """
    if place.is_dir():
        return find_images(place) or shards.find(place)
    if place.is_file() and place.suffix == shards.SUFFIX:
        return [place]
    if place == Path(samples.WORD):
        raise RefusedError(
            "The public samples are like what the networks were trained on: accuracy on them "
            "says next to nothing.",
            "Give --images other labelled images; the samples calibrate (--calibration samples).",
        )
    raise not_a_folder(place, "Give --images a folder of images, or a .tar file.")


def wanted_files(
    place: Path, ground_truth: Path | None, limit: int | None
) -> tuple[tuple[Path, ...], Path | None]:
    """What `find_labelled`, thinned, would read: image or tar files, and the list of their classes.

    Raises:
        DataError: there is no such place.
    """
    paths = image_files(place)
    in_tars = any(path.suffix == shards.SUFFIX for path in paths)
    if in_tars:
        flat = not any(
            member.suffix == _CLASS_SUFFIX or member.parent.name
            for tar in paths
            for member, _ in shards.members(tar, _CLASS_SUFFIX)
        )
    else:
        flat = any(path.parent == place for path in paths)
    if ground_truth is None and flat:
        ground_truth = _ground_truth_of(place)
    return tuple(paths) if in_tars else _thin(tuple(paths), limit), ground_truth


def finder(
    place: Path, ground_truth: Path | None, limit: int | None
) -> Callable[[InputContract], LabelledImages]:
    """`find_labelled`, thinned, that looks into the place once for all files of the same classes.

    Listing a tar file of 50,000 images takes seconds, and every file of a comparison asks.
    """
    known: dict[tuple[int, tuple[str, ...]], LabelledImages] = {}

    def find(contract: InputContract) -> LabelledImages:
        classes = (contract.classes, contract.labels)
        if classes not in known:
            known[classes] = find_labelled(place, contract, ground_truth).thinned(limit)
        return known[classes]

    return find


def find_labelled(
    place: Path, contract: InputContract, ground_truth: Path | None = None
) -> LabelledImages:
    """Find images and their classes.

    Args:
        place: a folder a class (named by wnid or by the model's labels), a flat ILSVRC2012
            validation folder, or the same in tar files: WebDataset's shards with a .cls beside
            each image, ILSVRC2012_img_val.tar, or a tar file with a folder a class.
        contract: tells how many classes there are and what they are called.
        ground_truth: the classes of flat images: `file class` a line (index or wnid), Kaggle's
            LOC_val_solution.csv, or the development kit's list of numbers.

    Raises:
        DataError: no images, or classes that are not the model's.
    """
    files = image_files(place)
    if any(path.suffix == shards.SUFFIX for path in files):
        return _in_tars(place, files, contract, ground_truth)
    if not files:
        raise DataError(f"{place} holds no images.", "Endings such as .jpg and .png count.")
    if ground_truth is None and not any(path.parent == place for path in files):
        return _by_folder(place, files, contract)
    ground_truth = ground_truth or _ground_truth_of(place)
    if ground_truth is None:
        raise DataError(
            f"{place} is flat and has no ground truth beside it.",
            "Give --ground-truth FILE, or sort the images into a folder a class.",
        )
    return _by_file(place, files, ground_truth)


def _in_tars(
    place: Path, tars: list[Path], contract: InputContract, ground_truth: Path | None
) -> LabelledImages:
    images: list[Member] = []
    told: dict[tuple[Path, str], bytes] = {}
    for tar in tars:
        for member, text in shards.members(tar, _CLASS_SUFFIX):
            if member.suffix == _CLASS_SUFFIX:
                told[tar, member.sample] = text
            elif member.suffix.lower() in IMAGE_SUFFIXES and not member.name.startswith("."):
                images.append(member)
    if not images:
        raise DataError(f"{place} holds no images.", "Endings such as .jpg and .png count.")
    if ground_truth is None and told:
        labels = tuple(_told_class(image, told, contract) for image in images)
        return LabelledImages(place, tuple(images), labels)
    if ground_truth is None and all(image.parent.name for image in images):
        return _by_folder(place, images, contract)
    ground_truth = ground_truth or _ground_truth_of(place)
    if ground_truth is None:
        raise DataError(
            f"{place} says nothing of the classes of its images.",
            "Give --ground-truth FILE, a folder a class, or a .cls file beside each image.",
        )
    return _by_file(place, images, ground_truth)


def _told_class(image: Member, told: dict[tuple[Path, str], bytes], contract: InputContract) -> int:
    """The class that a .cls file gives: an index, a wnid or a label."""
    text = told.get((image.tar, image.sample))
    if text is None:
        raise DataError(f"{image} has no {_CLASS_SUFFIX} file.", "Others in the tar file do.")
    word = text.decode("utf-8", "replace").strip()
    if word.isdecimal() and int(word) < contract.classes:
        return int(word)
    names = _class_names(contract)
    if word not in names:
        raise DataError(
            f"{image} has an unknown class {word!r}.",
            f"Use an index from 0 to {contract.classes - 1}, a wnid or a label of the model.",
        )
    return names[word]


def _ground_truth_of(folder: Path) -> Path | None:
    """The usual file that tells the classes of a flat folder, in it or beside it."""
    places = [place / name for place in (folder, folder.parent) for name in _GROUND_TRUTH_NAMES]
    return next((path for path in places if path.is_file()), None)


def _class_names(contract: InputContract) -> dict[str, int]:
    """Folder names that stand for a class: wnids for ImageNet's 1000, and unique labels."""
    counts = Counter(contract.labels)  # ImageNet has two cranes and two maillots
    names = {label: i for i, label in enumerate(contract.labels) if counts[label] == 1}
    if contract.classes == len(_imagenet.classes()):
        names |= {wnid: i for i, (wnid, _) in enumerate(_imagenet.classes())}
    return names


def _by_folder(
    folder: Path, paths: Sequence[Path | Member], contract: InputContract
) -> LabelledImages:
    names = _class_names(contract)
    unknown = sorted({path.parent.name for path in paths} - names.keys())
    if unknown:
        raise DataError(
            f"{folder} has folders that are no class of the model: {', '.join(unknown[:5])}"
            f"{' …' if len(unknown) > 5 else ''}.",
            "Name each folder by its wnid (n01440764) or by the model's label.",
        )
    return LabelledImages(folder, tuple(paths), tuple(names[path.parent.name] for path in paths))


def _by_file(folder: Path, paths: Sequence[Path | Member], ground_truth: Path) -> LabelledImages:
    """Flat folder: from a table by file name, or from the development kit's list by number."""
    try:
        lines = ground_truth.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{ground_truth} cannot be read: {words_of(error)}.") from error
    rows = [re.split(r"[\s,]+", line.strip()) for line in lines if line.strip()]
    if all(len(row) == 1 and row[0].isdigit() for row in rows):
        order = _devkit_order(ground_truth)
        classes = [order[int(row[0])] for row in rows]
        numbers = [_NUMBERED.search(path.name) for path in paths]
        if any(n is None or not 1 <= int(n.group(1)) <= len(rows) for n in numbers):
            raise DataError(
                f"{ground_truth} lists classes by image number, and some files in {folder} have "
                "no such number in their name.",
                "Keep the names ILSVRC2012_val_00000001.JPEG and so on.",
            )
        labels = [classes[int(n.group(1)) - 1] for n in numbers if n]
    else:
        table = {Path(row[0]).stem: row[1] for row in rows if len(row) > 1}
        missing = [path.name for path in paths if path.stem not in table]
        if missing:
            raise DataError(f"{ground_truth} says nothing of {missing[0]}.", "Check the file.")
        labels = [_class_index(table[path.stem], ground_truth) for path in paths]
    return LabelledImages(folder, tuple(paths), tuple(labels))


def _class_index(word: str, where: Path) -> int:
    """A class by its wnid or its index in Keras' order."""
    if _WNID.fullmatch(word):
        for i, (wnid, _) in enumerate(_imagenet.classes()):
            if wnid == word:
                return i
    if word.isdigit() and int(word) < len(_imagenet.classes()):
        return int(word)
    raise DataError(f"{where} names an unknown class {word!r}.", "Use wnids or indices 0 to 999.")


def _devkit_order(ground_truth: Path) -> dict[int, int]:
    """The development kit counts classes in an order of its own, told by its meta.mat."""
    meta = ground_truth.with_name("meta.mat")
    if not meta.is_file():
        raise DataError(
            f"{ground_truth} counts classes as the ILSVRC2012 development kit does, and meta.mat, "
            "which tells that order, is not beside it.",
            "Copy meta.mat from the kit's data folder there, or give a file with names and wnids.",
        )
    registry.require_packages(("scipy",), "export", "Reading meta.mat")
    from scipy.io import loadmat

    index = {wnid: i for i, (wnid, _) in enumerate(_imagenet.classes())}
    synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
    return {
        int(entry["ILSVRC2012_ID"]): index[str(entry["WNID"])]
        for entry in synsets
        if str(entry["WNID"]) in index
    }
