"""Top-1 and top-5 on labelled images, with an interval, and agreement with a reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from edgezoo import registry
from edgezoo.artifact import InputContract
from edgezoo.errors import DataError, UsageError
from edgezoo.inference import open_artifact, predict
from edgezoo.models import _imagenet
from edgezoo.preprocessing import find_images, load_pixels, recipe_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_UNREADABLE = 0.10
_GROUND_TRUTH_NAMES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "ground_truth.txt",
)
_NUMBERED = re.compile(r"_(\d{8})\.", re.IGNORECASE)
_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Image files with the index of their class."""

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def interval95(successes: int, n: int) -> tuple[float, float]:
    """Wilson score interval of a share (E. B. Wilson, JASA 22, 1927)."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def find_labelled(
    folder: Path, contract: InputContract, ground_truth: Path | None = None
) -> LabelledImages:
    """Find images and their classes.

    Args:
        folder: a folder a class (named by wnid or by the model's labels), or a flat ILSVRC2012
            validation folder.
        contract: tells how many classes there are and what they are called.
        ground_truth: the classes of a flat folder: `file class` a line (index or wnid), Kaggle's
            LOC_val_solution.csv, or the development kit's list of numbers.

    Raises:
        DataError: no images, or classes that are not the model's.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", "Give --images a folder of images.")
    paths = find_images(folder)
    if not paths:
        raise DataError(f"{folder} holds no images.", "Endings such as .jpg and .png count.")
    if ground_truth is None and not any(path.parent == folder for path in paths):
        return _by_folder(folder, paths, contract)
    if ground_truth is None:
        candidates = [place / name for place in (folder, folder.parent) for name in
                      _GROUND_TRUTH_NAMES]  # fmt: skip
        ground_truth = next((path for path in candidates if path.is_file()), None)
    if ground_truth is None:
        raise DataError(
            f"{folder} is flat and has no ground truth beside it.",
            "Give --ground-truth FILE, or sort the images into a folder a class.",
        )
    return _by_file(folder, paths, ground_truth)


def _class_names(contract: InputContract) -> dict[str, int]:
    """Folder names that stand for a class: wnids for ImageNet's 1000, and unique labels."""
    counts = Counter(contract.labels)  # ImageNet has two cranes and two maillots
    names = {label: i for i, label in enumerate(contract.labels) if counts[label] == 1}
    if contract.classes == len(_imagenet.classes()):
        names |= {wnid: i for i, (wnid, _) in enumerate(_imagenet.classes())}
    return names


def _by_folder(folder: Path, paths: list[Path], contract: InputContract) -> LabelledImages:
    names = _class_names(contract)
    unknown = sorted({path.parent.name for path in paths} - names.keys())
    if unknown:
        raise DataError(
            f"{folder} has folders that are no class of the model: {', '.join(unknown[:5])}"
            f"{' …' if len(unknown) > 5 else ''}.",
            "Name each folder by its wnid (n01440764) or by the model's label.",
        )
    return LabelledImages(folder, tuple(paths), tuple(names[path.parent.name] for path in paths))


def _by_file(folder: Path, paths: list[Path], ground_truth: Path) -> LabelledImages:
    """Flat folder: from a table by file name, or from the development kit's list by number."""
    try:
        lines = ground_truth.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{ground_truth} cannot be read: {error}.") from error
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


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores of the readable images, and their classes."""

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    unreadable: int


def _score(
    images: LabelledImages,
    contract: InputContract,
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    progress: Callable[[int], None],
) -> _Scores:
    """Decode and run image by image, so that any number of them takes the same memory."""
    import numpy as np

    rows, labels, unreadable = [], [], 0
    for path, label in zip(images.paths, images.labels, strict=True):
        try:
            pixels = load_pixels(path, contract.input_size, contract.crop_fraction)
        except DataError:
            unreadable += 1
        else:
            rows.append(run(pixels[None])[0])
            labels.append(label)
        progress(1)
    if unreadable > MAX_UNREADABLE * len(images.paths):
        raise DataError(
            f"{unreadable} of {len(images.paths)} files in {images.root} are not readable images.",
            "Up to a tenth is skipped; check the folder.",
        )
    return _Scores(np.stack(rows), np.asarray(labels), unreadable)


def evaluate(
    artifacts: Iterable[Path | str],
    images: Path | str,
    *,
    ground_truth: Path | str | None = None,
    reference: Path | str | None = None,
    limit: int | None = None,
    threads: int = 1,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Top-1, top-5 and their agreement with a reference.

    Args:
        artifacts: files to score.
        images: see `find_labelled`.
        ground_truth: see `find_labelled`.
        reference: an artifact whose top-1 the others are compared with.
        limit: score only this many images, spread evenly over the sorted list.
        threads: of the runtime.
        preprocessing, labels: for files that carry no contract.
        progress: called with 1 after each image.

    Returns:
        {"results": [...]} as `edgezoo evaluate --json` prints it; shares, not percent.
    """
    import numpy as np

    def score(path: Path | str) -> tuple[dict[str, Any], _Scores]:
        artifact, session = open_artifact(
            path, preprocessing=preprocessing, labels=labels, threads=threads
        )
        contract = artifact.required_contract()
        truth = Path(ground_truth) if ground_truth is not None else None
        found = _thin(find_labelled(Path(images), contract, truth), limit)
        with session:
            scores = _score(found, contract, lambda p: predict(session, contract, p), progress)
        return _result(artifact.path, contract, scores), scores

    standard = score(reference)[1] if reference is not None else None
    results = []
    for path in artifacts:
        result, scores = score(path)
        if standard is not None:
            if standard.values.shape != scores.values.shape:
                raise UsageError(
                    f"{reference} and {path} have different numbers of classes.",
                    "Compare files of one model.",
                )
            same = standard.values.argmax(1) == scores.values.argmax(1)
            result["agreement_top1"] = float(np.mean(same))
            result["reference"] = str(reference)
        results.append(result)
    return {"results": results}


def _thin(images: LabelledImages, limit: int | None) -> LabelledImages:
    if limit is None or limit >= len(images.paths):
        return images
    picks = [i * len(images.paths) // limit for i in range(limit)]
    return LabelledImages(
        images.root,
        tuple(images.paths[i] for i in picks),
        tuple(images.labels[i] for i in picks),
    )


def _result(path: Path, contract: InputContract, scores: _Scores) -> dict[str, Any]:
    import numpy as np

    n = len(scores.labels)
    order = np.argsort(-scores.values, axis=1, kind="stable")[:, :5]
    hits = order == scores.labels[:, None]
    first, five = int(hits[:, 0].sum()), int(hits.any(1).sum())
    runtime = registry.runtime_for(path)
    return {
        "artifact": str(path),
        "runtime": runtime.version(),
        "device": "cpu",
        "images": n,
        "unreadable": scores.unreadable,
        "top1": first / n,
        "top5": five / n,
        "top1_ci95": list(interval95(first, n)),
        "top5_ci95": list(interval95(five, n)),
        "agreement_top1": None,
        "reference": None,
        "trained": contract.weights.trained,
        "preprocessing": recipe_hash(contract.input_size, contract.crop_fraction),
    }
