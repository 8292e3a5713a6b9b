"""Do two readers of one file agree, and which images could any kernel turn over?

Scores are float32, (n, classes), or features, (n, …). The margin of an image is how far its first
two classes are apart. A reader whose scores differ by at most d cannot turn over an image whose
margin is above 2 d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.spec import OutputKind, Precision
from edgezoo.core.typed_json import Count, Share
from edgezoo.evaluation import agreement

# The least SQNR of right readers of one file, in decibels. float32 kernels only reorder sums: 106
# and more were measured. bfloat16 keeps 8 bits, as int8 does, and rounding in another place changes
# the probabilities of a narrow MobileNet by 21 to 31 dB. Wrong readers were at 5 dB and below.
_LEAST_DB: dict[str, float] = {"float32": 60.0, "float16": 25.0, "bfloat16": 10.0, "int8": 10.0}
# The largest difference of a probability that right readers showed, over the files of three
# MobileNets: docs/decisions/0110-readers.md.
LARGEST_NOISE: dict[Precision, float] = {"float32": 1e-4, "float16": 0.02, "int8": 0.13}


@dataclass(frozen=True, slots=True)
class Margins:
    """How firm the answers of a file are.

    Attributes:
        median: half of the images have a margin above it
        noise: the largest difference of a probability that right readers showed here, or the
            precision's usual one where that is larger
        firm_share: share of images whose margin is above twice the noise: no kernel that differs
            by so little turns them over
    """

    median: float
    noise: float
    firm_share: Share


@dataclass(frozen=True, slots=True)
class Difference:
    """The scores of a reader beside those of the file's own runtime.

    Attributes:
        images: that it answered
        agreement_top1: share of images with the same best class; null for features
        max_abs_diff: largest difference of a score; null where the output is broken
        sqnr_db: signal power over error power; null where nothing differs, or the output is broken
        flips: images whose best class differs; null for features
        largest_flipped_margin: the largest margin of those; null without
        failure: why the reader is wrong; null where it is right
    """

    images: Count
    agreement_top1: Share | None
    max_abs_diff: float | None
    sqnr_db: float | None
    flips: Count | None
    largest_flipped_margin: float | None
    failure: str | None


def margins(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far the first two classes of each image are apart, shape (n,)."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf, np.float32)
    best = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def difference(
    reference: NDArray[np.float32],
    got: NDArray[np.float32],
    arithmetic: str,
    kind: OutputKind = "probabilities",
) -> Difference:
    """Compare a reader with the file's own runtime.

    Args:
        reference: scores of the runtime; a reader may have answered the first images alone.
        got: scores of the reader.
        arithmetic: a precision, or "bfloat16": the coarsest in which either computes.
        kind: of output; features have no classes to turn over.
    """
    reference = reference[: len(got)]
    if problem := agreement.broken(reference, got):
        share = 0.0 if kind == "probabilities" else None
        return Difference(len(got), share, None, None, None, None, problem)
    ratio, least = agreement.sqnr_db(reference, got), _LEAST_DB[arithmetic]
    failure = f"SQNR {ratio:.1f} dB is below {least:g} dB" if ratio < least else None
    decibels = round(ratio, 2) if math.isfinite(ratio) else None
    largest = float(np.abs(reference.astype(np.float64) - got).max())
    if kind == "features":
        return Difference(len(got), None, largest, decibels, None, None, failure)
    turned: NDArray[Any] = reference.argmax(1) != got.argmax(1)
    widest = float(margins(reference)[turned].max()) if turned.any() else None
    flips = int(turned.sum())
    share = 1 - flips / len(got)
    return Difference(len(got), share, largest, decibels, flips, widest, failure)


def firmness(reference: NDArray[np.float32], precision: Precision, noises: list[float]) -> Margins:
    """Return how many images no kernel turns over.

    Args:
        reference: probabilities of the file's own runtime.
        precision: of the file.
        noises: the largest difference of each right reader.
    """
    found, noise = margins(reference), max([LARGEST_NOISE[precision], *noises])
    median = float(np.median(found))
    return Margins(
        median if math.isfinite(median) else 1.0, noise, float((found > 2 * noise).mean())
    )
