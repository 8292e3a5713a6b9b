"""Does a file agree with the network that it was made from?

All arrays are scores of classes, shape (n, classes), float32.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgezoo.spec import Precision

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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of one comparison, and what is wrong in words.

    Attributes:
        sqnr_db: 10 log10 of signal power over error power; None for no error at all, or where
            the output is broken.
        max_abs_diff: largest difference of a score; None where the output is broken.
        agreement_top1: share of images whose best class is the same.
        reference_in_top5: share of images whose best class by the reference is in the top 5.
    """

    images: int
    sqnr_db: float | None
    max_abs_diff: float | None
    agreement_top1: float
    reference_in_top5: float
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True where nothing failed."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """A JSON object, with the verdict."""
        return {"verdict": "passed" if self.passed else "failed", **asdict(self)}


def sqnr_db(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Signal to quantization noise ratio in decibels; infinite where nothing differs."""
    import numpy as np

    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(reference.astype(np.float64) - got).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def agreement_top1(reference: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Share of rows with the same best class."""
    import numpy as np

    return float(np.mean(reference.argmax(1) == got.argmax(1)))


def compare(
    reference: NDArray[np.float32],
    got: NDArray[np.float32],
    precision: Precision,
    min_agreement: float | None = None,
) -> Comparison:
    """Compare a file's scores with those of its source.

    Args:
        reference: of the source network.
        got: of the file, on the same images.
        precision: chooses the bounds.
        min_agreement: a bound on the top-1 agreement in place of the precision's own.
    """
    import numpy as np

    broken = _broken(reference, got)
    if broken:
        return Comparison(len(got), None, None, 0.0, 0.0, (broken,), ())
    ratio = sqnr_db(reference, got)
    agreement = agreement_top1(reference, got)
    top5 = np.argsort(-got, axis=1, kind="stable")[:, :5]
    inside = float(np.mean((top5 == reference.argmax(1)[:, None]).any(1)))
    bounds = BOUNDS[precision]
    least = bounds.agreement if min_agreement is None else min_agreement
    failures, warnings = [], []
    if ratio < bounds.sqnr_db:
        failures.append(f"SQNR {ratio:.1f} dB is below {bounds.sqnr_db:g} dB")
    if agreement < least:
        failures.append(f"top-1 agreement {agreement:.3f} is below {least:g}")
    elif precision == "int8" and agreement < LOW_AGREEMENT:
        warnings.append(f"top-1 agreement with the float model is only {agreement:.3f}")
    return Comparison(
        len(got),
        round(ratio, 2) if math.isfinite(ratio) else None,
        float(np.abs(reference - got).max()),
        agreement,
        inside,
        tuple(failures),
        tuple(warnings),
    )


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
