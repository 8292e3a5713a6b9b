"""Does a file agree with the network that it was made from?

All arrays are float32: scores of classes, (n, classes), or features, (n, …). Those of large feature
maps may lie in files that are mapped into memory: sums go over them in parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import OutputKind, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least SQNR in decibels and the least share of images with the same top-1."""

    sqnr_db: float
    agreement: float


# float32 is another order of the same sums: 103 dB and more were seen. float16 weights carry 73 dB
# each, which a narrow MobileNet turns into 31 to 50 dB at its probabilities: the bound catches
# overflow, not rounding. For int8 nothing can be promised beforehand: --min-agreement sets a bound.
BOUNDS: dict[Precision, Bounds] = {
    "float32": Bounds(60.0, 0.995),
    "float16": Bounds(25.0, 0.9),
    "int8": Bounds(-math.inf, 0.0),
}
LOW_AGREEMENT = 0.85
# A collapsed network still rounds a little differently from image to image.
_CONSTANT = 1e-3
_ROWS = 16


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of one comparison, and what is wrong in words.

    Attributes:
        sqnr_db: 10 log10 of signal power over error power; None for no error at all, or where
            the output is broken.
        max_abs_diff: largest difference of a score; None where the output is broken.
        agreement_top1: share of images whose best class is the same.
        reference_in_top5: share of images whose best class by the reference is in the top 5.
        cosine: of the angle between an image's features and the reference's, the smallest over all
            images.

    Of classes and features only what means something is set.
    """

    images: int
    sqnr_db: float | None
    max_abs_diff: float | None
    agreement_top1: float | None
    reference_in_top5: float | None
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    cosine: float | None = None

    @property
    def passed(self) -> bool:
        """True where nothing failed."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """A JSON object, with the verdict."""
        return {"verdict": "passed" if self.passed else "failed", **asdict(self)}


def sqnr_db(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Signal to quantization noise ratio in decibels; infinite where nothing differs."""
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
    """Some rows of both at a time, flat, in double precision."""
    import numpy as np

    for i in range(0, len(reference), _ROWS):
        wanted, found = (
            array[i : i + _ROWS].astype(np.float64).reshape(len(array[i : i + _ROWS]), -1)
            for array in (reference, got)
        )
        yield wanted, found


def smallest_cosine(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Cosine of the angle between rows, the smallest; 0 where a row of one of them is zero."""
    import numpy as np

    smallest = 1.0
    for wanted, found in _parts(reference, got):
        lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
        products = (wanted * found).sum(1)
        smallest = min(smallest, float((products / np.where(lengths > 0, lengths, 1)).min()))
    return smallest


def agreement_top1(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Share of rows with the same best class."""
    import numpy as np

    return float(np.mean(reference.argmax(1) == got.argmax(1)))


def compare(
    reference: NDArray[np.float32],
    got: NDArray[np.float32],
    precision: Precision,
    min_agreement: float | None = None,
    kind: OutputKind = "probabilities",
) -> Comparison:
    """Compare what a file gives with what its source gives.

    Args:
        reference: of the source network.
        got: of the file, on the same images.
        precision: chooses the bounds.
        min_agreement: a bound on the top-1 agreement in place of the precision's own.
        kind: what it is; features have no classes to agree on.
    """
    classes = kind == "probabilities"
    broken = _broken(reference, got)
    if broken:
        share = 0.0 if classes else None
        return Comparison(len(got), None, None, share, share, (broken,), ())
    ratio = sqnr_db(reference, got)
    bounds = BOUNDS[precision]
    failures: list[str] = []
    warnings: list[str] = []
    if ratio < bounds.sqnr_db:
        failures.append(f"SQNR {ratio:.1f} dB is below {bounds.sqnr_db:g} dB")
    decibels = round(ratio, 2) if math.isfinite(ratio) else None
    largest = max(float(abs(a - b).max()) for a, b in _parts(reference, got))
    if not classes:
        cosine = smallest_cosine(reference, got)
        return Comparison(len(got), decibels, largest, None, None, tuple(failures), (), cosine)
    agreement = agreement_top1(reference, got)
    least = bounds.agreement if min_agreement is None else min_agreement
    if agreement < least:
        failures.append(f"top-1 agreement {agreement:.3f} is below {least:g}")
    elif precision == "int8" and agreement < LOW_AGREEMENT:
        warnings.append(f"top-1 agreement with the float model is only {agreement:.3f}")
    return Comparison(
        len(got),
        decibels,
        largest,
        agreement,
        _in_top5(reference, got),
        tuple(failures),
        tuple(warnings),
    )


def _in_top5(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Share of rows whose best class by the reference is among the best five."""
    import numpy as np

    top5 = np.argsort(-got, axis=1, kind="stable")[:, :5]
    return float(np.mean((top5 == reference.argmax(1)[:, None]).any(1)))


def _broken(reference: NDArray[np.float32], got: NDArray[np.float32]) -> str | None:
    """What no bound can excuse."""
    import numpy as np

    if got.shape != reference.shape:
        return f"the output has shape {got.shape}, the source's {reference.shape}"
    if not np.isfinite(got).all():
        return "the output holds NaN or infinity"
    if len(got) > 1:
        spread, expected = (float(np.ptp(scores, axis=0).max()) for scores in (got, reference))
        if spread <= expected * _CONSTANT:
            return "the output is the same for every image"
    return None
