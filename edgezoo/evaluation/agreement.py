"""Does a file agree with the network that it was made from?

All arrays are float32: scores of classes, (n, classes), or features, (n, …). Those of large feature
maps may be memory-mapped files, so sums go over a few rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.spec import OutputKind, Precision
from edgezoo.core.typed_json import Count, Share, optional


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least SQNR in decibels and the least share of images with the same top-1."""

    sqnr_db: float
    agreement: float


# float32 only reorders the same sums: 103 dB and more were measured. float16 rounds each weight to
# 73 dB, which a narrow MobileNet turns into 31 to 50 dB at its probabilities: the bound catches
# overflow, not rounding. No int8 bound holds for every network: --min-agreement sets one.
_NO_BOUNDS = Bounds(-math.inf, 0.0)
BOUNDS: dict[Precision, Bounds] = {
    "float32": Bounds(60.0, 0.995),
    "float16": Bounds(25.0, 0.9),
    "int8": _NO_BOUNDS,
}
_BFLOAT16 = "this CPU computed in bfloat16, so the bounds of {} were not checked"
LOW_AGREEMENT = 0.85
# Spread over the images, relative to the reference's, below which the output is constant: rounding
# differs a little from image to image even where a network has collapsed.
_CONSTANT = 1e-3
_ROWS = 16
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """How closely the output of a file matches the output of its source.

    Attributes:
        verdict: failed: there are failures
        sqnr_db: signal power over error power; null where nothing differs, or the output is broken
        max_abs_diff: largest difference of a score; null where the output is broken
        agreement_top1: share of images with the same best class, or, where classes do not exclude
            one another, of classes on the same side of 0.5; null for features
        reference_in_top5: share of images with the reference's best class in the top 5
        cosine: between the features of an image and the reference's, the smallest of all images
    """

    verdict: Literal["passed", "failed"] = field(init=False)
    images: Count
    sqnr_db: float | None
    max_abs_diff: float | None
    agreement_top1: Share | None
    reference_in_top5: Share | None
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    cosine: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", "failed" if self.failures else "passed")

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class Verification:
    """How closely a file agrees with the Keras network.

    Attributes:
        verdict: failed: there are failures; skipped: with --no-verify
        images: that it was compared on
        sqnr_db: signal power over error power; null where nothing differs, or the output is broken
        max_abs_diff: largest difference of a score; null where the output is broken
        agreement_top1: share of images with the same best class; null for features
        reference_in_top5: share of images with the reference's best class in the top 5
        cosine: between the features of an image and the reference's, the smallest of all images
        failures: sentences on bounds that do not hold
        warnings: sentences that a user should read
        reference: what the file was compared with
        source: where the images came from
        reason: why it was skipped
    """

    verdict: Literal["passed", "failed", "skipped"]
    images: Count = 0
    sqnr_db: float | None = None
    max_abs_diff: float | None = None
    agreement_top1: Share | None = None
    reference_in_top5: Share | None = None
    cosine: float | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reference: str | None = None
    source: str | None = None
    reason: str | None = optional()

    @classmethod
    def of(cls, found: Comparison, source: str) -> Verification:
        """From a comparison with the Keras network on images of a source."""
        values = {field.name: getattr(found, field.name) for field in fields(found)}
        return cls(**values, reference="keras", source=source)


def sqnr_db(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Return the signal-to-quantization-noise ratio in decibels, infinite without noise."""
    signal = noise = 0.0
    for wanted, found in _parts(reference, got):
        signal += float((wanted * wanted).sum())
        noise += float(((wanted - found) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _parts(
    reference: NDArray[np.float32], got: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield some rows of both at a time, flat, in double precision."""
    for i in range(0, len(reference), _ROWS):
        wanted, found = (array[i : i + _ROWS].astype(np.float64) for array in (reference, got))
        yield wanted.reshape(len(wanted), -1), found.reshape(len(found), -1)


def smallest_cosine(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Return the smallest cosine of the angle between rows; 0 where a row is zero."""
    smallest = 1.0
    for wanted, found in _parts(reference, got):
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
        products = (wanted * found).sum(1)
        smallest = min(smallest, float((products / np.where(lengths > 0, lengths, 1)).min()))
    return smallest


def agreement_top1(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Return the share of rows with the same best class."""
    return float(np.mean(reference.argmax(1) == got.argmax(1)))


def same_sides(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Return the share of probabilities that are on the same side of 0.5."""
    return float(np.mean((np.asarray(reference) >= _HALF) == (np.asarray(got) >= _HALF)))


def compare(
    reference: NDArray[np.float32],
    got: NDArray[np.float32],
    precision: Precision,
    min_agreement: float | None = None,
    kind: OutputKind = "probabilities",
    in_bfloat16: bool = False,
    *,
    multi_label: bool = False,
) -> Comparison:
    """Compare the output of a file with that of its source.

    Args:
        reference: output of the source network.
        got: output of the file, on the same images.
        precision: selects the bounds.
        min_agreement: a bound on the top-1 agreement that replaces the precision's own.
        kind: of output; features have no classes to agree on.
        in_bfloat16: the runtime computed in bfloat16, which the file allows: the bounds of its
            precision do not apply.
        multi_label: classes do not exclude one another.
    """
    if problem := broken(reference, got):
        share = 0.0 if kind == "probabilities" else None
        return Comparison(len(got), None, None, share, share, (problem,), ())
    ratio, bounds = sqnr_db(reference, got), _NO_BOUNDS if in_bfloat16 else BOUNDS[precision]
    warnings: tuple[str, ...] = (_BFLOAT16.format(precision),) if in_bfloat16 else ()
    failed: tuple[str, ...] = ()
    if ratio < bounds.sqnr_db:
        failed = (f"SQNR {ratio:.1f} dB is below {bounds.sqnr_db:g} dB",)
    decibels = round(ratio, 2) if math.isfinite(ratio) else None
    largest = max(float(abs(a - b).max()) for a, b in _parts(reference, got))
    if kind == "features":
        cosine = smallest_cosine(reference, got)
        return Comparison(len(got), decibels, largest, None, None, failed, warnings, cosine)
    same = same_sides(reference, got) if multi_label else agreement_top1(reference, got)
    agreement, in_top5 = same, _in_top5(reference, got)
    least = bounds.agreement if min_agreement is None else min_agreement
    if agreement < least:
        failed += (
            f"{'label' if multi_label else 'top-1'} agreement {agreement:.3f} is below {least:g}",
        )
    elif precision == "int8" and agreement < LOW_AGREEMENT:
        warnings += (f"top-1 agreement with the float model is only {agreement:.3f}",)
    return Comparison(len(got), decibels, largest, agreement, in_top5, failed, warnings)


def _in_top5(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Return the share of rows whose best class by the reference is among the best five."""
    top5 = np.argsort(-got, axis=1, kind="stable")[:, :5]
    return float(np.mean((top5 == reference.argmax(1)[:, None]).any(1)))


def broken(reference: NDArray[np.float32], got: NDArray[np.float32]) -> str | None:
    """Return what is wrong with an output that no bound can accept."""
    if got.shape != reference.shape:
        return f"the output has shape {got.shape}, the source's {reference.shape}"
    if not np.isfinite(got).all():
        return "the output holds NaN or infinity"
    if len(got) > 1:
        spread, expected = (float(np.ptp(scores, axis=0).max()) for scores in (got, reference))
        if spread <= expected * _CONSTANT:
            return "the output is the same for every image"
    return None
