"""The accuracy guard: keeps layers in float until the accuracy drop is proved to be small enough.

All files, the first one without float layers included, are tested on the same images. If each test
had an error rate of 5 %, the rate for the whole search would be far larger. So the 5 % are divided
among all tests that the search can make (the Bonferroni correction; O. J. Dunn, JASA 56, 1961).
The first file, which usually passes, gets half of them; the others share the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgezoo.core.errors import counted
from edgezoo.evaluation.drop import EQUAL_WITHIN, Drop, images_to_prove, judge

CONFIDENCE = 0.95

Attempt = Callable[[tuple[str, ...]], Drop]


@dataclass(frozen=True, slots=True)
class Try:
    """One file that was measured.

    Attributes:
        float_layers: how many layers it computes in float.
        outcome: its drop; `outcome.high` is the one-sided bound at `confidence`.
        confidence: of this one bound, so that all together hold at `CONFIDENCE`.
    """

    float_layers: int
    outcome: Drop
    confidence: float

    def record(self) -> TryRecord:
        """For the manifest."""
        return TryRecord(
            self.float_layers, 100 * self.outcome.drop, 100 * self.outcome.high, self.confidence
        )


@dataclass(frozen=True, slots=True)
class TryRecord:
    """One file that the guard measured.

    Attributes:
        float_layers: how many layers it computes in float.
        drop_points: top-1 lost against the float network, percentage points.
        drop_bound_points: the one-sided upper bound of the drop at `confidence`.
        confidence: of this one bound, so that all together hold.
    """

    float_layers: int
    drop_points: float
    drop_bound_points: float
    confidence: float


@dataclass(frozen=True, slots=True)
class GuardRecord:
    """What the accuracy guard measured and did for one file.

    Attributes:
        max_drop_points: the limit, percentage points of top-1.
        met: whether the limit is proved to hold.
        confidence: of the whole proof.
        bound_confidence: of the bound of the file that was kept.
        images: labelled images that it was measured on.
        reference_top1: of the float network on them.
        top1: of the file.
        drop_points: top-1 lost against the float network, percentage points.
        drop_bound_points: the one-sided upper bound of the drop.
        float_layers: layers that the file computes in float.
        layers: layers that could stay in float; null where none had to be looked for.
        tries: every file that was measured.
    """

    max_drop_points: float
    met: bool
    confidence: float
    bound_confidence: float
    images: int
    reference_top1: float
    top1: float
    drop_points: float
    drop_bound_points: float
    float_layers: tuple[str, ...]
    layers: int | None
    tries: tuple[TryRecord, ...]

    def line(self, file: str) -> str:
        """One line for people."""
        kept = len(self.float_layers)
        layers = f"{kept} of {self.layers} layers" if self.layers else "no layer"
        return (
            f"{file}: {_seen(self.drop_points)}, proved to be below {self.drop_bound_points:.2f} "
            f"({100 * self.confidence:.0f} % confidence, {counted(self.images, 'image')}, "
            f"float top-1 {100 * self.reference_top1:.1f} %); {layers} in float."
        )


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard did for one file; see `GuardRecord` for the other fields.

    Attributes:
        kept: the file that was kept.
        only_int8: the option that rules out float layers, so that none was tried.
    """

    file: str
    max_drop_points: float
    kept: Try
    float_layers: tuple[str, ...]
    layers: int | None
    tries: tuple[Try, ...]
    reference_top1: float
    only_int8: str | None = None

    @property
    def met(self) -> bool:
        """Whether the bound holds."""
        return _holds(self.kept, self.max_drop_points)

    @property
    def failure(self) -> str | None:
        """Why the bound does not hold, as a sentence."""
        if self.met:
            return None
        outcome = self.kept.outcome
        text = (
            f"the drop is only proved to be below {outcome.high * 100:.2f} points with "
            f"{100 * CONFIDENCE:.0f} % confidence on {counted(outcome.images, 'image')}, above "
            f"--max-drop {self.max_drop_points:g} ({_seen(100 * outcome.drop)})"
        )
        needed = images_to_prove(outcome, self.max_drop_points / 100, self.kept.confidence)
        if needed is not None:
            text += f"; about {_rounded(needed)} such images would prove it"
        if self.only_int8 is not None:
            text += f"; {self.only_int8} rules out layers in float, and none was tried"
        return text

    @property
    def warnings(self) -> list[str]:
        """Sentences that a user should read about the kept file."""
        found = []
        kept = len(self.float_layers)
        if self.layers is not None and 2 * kept > self.layers:
            found.append(
                f"{kept} of {self.layers} layers are in float: little is left of the size and "
                "speed of int8. A larger --max-drop, more --images or --effort best keep more."
            )
        low, high = self.kept.outcome.at(CONFIDENCE).interval
        if judge(low, high, EQUAL_WITHIN, True) == "suspicious gain":
            found.append(
                f"suspicious gain of {-high * 100:.2f} to {-low * 100:.2f} points: quantization "
                "does not improve a network, so the images are few, special, or were trained on."
            )
        return found

    def record(self) -> GuardRecord:
        """For the manifest and `export --json`."""
        outcome = self.kept.outcome
        return GuardRecord(
            self.max_drop_points,
            self.met,
            CONFIDENCE,
            self.kept.confidence,
            outcome.images,
            self.reference_top1,
            self.reference_top1 - outcome.drop,
            100 * outcome.drop,
            100 * outcome.high,
            self.float_layers,
            self.layers,
            tuple(attempt.record() for attempt in self.tries),
        )


