"""The accuracy guard: layers stay in float until a drop is proved to be small enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgezoo.statistics import Drop

CONFIDENCE = 0.95
# A one-sided bound of 95 % is the upper end of a two-sided interval of 90 %.
INTERVAL = 2 * CONFIDENCE - 1

Attempt = Callable[[tuple[str, ...]], Drop]


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard did for one file.

    Attributes:
        max_drop: the limit, in percentage points.
        outcome: of the file that was kept; its interval is two-sided at `INTERVAL`.
        float_layers: what the kept file computes in float.
        tries: (number of float layers, drop, upper bound) of each file that was measured.
    """

    file: str
    max_drop: float
    outcome: Drop
    float_layers: tuple[str, ...]
    tries: tuple[tuple[int, float, float], ...]

    @property
    def met(self) -> bool:
        """Whether the bound holds."""
        return self.outcome.high * 100 <= self.max_drop

    @property
    def failure(self) -> str | None:
        """What is wrong, in words."""
        if self.met:
            return None
        return (
            f"the drop is {self.outcome.drop * 100:.2f} points, and up to "
            f"{self.outcome.high * 100:.2f} with {CONFIDENCE:.0%} confidence on "
            f"{self.outcome.images} images, above --max-drop {self.max_drop:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """For the manifest and `export --json`."""
        return {
            "max_drop": self.max_drop,
            "met": self.met,
            "confidence": CONFIDENCE,
            "images": self.outcome.images,
            "drop": self.outcome.drop,
            "drop_bound": self.outcome.high,
            "float_layers": list(self.float_layers),
            "tries": [
                {"float_layers": layers, "drop": drop, "drop_bound": bound}
                for layers, drop, bound in self.tries
            ],
        }


def keep_within(
    name: str,
    max_drop: float,
    first: Drop,
    ranking: Callable[[], Sequence[str]],
    attempt: Attempt,
) -> Guarded:
    """Keep the worst layers in float, as few as needed.

    Their number is doubled until the bound holds, then halved into the gap.

    Args:
        name: of the file.
        max_drop: limit of the upper bound of the drop, in percentage points.
        first: of the file without float layers, which is there.
        ranking: layers, the most harmful first; asked for only where it is needed.
        attempt: makes the file anew with these layers in float, and measures it.
    """
    tries = {0: first}
    order = [] if _holds(first, max_drop) else list(ranking())
    made = best = _search(tries, order, max_drop, attempt)
    if not _holds(tries[best], max_drop):
        best = min(tries, key=lambda n: (tries[n].high, n))
    if best != made:
        attempt(tuple(order[:best]))
    return Guarded(
        name,
        max_drop,
        tries[best],
        tuple(order[:best]),
        tuple((n, outcome.drop, outcome.high) for n, outcome in tries.items()),
    )


def _search(tries: dict[int, Drop], order: Sequence[str], max_drop: float, attempt: Attempt) -> int:
    """Find the least number of float layers that holds; the number that was made last."""
    count, below = 0, 0
    while not _holds(tries[count], max_drop) and count < len(order):
        below, count = count, min(max(1, 2 * count), len(order))
        tries[count] = attempt(tuple(order[:count]))
    made = count
    while _holds(tries[count], max_drop) and count - below > 1:
        made = (below + count) // 2
        tries[made] = attempt(tuple(order[:made]))
        below, count = (below, made) if _holds(tries[made], max_drop) else (made, count)
    if made != count:
        attempt(tuple(order[:count]))
    return count


def _holds(outcome: Drop, max_drop: float) -> bool:
    return outcome.high * 100 <= max_drop
