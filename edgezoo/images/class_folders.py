"""Which folder of an image names its class, and which class that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from edgezoo.core.errors import DataError
from edgezoo.images import folders
from edgezoo.images.class_names import INDEX, ClassNames, LabelsFrom
from edgezoo.images.ground_truth_lists import Classes

_SHOWN = 5


def classes(
    root: Path, parents: Sequence[PurePath], names: ClassNames, labels_from: LabelsFrom | None
) -> tuple[Classes, tuple[str, ...]]:
    """Return the classes of images in folders, and what a user should know of them.

    Args:
        root: of the images, for messages.
        parents: the folder of each image, relative to the root; none names no class at all.
        names: of the model's classes.
        labels_from: see `find_labelled`.

    Raises:
        DataError: folders that are not classes of the model.
    """
    if labels_from == "folders":
        return Classes(_by_position(root, parents, names.count)), ()
    remarks: tuple[str, ...] = ()
    lookup = {"index": names.by_index, "wnid": names.by_wnid, None: names.find}[labels_from]
    found = _found(parents, lookup)
    if labels_from is None and all(_is_number(parent) for parent in parents if not found[parent]):
        numbers = _found(parents, names.by_index)
        if any(found[parent] is None for parent in found):
            found = {parent: found[parent] or numbers[parent] for parent in found}
            remarks = (f"Folders of {root} are named by numbers, read as the model's outputs.",)
    _require_known(root, found, names, labels_from)
    _require_from_0(root, found, names)
    known = {parent: place for parent, place in found.items() if place is not None}
    labels = tuple(known[parent][1] for parent in parents)
    return Classes(labels), (*remarks, *_in_two_places(known))


Place = tuple[PurePath, int]  # the folder that names the class, and the class


def _found(
    parents: Sequence[PurePath], lookup: Callable[[str], int | None]
) -> dict[PurePath, Place | None]:
    """Return the deepest folder that names a class, and that class."""

    def deepest(parent: PurePath) -> Place | None:
        for folder in (parent, *parent.parents):
            index = lookup(folder.name) if folder.name else None
            if index is not None:
                return folder, index
        return None

    return {parent: deepest(parent) for parent in dict.fromkeys(parents)}


def _class_name(parent: PurePath) -> str:
    """Return the folder that should name a class: the deepest that is not one like "images"."""
    named = [name for name in parent.parts if name.lower() not in folders.PLAIN]
    return named[-1] if named else parent.name


def _is_number(parent: PurePath) -> bool:
    return INDEX.fullmatch(_class_name(parent)) is not None


def _require_known(
    root: Path,
    found: dict[PurePath, Place | None],
    names: ClassNames,
    labels_from: LabelsFrom | None,
) -> None:
    unknown = sorted({_class_name(parent) for parent, place in found.items() if place is None})
    if not unknown:
        return
    numbers = [int(name) for name in unknown if INDEX.fullmatch(name)]
    if numbers == [names.count] and labels_from != "wnid":
        raise DataError(
            f"{root} has a folder {names.count}, and the model's outputs count from 0 to "
            f"{names.count - 1}: its folders seem to count from 1.",
            "Rename the folders by wnid or by the model's labels.",
        )
    how = {"index": "its number", "wnid": "its wnid (n01440764)"}.get(
        labels_from or "", "its wnid (n01440764) or by the model's label"
    )
    hint = f"Name each folder by {how}"
    if labels_from is None and len(found) == names.count:
        hint += ", or say --labels-from folders where their order is that of the outputs"
    raise DataError(
        f"{root} has folders that are not classes of the model: {', '.join(unknown[:_SHOWN])}"
        f"{' …' if len(unknown) > _SHOWN else ''}.",
        f"{hint}.",
    )


def _require_from_0(root: Path, found: dict[PurePath, Place | None], names: ClassNames) -> None:
    """Refuse numbers from 1 to the number of classes, of which all but the last would fit."""
    used = {place[0].name for place in found.values() if place is not None}
    if names.count > 1 and used == {str(number) for number in range(1, names.count + 1)}:
        raise DataError(
            f"The folders of {root} count from 1 to {names.count}, and the outputs from 0.",
            "Rename the folders by wnid or by the model's labels.",
        )


def _by_position(root: Path, parents: Sequence[PurePath], count: int) -> tuple[int, ...]:
    """Return the place of each image's folder among all, sorted as Keras and torchvision do."""
    names = sorted({parent.parts[0] for parent in parents})
    if len(names) != count:
        raise DataError(
            f"{root} has {len(names)} folders of classes, and the model has {count} classes.",
            "--labels-from folders needs a folder for each class.",
        )
    return tuple(names.index(parent.parts[0]) for parent in parents)


def _in_two_places(found: dict[PurePath, Place]) -> tuple[str, ...]:
    """Return a sentence on classes whose images lie in several folders."""
    places: dict[int, set[PurePath]] = defaultdict(set)
    for folder, index in found.values():
        places[index].add(folder)
    several = [sorted(map(str, found)) for found in places.values() if len(found) > 1]
    if not several:
        return ()
    first = ", ".join(several[0][:_SHOWN])
    more = f", and so for {len(several) - 1} other classes" if len(several) > 1 else ""
    return (f"The images of {first} count as one class{more}.",)
