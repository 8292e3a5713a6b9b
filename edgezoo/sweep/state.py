"""A running sweep: what all of its parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from edgezoo.core.errors import EdgeZooError
from edgezoo.measurement.comparisons import SessionResult
from edgezoo.results.record import Record, Step
from edgezoo.results.store import Store
from edgezoo.sweep import records
from edgezoo.sweep.grid import SweepRequest
from edgezoo.sweep.records import Item
from edgezoo.sweep.steps import Steps

Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Sweep:
    """The request, where its results go, and what depends on neither network nor variant."""

    request: SweepRequest
    store: Store
    steps: Steps
    progress: Progress
    images: str | None
    machine: str
    sessions: list[SessionResult] = field(default_factory=list)


def open_items(items: Iterable[Item]) -> Iterator[Item]:
    """Return those without a record."""
    return (item for item in items if item.record is None)


def title(items: list[Item]) -> str:
    """Return the name of a network's items for the progress."""
    variant = items[0].variant
    return "files" if variant.path else variant.name.rsplit("_", 4)[0]


def share(
    sweep: Sweep, place: int, count: int, prepared: float, measured: float | None = None
) -> float:
    """Return the share of the sweep that is done; measuring takes about two fifths of it.

    `place` is that of the network among `count`; `prepared` and `measured` are parts of its own
    work, the latter None before measuring.
    """
    if sweep.steps.at_once == 1:
        return (place + 0.6 * prepared + 0.4 * (measured or 0.0)) / count
    if measured is None:
        return 0.6 * (place + prepared) / count
    return 0.6 + 0.4 * (place + measured) / count


def fail(sweep: Sweep, item: Item, error: EdgeZooError, step: Step) -> None:
    """Record why a variant has no figures."""
    write(sweep, item, records.failed(item.variant, error, step))


def write(sweep: Sweep, item: Item, record: Record) -> None:
    """Write an item's record."""
    name, key = item.variant.name, item.key
    sweep.store.write(name, replace(record, key=key))
    item.record = sweep.store.find(name, key)
