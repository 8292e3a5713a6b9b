"""Which preprocessing and resize a file was trained with: all are tried on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import EdgeZooError, RefusedError, UsageError, counted
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.protocols import Session
from edgezoo.core.sequences import PathLike, path
from edgezoo.core.spec import NORMALIZATIONS, RESIZE_MODES, ResizeMode
from edgezoo.core.typed_json import JsonObject, Positive, Share
from edgezoo.evaluation import drop
from edgezoo.evaluation.accuracy import EvaluateResult
from edgezoo.images import labelled
from edgezoo.images.preprocessing import load_many, require_readable
from edgezoo.inference.predict import open_as_stated, predict, require_classes

IMAGES = 200
_SWAPPED = ("unit", "tf", "torch", "raw")  # "caffe" is blue, green, red already


@dataclass(frozen=True, slots=True)
class Tried:
    """The accuracy with one preprocessing and resize.

    Attributes:
        options: as commands take them
        fits: it is the best, or cannot be told from it on these images
        same_as: the resize that makes the same pixels of these images
        top1_ci95: Wilson interval
    """

    options: str
    preprocessing: str
    bgr: bool
    resize: ResizeMode
    top1: Share
    top1_ci95: tuple[Share, Share]
    fits: bool
    same_as: ResizeMode | None


@dataclass(frozen=True, slots=True)
class FindResult(JsonObject):
    """Every preprocessing and resize on the same images.

    Attributes:
        images: that were scored
        tried: best first
        left_out: what was not tried, and why
        verdict: which one fits, as a sentence
    """

    artifact: Path
    images: Positive
    tried: tuple[Tried, ...]
    left_out: tuple[str, ...]
    verdict: str


Printed = EvaluateResult | FindResult


@dataclass(frozen=True, slots=True)
class _Run:
    """Which images a combination classifies correctly, shape (images,)."""

    preprocessing: str
    bgr: bool
    resize: ResizeMode
    right: NDArray[np.bool_]
    same_as: ResizeMode | None

    @property
    def options(self) -> str:
        mode = "none" if self.preprocessing == "raw" else self.preprocessing
        swapped = " --bgr" if self.bgr else ""
        return f"--preprocessing {mode}{swapped} --resize {self.resize}"


def find_preprocessing(
    artifact: PathLike,
    images: PathLike,
    *,
    ground_truth: PathLike | None = None,
    labels: PathLike | None = None,
    input_size: Size | None = None,
    head: str | None = None,
    output_name: str | None = None,
    limit: int | None = None,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    trust: bool = False,
    progress: Callable[[int], None] = lambda n: None,
) -> FindResult:
    """Try every preprocessing and resize of a file without a contract on labelled images.

    Args:
        artifact: the file.
        images, ground_truth: see `evaluate`.
        labels, input_size, head, output_name: see `open_artifact`.
        limit: images to try, spread evenly over the folder; 200 by default.
        device, runtime, threads, trust: see `open_artifact`.
        progress: called with the number of combinations that are done.

    Raises:
        UsageError: the file has a contract, which states its preprocessing.
        DataError: no image can be read, or they have classes that are not the file's.
    """
    plain = InputOptions(
        "raw", resize="stretch", input_size=input_size, labels=labels, head=head,
        output_name=output_name,
    )  # fmt: skip
    known = labelled.finder(Path(images), path(ground_truth), limit or IMAGES)
    runs, left_out = list[_Run](), list[str]()
    decoded: _Decoded | None = None
    for mode, bgr in _modes():
        stated = replace(plain, preprocessing=mode, bgr=bgr)
        try:
            opened, session = open_as_stated(artifact, stated, device, runtime, threads, trust)
        except (RefusedError, UsageError) as error:
            if "carries its own" in error.message:
                raise
            left_out.append(f"{mode}{' with --bgr' if bgr else ''}: {error.message}")
            continue
        with session:
            require_classes(opened)
            contract = opened.required_contract()
            decoded = decoded or _decode(known(contract), contract)
            runs += _runs(opened, session, decoded, mode, bgr)
        progress(1)
    if decoded is None:
        raise _first_reason(left_out, artifact)
    return _result(Path(artifact), runs, left_out)


def _first_reason(left_out: list[str], artifact: PathLike) -> EdgeZooError:
    return RefusedError(
        f"No preprocessing can be tried on {artifact}: {left_out[0]}", "Check the file."
    )


def _modes() -> Iterator[tuple[str, bool]]:
    yield from ((mode, False) for mode in NORMALIZATIONS)
    yield from ((mode, True) for mode in _SWAPPED)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Images by resize, each uint8 (n, height, width, channels), and their classes."""

    pixels: dict[ResizeMode, NDArray[np.uint8]]
    same_as: dict[ResizeMode, ResizeMode]
    classes: NDArray[np.int64]


