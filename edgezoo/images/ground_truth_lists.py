"""Ground-truth files for images without a folder per class, and the names of classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, interpreting, words_of
from edgezoo.core.files import read_limited
from edgezoo.images import imagenet_classes
from edgezoo.images.shards import Member

_KIT = "ILSVRC2012_validation_ground_truth.txt"
_NAMES = (_KIT, "LOC_val_solution.csv", "val.txt", "ground_truth.txt")
_NUMBERED = re.compile(r"_(\d{8})\.", re.IGNORECASE)
_ORDER = "meta.mat"
_LARGEST = 256 << 20  # ImageNet's has 2 MB
# Longer numbers are not indices, and Python refuses to parse the longest.
_INDEX = re.compile(r"[0-9]{1,9}")
_GAP = re.compile(r"[\s,]+")


def find(folder: Path) -> Path | None:
    """Return the ground-truth file with a usual name, in a flat folder or next to it."""
    places = [place / name for place in (folder, folder.parent) for name in _NAMES]
    return next((path for path in places if path.is_file()), None)


def class_names(contract: InputContract) -> dict[str, int]:
    """Return folder names by class: wnids for ImageNet's 1000, and unique labels."""
    counts = Counter(contract.labels)  # ImageNet has two cranes and two maillots
    names = {label: i for i, label in enumerate(contract.labels) if counts[label] == 1}
    if contract.classes == len(imagenet_classes.classes()):
        names |= {wnid: i for i, (wnid, _) in enumerate(imagenet_classes.classes())}
    return names


def files(ground_truth: Path) -> tuple[Path, ...]:
    """Return a list and, for the development kit's list of numbers, the meta.mat next to it.

    Raises:
        DataError: the list cannot be read, or is empty.
    """
    order = ground_truth.with_name(_ORDER)
    needed = _counts(_rows(ground_truth)) and order.is_file()
    return (ground_truth, order) if needed else (ground_truth,)


def _rows(ground_truth: Path) -> dict[int, str]:
    """Return the lines of a list that are not empty, by line number."""
    try:
        lines = read_limited(ground_truth, _LARGEST).decode("utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{ground_truth} cannot be read: {words_of(error)}.", "Give another --ground-truth."
        ) from error
    rows = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not rows:
        raise DataError(
            f"{ground_truth}, which should list the classes of the images, is empty.",
            "Write one `file class` per line, or give another --ground-truth.",
        )
    return rows


def _counts(rows: dict[int, str]) -> bool:
    """Whether this is the development kit's list: one number per line."""
    return all(_INDEX.fullmatch(line) for line in rows.values())


def labels(
    folder: Path, paths: Sequence[Path | Member], ground_truth: Path, contract: InputContract
) -> tuple[int, ...]:
    """Return the classes of flat images, by file name or by the number in it.

    Args:
        folder: of the images, for messages.
        paths: of the images.
        ground_truth: `file class` lines, Kaggle's table, or the development kit's list.
        contract: has the number of classes and their names.

    Raises:
        DataError: the list cannot be read, or has unknown classes.
    """
    rows = _rows(ground_truth)
    if _counts(rows):
        return _by_number(folder, paths, ground_truth, rows, contract)
    table = {}
    for line in rows.values():
        name, *rest = _GAP.split(line, maxsplit=1)
        if rest:
            table[Path(name).stem] = rest[0]
    missing = [path.name for path in paths if path.stem not in table]
    if missing:
        raise DataError(f"{ground_truth} does not list {missing[0]}.", "Check the file.")
    names = class_names(contract)
    return tuple(class_index(table[p.stem], ground_truth, names, contract) for p in paths)


def class_index(
    text: str, where: Path | Member, names: dict[str, int], contract: InputContract
) -> int:
    """Read an index, a wnid or a label, which may contain blanks; Kaggle adds bounding boxes.

    Raises:
        DataError: it is none of them.
    """
    word = _GAP.split(text)[0]
    if _INDEX.fullmatch(word) and int(word) < contract.classes:
        return int(word)
    for name in (text, word):
        if name in names:
            return names[name]
    wnids = "wnids, " if contract.classes == len(imagenet_classes.classes()) else ""
    raise DataError(
        f"{where} lists {word!r}, which is not a class of the model.",
        f"Use {wnids}the model's labels, or indices 0 to {contract.classes - 1}.",
    )


def _by_number(
    folder: Path,
    paths: Sequence[Path | Member],
    ground_truth: Path,
    rows: dict[int, str],
    contract: InputContract,
) -> tuple[int, ...]:
    """Read the development kit's list, in which line n is the class of image n."""
    known = len(imagenet_classes.classes())
    if contract.classes != known:
        raise DataError(
            f"{ground_truth} numbers the {known} classes of ImageNet, and the model "
            f"has {contract.classes} other classes.",
            "Give a list with one `file class` per line.",
        )
    order = _devkit_order(ground_truth)
    classes = []
    for number, line in rows.items():
        if int(line) not in order:
            raise DataError(
                f"{ground_truth} has class {line} in line {number}; the development kit counts "
                f"from {min(order)} to {max(order)}.",
                "Use the kit's own list, or give a file with names and wnids.",
            )
        classes.append(order[int(line)])
    numbers = [_NUMBERED.search(path.name) for path in paths]
    if any(n is None or not 1 <= int(n.group(1)) <= len(classes) for n in numbers):
        raise DataError(
            f"{ground_truth} lists classes by image number, and some files in {folder} have "
            "no such number in their name.",
            "Keep the names ILSVRC2012_val_00000001.JPEG and so on.",
        )
    return tuple(classes[int(n.group(1)) - 1] for n in numbers if n)


def _devkit_order(ground_truth: Path) -> dict[int, int]:
    """Read the class order of the development kit (ILSVRC2012_ID) from its meta.mat."""
    meta = ground_truth.with_name(_ORDER)
    if not meta.is_file():
        raise DataError(
            f"{ground_truth} numbers classes as the ILSVRC2012 development kit does, and meta.mat, "
            "which has that order, is not next to it.",
            "Copy meta.mat from the kit's data folder there, or give a file with names and wnids.",
        )
    registry.require_packages(("scipy",), "export", "Reading meta.mat")
    from scipy.io import loadmat

    index = {wnid: i for i, (wnid, _) in enumerate(imagenet_classes.classes())}
    with interpreting(meta):
        synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
        numbers = {str(entry["WNID"]): int(entry["ILSVRC2012_ID"]) for entry in synsets}
        order = {numbers[wnid]: place for wnid, place in index.items() if wnid in numbers}
    if not order:
        raise DataError(f"{meta} has no class of ImageNet.", "Use the development kit's own.")
    return order
