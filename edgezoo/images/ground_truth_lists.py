"""Ground-truth files for images without a folder per class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core import lfs, registry
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, interpreting, words_of
from edgezoo.core.files import decoded, read_limited
from edgezoo.images import imagenet_classes
from edgezoo.images.class_names import INDEX, ClassNames
from edgezoo.images.shards import Member

_KIT = "ILSVRC2012_validation_ground_truth.txt"
# The last one is Tiny-ImageNet's.
_NAMES = (_KIT, "LOC_val_solution.csv", "val.txt", "ground_truth.txt", "val_annotations.txt")
_NUMBERED = re.compile(r"_(\d{8})\.", re.IGNORECASE)
_ORDER = "meta.mat"
_LARGEST = 256 << 20  # ImageNet's has 2 MB
_GAP = re.compile(r"[\s,]+")
_AND = re.compile(r"[,;|]")  # between the classes of one image


def find(folder: Path) -> Path | None:
    """Return the ground-truth file with a usual name, in a flat folder or next to it."""
    places = [place / name for place in (folder, folder.parent) for name in _NAMES]
    return next((path for path in places if path.is_file()), None)


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
    lfs.require_content(ground_truth)
    try:
        lines = decoded(read_limited(ground_truth, _LARGEST)).split("\n")
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
    return all(INDEX.fullmatch(line) for line in rows.values())


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of images, in their order.

    Attributes:
        numbered: they are read from numbers, which may have been counted from 1.
        remark: what was noticed, as a sentence.
        every: all classes of each image, where they do not exclude one another; `labels` has the
            first of each then, -1 for none. Empty elsewhere.
    """

    labels: tuple[int, ...]
    numbered: bool = False
    remark: str | None = None
    every: tuple[tuple[int, ...], ...] = ()


def labels(
    folder: Path, paths: Sequence[Path | Member], ground_truth: Path, contract: InputContract
) -> Classes:
    """Return the classes of flat images, by file name or by the number in it.

    Args:
        folder: of the images, for messages.
        paths: of the images.
        ground_truth: `file class` lines, Kaggle's table, or the development kit's list. For
            classes that do not exclude one another, `file class,class,…` lines.
        contract: has the number of classes and their names.

    Raises:
        DataError: the list cannot be read, or has unknown classes.
    """
    rows = _rows(ground_truth)
    if _counts(rows):
        return Classes(_by_number(folder, paths, ground_truth, rows, contract))
    table = {}
    for line in rows.values():
        name, *rest = _GAP.split(line, maxsplit=1)
        if rest or contract.multi_label:
            rest = rest or [""]  # an image of no class
            table[Path(name).stem] = rest[0]
    missing = [path.name for path in paths if path.stem not in table]
    if missing:
        raise DataError(f"{ground_truth} does not list {missing[0]}.", "Check the file.")
    texts = [(table[p.stem], ground_truth) for p in paths]
    return _sets(texts, contract) if contract.multi_label else read_classes(texts, contract)


def _sets(texts: Sequence[tuple[str, Path]], contract: InputContract) -> Classes:
    """Read all classes of each image, for networks whose classes do not exclude one another."""
    names = ClassNames(contract)
    every = tuple(
        tuple(class_index(word.strip(), where, names) for word in _AND.split(text) if word.strip())
        for text, where in texts
    )
    return Classes(tuple(found[0] if found else -1 for found in every), every=every)


def read_classes(texts: Sequence[tuple[str, Path | Member]], contract: InputContract) -> Classes:
    """Read the class of each image from its text, with the place of that text for messages.

    Numbers from 1 to the number of classes, and no 0, are counted from 1.

    Raises:
        DataError: a text is neither an index nor a wnid nor a label.
    """
    names = ClassNames(contract)
    words = [_GAP.split(text.strip())[0] for text, _ in texts]
    numbered = all(INDEX.fullmatch(word) for word in words)
    numbers = sorted(set(map(int, words))) if numbered else []
    if len(numbers) > 1 and numbers[0] >= 1 and numbers[-1] == contract.classes:
        remark = f"{texts[0][1]} counts classes from 1 to {contract.classes}, and was read so."
        return Classes(tuple(int(word) - 1 for word in words), False, remark)
    found = tuple(class_index(text, where, names) for text, where in texts)
    return Classes(found, bool(numbers) and numbers[0] >= 1)


def class_index(text: str, where: Path | Member, names: ClassNames) -> int:
    """Read an index, a wnid or a label, which may contain blanks; Kaggle adds bounding boxes.

    Raises:
        DataError: it is none of them.
    """
    word = _GAP.split(text)[0]
    for found in (names.by_index(word), names.find(text), names.find(word)):
        if found is not None:
            return found
    wnids = "wnids, " if names.has_wnids else ""
    raise DataError(
        f"{where} lists {word!r}, which is not a class of the model.",
        f"Use {wnids}the model's labels, or indices 0 to {names.count - 1}.",
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