def _decode(found: labelled.LabelledImages, contract: InputContract) -> _Decoded:
    pixels: dict[ResizeMode, NDArray[np.uint8]] = {}
    same_as: dict[ResizeMode, ResizeMode] = {}
    classes = np.asarray(found.labels, np.int64)
    readable = np.ones(len(classes), np.bool_)
    for mode in RESIZE_MODES:
        how = InputOptions(resize=mode).resized(contract.resize)
        assert how is not None
        rows = [values for _, values in load_many(found.paths, contract.frame, how)]
        readable = np.asarray([values is not None for values in rows])
        pixels[mode] = np.stack([values for values in rows if values is not None])
        for other, before in pixels.items():
            if other != mode and np.array_equal(before, pixels[mode]):
                same_as[mode] = other
                break
    require_readable(int((~readable).sum()), len(readable), found.root)
    return _Decoded(pixels, same_as, classes[readable])


def _runs(
    opened: Artifact, session: Session, decoded: _Decoded, mode: str, bgr: bool
) -> Iterator[_Run]:
    contract, done = opened.required_contract(), dict[ResizeMode, NDArray[np.bool_]]()
    for resize, pixels in decoded.pixels.items():
        same = decoded.same_as.get(resize)
        if same is not None:
            right = done[same]
        else:
            parts = [predict(session, contract, pixels[i : i + 1]) for i in range(len(pixels))]
            right = np.concatenate(parts).argmax(1) == decoded.classes
        done[resize] = right
        yield _Run(mode, bgr, resize, right, same)


def _result(artifact: Path, runs: list[_Run], left_out: list[str]) -> FindResult:
    runs = sorted(runs, key=lambda run: -int(run.right.sum()))
    best, images = runs[0], len(runs[0].right)
    tried = []
    for run in runs:
        right = int(run.right.sum())
        difference = drop.paired_drop(best.right, run.right)
        tried.append(
            Tried(
                run.options,
                run.preprocessing,
                run.bgr,
                run.resize,
                right / images,
                drop.share_interval(right, images),
                run is best or difference.low <= 0,
                run.same_as,
            )
        )
    return FindResult(artifact, images, tuple(tried), tuple(left_out), _verdict(tried, images))


def _verdict(tried: list[Tried], images: int) -> str:
    """Say which one fits; where several do, that these images cannot tell them apart."""
    fitting = [entry for entry in tried if entry.fits]
    best = tried[0]
    if best.top1_ci95[0] <= 2 * (1 - best.top1_ci95[0]) / max(images, 2):
        return "None fits: check the labels, the images and the file."
    modes = dict.fromkeys((entry.preprocessing, entry.bgr) for entry in fitting)
    distinct = [entry for entry in fitting if entry.same_as is None]
    if len(distinct) == 1:
        return f"{best.options} fits: all others are worse beyond chance."
    resizes = dict.fromkeys(entry.resize for entry in distinct)
    if len(modes) == 1:
        words = " and ".join(resizes)
        return (
            f"{best.options.partition(' --resize')[0]} fits; {counted(images, 'image')} cannot "
            f"tell --resize {words} apart."
        )
    listed = "; ".join(entry.options for entry in distinct[:6])
    return f"{counted(images, 'image')} cannot tell these apart: {listed}. Give more images."
