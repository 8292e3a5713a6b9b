"""Labelled images: a folder per class, a flat folder with a ground-truth file, or tar files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.files import not_a_folder
from edgezoo.images import ground_truth_lists, samples, shards
from edgezoo.images.preprocessing import IMAGE_SUFFIXES, find_images
from edgezoo.images.shards import Member

T = TypeVar("T")
_CLASS_SUFFIX = ".cls"


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with the index of their class; `paths` are files, or members of tar files."""

    root: Path
    paths: tuple[Path | Member, ...]
    labels: tuple[int, ...]

    def thinned(self, limit: int | None) -> LabelledImages:
        """Return at most `limit` images, evenly spread over all of them."""
        return LabelledImages(self.root, _thin(self.paths, limit), _thin(self.labels, limit))


def _thin(items: tuple[T, ...], limit: int | None) -> tuple[T, ...]:
    if limit is None or limit >= len(items):
        return items
    return tuple(items[i * len(items) // limit] for i in range(limit))


def image_files(place: Path) -> list[Path]:
    """Return the image files of a folder, or its tar files if there are none; sorted.

    Raises:
        DataError: there is no such folder or tar file.
        RefusedError: the public samples were given.
    """
    if place.is_dir():
        return find_images(place) or shards.find(place)
    if place.is_file() and place.suffix == shards.SUFFIX:
        return [place]
    if place == Path(samples.WORD):
        raise RefusedError(
            "The public samples resemble the training images: accuracy on them says little.",
            "Give --images other labelled images; the samples are for --calibration samples.",
        )
    raise not_a_folder(place, "Give --images a folder of images, or a .tar file.")


def wanted_files(
    place: Path, ground_truth: Path | None, limit: int | None
) -> tuple[tuple[Path, ...], Path | None]:
    """Return the image or tar files that `finder` would read, and their ground-truth file.

    Raises:
        DataError: there is no such folder or tar file.
    """
    paths = image_files(place)
    in_tars = any(path.suffix == shards.SUFFIX for path in paths)
    ground_truth = ground_truth or _list_of(place, paths)
    return tuple(paths) if in_tars else _thin(tuple(paths), limit), ground_truth


def _list_of(place: Path, paths: Sequence[Path]) -> Path | None:
    """Return the ground-truth file that `find_labelled` would use; None if it needs none."""
    if not any(path.suffix == shards.SUFFIX for path in paths):
        flat = any(path.parent == place for path in paths)
        return ground_truth_lists.find(place) if flat else None
    found = [member for tar in paths for member, _ in shards.members(tar, _CLASS_SUFFIX)]
    has_classes = any(member.suffix == _CLASS_SUFFIX for member in found)
    in_folders = all(member.parent.name for member in found if _is_image(member))
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
    tars = [path for path in paths if path.suffix == shards.SUFFIX]
    if not tars:
        return len(paths)
    return sum(_is_image(member) for tar in tars for member, _ in shards.members(tar, ""))


def _is_image(member: Member) -> bool:
    return member.suffix.lower() in IMAGE_SUFFIXES and not member.name.startswith(".")


def finder(
    place: Path, ground_truth: Path | None, limit: int | None
) -> Callable[[InputContract], LabelledImages]:
    """Return `find_labelled` with a limit and a cache for files of the same classes.

    Listing a tar file of 50,000 images takes seconds, and every file of a comparison needs it.
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
        place: a folder per class (named by wnid or label), a flat ILSVRC2012 validation folder,
            or the same in tar files: WebDataset's shards with a .cls file for each image,
            ILSVRC2012_img_val.tar, or a tar file with a folder per class.
        contract: has the number of classes and their names.
        ground_truth: the classes of flat images: `file class` lines (index, wnid or label),
            Kaggle's LOC_val_solution.csv, or the development kit's list of numbers.

    Raises:
        DataError: there are no images, or classes that are not the model's.
    """
    images, texts = _read_images(image_files(place))
    if not images:
        raise DataError(f"{place} contains no images.", "Images end in .jpg, .png and so on.")
    if ground_truth is None and texts:
        names = ground_truth_lists.class_names(contract)
        labels = tuple(_read_class(image, texts, names, contract) for image in images)
        return LabelledImages(place, tuple(images), labels)
    flat = any(image.parent == place or not image.parent.name for image in images)
    if ground_truth is None and not flat:
        return _by_folder(place, images, contract)
    ground_truth = ground_truth or ground_truth_lists.find(place)
    if ground_truth is None:
        raise DataError(
            f"{place} does not contain the classes of its images.",
            "Give --ground-truth FILE, a folder per class, or in tar files a .cls for each image.",
        )
    labels = ground_truth_lists.labels(place, images, ground_truth, contract)
    return LabelledImages(place, tuple(images), labels)


def _read_images(files: list[Path]) -> tuple[list[Path | Member], dict[tuple[Path, str], bytes]]:
    """Return the images, listed from tar files, and the texts of .cls files by tar and sample."""
    images: list[Path | Member] = []
    texts: dict[tuple[Path, str], bytes] = {}
    for file in files:
        if file.suffix != shards.SUFFIX:
            images.append(file)
            continue
        for member, text in shards.members(file, _CLASS_SUFFIX):
            if member.suffix == _CLASS_SUFFIX:
                texts[file, member.sample] = text
            elif _is_image(member):
                images.append(member)
    return images, texts


def _read_class(
    image: Path | Member,
    texts: dict[tuple[Path, str], bytes],
    names: dict[str, int],
    contract: InputContract,
) -> int:
    """Read the class in a .cls file: an index, a wnid or a label."""
    text = texts.get((image.tar, image.sample)) if isinstance(image, Member) else None
    if text is None:
        raise DataError(f"{image} has no {_CLASS_SUFFIX} file.", "Other images there have one.")
    word = text.decode("utf-8", "replace").strip()
    return ground_truth_lists.class_index(word, image, names, contract)


def _by_folder(
    folder: Path, paths: Sequence[Path | Member], contract: InputContract
) -> LabelledImages:
    names = ground_truth_lists.class_names(contract)
    unknown = sorted({path.parent.name for path in paths} - names.keys())
    if unknown:
        raise DataError(
            f"{folder} has folders that are not classes of the model: {', '.join(unknown[:5])}"
            f"{' …' if len(unknown) > 5 else ''}.",
            "Name each folder by its wnid (n01440764) or by the model's label.",
        )
    return LabelledImages(folder, tuple(paths), tuple(names[path.parent.name] for path in paths))