def _seen(points: float) -> str:
    """A drop that was measured, or a gain."""
    return f"{'gain' if points < 0 else 'drop'} seen {abs(points):.2f} points"


def _rounded(count: int) -> int:
    """An estimate with two significant digits."""
    return round(count, 2 - len(str(count)))


def keep_within(
    name: str,
    max_drop_points: float,
    reference_top1: float,
    first: Drop,
    ranking: Callable[[], Sequence[str]],
    attempt: Attempt,
    only_int8: str | None = None,
) -> Guarded:
    """Keep the worst layers in float, as few as needed: doubled until the bound holds, then halved.

    Args:
        name: of the file.
        max_drop_points: limit of the upper bound of the drop, in percentage points.
        reference_top1: accuracy of the float network on the same images.
        first: of the file without float layers, which exists.
        ranking: returns layers, the most harmful first; called only where needed.
        attempt: makes the file again with these layers in float, and measures it.
        only_int8: the option that rules out float layers.
    """
    if only_int8 is not None:
        alone = _tried(0, first, CONFIDENCE)
        return Guarded(name, max_drop_points, alone, (), None, (alone,), reference_top1, only_int8)
    half = (1 - CONFIDENCE) / 2
    tries = {0: _tried(0, first, 1 - half)}
    order = [] if _holds(tries[0], max_drop_points) else list(ranking())
    confidence = 1 - half / max(1, most_tries(len(order)))

    def measured(count: int) -> Try:
        return _tried(count, attempt(tuple(order[:count])), confidence)

    made = best = _search(tries, len(order), max_drop_points, measured)
    if not _holds(tries[best], max_drop_points):
        # By bounds of one confidence: the first file's own is the narrowest.
        best = min(tries, key=lambda n: (tries[n].outcome.at(confidence).high, n))
    if best != made:
        attempt(tuple(order[:best]))
    facts = tries[best], tuple(order[:best]), len(order) or None, tuple(tries.values())
    return Guarded(name, max_drop_points, *facts, reference_top1)


def most_tries(layers: int) -> int:
    """The most files that the search can make."""
    found = []
    for needed in range(1, layers + 1):
        seen: set[int] = set()

        def holds(count: int, needed: int = needed, seen: set[int] = seen) -> bool:
            seen.add(count)
            return count >= needed

        _least(layers, holds)
        found.append(len(seen))
    return max(found, default=0)


def _search(
    tries: dict[int, Try], layers: int, max_drop_points: float, measured: Callable[[int], Try]
) -> int:
    """Find the smallest number of float layers that holds; returns the number made last."""
    if _holds(tries[0], max_drop_points) or not layers:
        return 0
    made = 0

    def holds(count: int) -> bool:
        nonlocal made
        tries[count], made = measured(count), count
        return _holds(tries[count], max_drop_points)

    count = _least(layers, holds)
    if made != count:
        measured(count)
    return count


def _least(layers: int, holds: Callable[[int], bool]) -> int:
    """The least count above 0 for which `holds`, by doubling and halving; else all layers."""
    below, count = 0, 1
    good = holds(count)
    while not good and count < layers:
        below, count = count, min(2 * count, layers)
        good = holds(count)
    while good and count - below > 1:
        middle = (below + count) // 2
        below, count = (below, middle) if holds(middle) else (middle, count)
    return count


def _tried(count: int, outcome: Drop, confidence: float) -> Try:
    """With the one-sided bound of that confidence: the upper end of a wider interval."""
    return Try(count, outcome.at(2 * confidence - 1), confidence)


def _holds(attempt: Try, max_drop_points: float) -> bool:
    return attempt.outcome.high * 100 <= max_drop_points
