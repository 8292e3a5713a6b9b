"""Which preprocessing and resize a file was trained with: all are tried on labelled images.

A wrong preprocessing costs accuracy, but a small network on easy images may keep its top-1 with
several. Then the probability of the right class tells them apart: pixels on another scale make a
network too sure, or too unsure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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

IMAGES = 500
_LEAST = 1e-6  # probability that counts in a logarithm
_Z = 1.96  # of a 95 % interval
_MOST_LISTED = 6
_SWAPPED = ("unit", "tf", "torch", "raw")  # "caffe" is blue, green, red already


@dataclass(frozen=True, slots=True)
class Tried:
    """The accuracy with one preprocessing and resize.

    Attributes:
        options: as commands take them
        top1_ci95: Wilson interval
        log_loss: mean of -log(probability of the right class)
        fits: it is the best, or cannot be told from it on these images, neither by top-1 nor by
            log_loss
        same_as: options that make the same input of these images, which are not tried again
    """

    options: str
    preprocessing: str
    bgr: bool
    resize: ResizeMode
    top1: Share
    top1_ci95: tuple[Share, Share]
    log_loss: float
    fits: bool
    same_as: str | None


@dataclass(frozen=True, slots=True)
class FindResult(JsonObject):
    """Every preprocessing and resize on the same images.

    Attributes:
        images: that were scored
        tried: best first; of those whose top-1 chance may explain, the smaller log_loss
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
    """Which images a combination classifies correctly, and -log(p) of each right class."""

    preprocessing: str
    bgr: bool
    resize: ResizeMode
    right: NDArray[np.bool_]
    losses: NDArray[np.float64]
    same_as: str | None

    @property
    def options(self) -> str:
        return _options(self.preprocessing, self.bgr, self.resize)


def _options(preprocessing: str, bgr: bool, resize: ResizeMode) -> str:
    mode = "none" if preprocessing == "raw" else preprocessing
    return f"--preprocessing {mode}{' --bgr' if bgr else ''} --resize {resize}"


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
        limit: images to try, spread evenly over the folder; 500 by default.
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
            runs += _runs(opened, session, decoded, mode, bgr, runs)
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
    opened: Artifact, session: Session, decoded: _Decoded, mode: str, bgr: bool, before: list[_Run]
) -> Iterator[_Run]:
    contract, done = opened.required_contract(), {run.options: run for run in before}
    images = np.arange(len(decoded.classes))
    for resize, pixels in decoded.pixels.items():
        same = None
        if resize in decoded.same_as:
            same = _options(mode, bgr, decoded.same_as[resize])
        elif bgr and (pixels[..., :1] == pixels).all():  # grey images have no order of colours
            same = _options(mode, False, resize)
        if same is None:
            parts = [predict(session, contract, pixels[i : i + 1]) for i in range(len(pixels))]
            scores = np.concatenate(parts)
            losses = -np.log(np.maximum(scores[images, decoded.classes].astype(float), _LEAST))
            right = scores.argmax(1) == decoded.classes
        else:
            right, losses = done[same].right, done[same].losses
        run = _Run(mode, bgr, resize, right, losses, same)
        done[run.options] = run
        yield run


def _result(artifact: Path, runs: list[_Run], left_out: list[str]) -> FindResult:
    own = [run for run in runs if run.same_as is None]
    highest = max(own, key=lambda run: int(run.right.sum()))
    near = [run for run in own if not _worse_top1(run, highest)]
    best, images = min(near, key=lambda run: float(run.losses.mean())), len(highest.right)

    def place(run: _Run) -> tuple[bool, float, float]:
        return _worse_top1(run, highest), float(run.losses.mean()), -float(run.right.sum())

    tried = tuple(
        Tried(
            run.options,
            run.preprocessing,
            run.bgr,
            run.resize,
            float(run.right.mean()),
            drop.share_interval(int(run.right.sum()), images),
            float(run.losses.mean()),
            not _worse_top1(run, highest) and not _less_probable(run, best),
            run.same_as,
        )
        for run in sorted(runs, key=place)
    )
    return FindResult(artifact, images, tried, tuple(left_out), _verdict(tried, best, images))


def _worse_top1(run: _Run, other: _Run) -> bool:
    """Whether the top-1 is lower beyond chance, by the interval of a drop."""
    return drop.paired_drop(other.right, run.right).low > 0


def _less_probable(run: _Run, other: _Run) -> bool:
    """Whether right classes are less probable beyond chance, by a 95 % interval of the mean."""
    more = run.losses - other.losses
    spread = float(more.std(ddof=1)) if len(more) > 1 else 0.0
    return float(more.mean()) > _Z * spread / math.sqrt(len(more)) > 0


def _verdict(tried: Sequence[Tried], best: _Run, images: int) -> str:
    """Say which one fits; where several do, that these images cannot tell them apart."""
    own = [entry for entry in tried if entry.same_as is None]
    first, fitting = own[0], [entry for entry in own if entry.fits]
    shares = np.unique(best.right, return_counts=True)
    if len(shares[0]) == 1 and not shares[0][0]:
        return "None fits: check the labels, the images and the file."
    alike = [entry.options for entry in tried if entry.fits and entry.same_as == first.options]
    same = f" ({'; '.join(alike)}: the same on these images.)" if alike else ""
    if len(fitting) == 1:
        return f"{first.options} fits: all others are worse beyond chance.{same}"
    listed = "; ".join(entry.options for entry in fitting[:_MOST_LISTED])
    return (
        f"{counted(images, 'image')} cannot tell these apart: {listed}. The first has the most "
        f"probable right classes; more images may tell.{same}"
    )
