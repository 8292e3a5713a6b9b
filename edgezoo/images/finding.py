"""The images of a place: a folder, or a tar, zip or parquet file, whatever they are used for."""

from __future__ import annotations

from pathlib import Path, PurePath

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.files import not_a_folder
from edgezoo.images import folders, samples, shards
from edgezoo.images.shards import Member

CLASS_SUFFIX = ".cls"
Image = Path | Member
Texts = dict[tuple[Path, str], bytes]  # of .cls files, by tar file and sample


def image_files(place: Path) -> list[Path]:
    """Return the image files of a folder, or its tar, zip and parquet files if there are none.

    Raises:
        DataError: there is no such folder or file.
        RefusedError: the public samples were given.
    """
    if place.is_dir():
        return list(folders.walk(place).images) or shards.find(place)
    if place.is_file() and shards.is_shard(place):
        return [place]
    if place == Path(samples.WORD):
        raise RefusedError(
            "The public samples resemble the training images: accuracy on them says little.",
            "Give --images other labelled images; the samples are for --calibration samples.",
        )
    kinds = ", ".join(shards.SUFFIXES)
    raise not_a_folder(place, f"Give a folder of images, or a file of them ({kinds}).")


def read(files: list[Path]) -> tuple[list[Image], Texts]:
    """Return the images, listed from tar files, and the texts of .cls files."""
    images: list[Image] = []
    texts: Texts = {}
    for file in files:
        if not shards.is_shard(file):
            images.append(file)
            continue
        for member, text in shards.members(file, CLASS_SUFFIX):
            if member.suffix == CLASS_SUFFIX:
                texts[file, member.sample] = text
            elif is_image(member):
                images.append(member)
    return images, texts


def is_image(member: Member) -> bool:
    """Return whether a member is an image that no system made for itself, by its name."""
    shown = not any(folders.hidden(name) for name in (*member.parent.parts, member.name))
    return member.suffix.lower() in folders.IMAGE_SUFFIXES and shown


def is_place(place: Path) -> bool:
    """Return whether a path is a folder, or a file that contains images."""
    return place.is_dir() or (place.is_file() and shards.is_shard(place))


def parent_of(image: Image, place: Path) -> PurePath:
    """Return the folder of an image, relative to its place."""
    return image.parent if isinstance(image, Member) else image.relative_to(place).parent


def name_of(image: Image, place: Path) -> str:
    """Return the name of an image, relative to its place."""
    if isinstance(image, Member):
        return image.inner if image.tar == place else f"{image.tar.name}/{image.inner}"
    return image.relative_to(place).as_posix()


def one_part(place: Path, option: str) -> list[Image]:
    """Return all images of a place, which must not be several parts of a data set.

    Args:
        place: a folder or file of images.
        option: that named it, for the hint.

    Raises:
        DataError: there are none.
        UsageError: they are parts such as train and val.
    """
    images, _ = read(image_files(place))
    if not images:
        hint = "Endings such as .jpg and .png are looked for, nested too."
        raise DataError(f"{place} contains no images.", hint)
    folders.require_one_part(place, (parent_of(image, place) for image in images), option)
    return images
