"""A sweep under way: what all of its parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgezoo.core.errors import EdgeZooError
from edgezoo.results.store import Record, Store
from edgezoo.sweep import records
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.steps import Steps

Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Item:
    """A variant on its way to a record."""

    variant: Variant
    key: str = ""
    record: Record | None = None
    path: Path | None = None
    verification: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None


@dataclass(slots=True)
class Sweep:
    """The request, where its results go, and what depends on neither network nor variant."""

    request: SweepRequest
    store: Store
    steps: Steps
    progress: Progress
    images: str | None
    machine: str
    sessions: list[dict[str, Any]] = field(default_factory=list)


def open_items(items: Iterable[Item]) -> Iterator[Item]:
    """Those without a record."""
    return (item for item in items if item.record is None)


def title(items: list[Item]) -> str:
    """What the progress calls the items of a network."""
    variant = items[0].variant
    return "files" if variant.path else variant.name.rsplit("_", 4)[0]


def share(
    sweep: Sweep, place: int, count: int, prepared: float, measured: float | None = None
) -> float:
    """Part of the whole sweep that is done; measuring takes about two fifths of it.

    Args:
        place, count: which network of how many.
        prepared, measured: parts of its own work; `measured` is None before measuring.
    """
    if sweep.steps.at_once == 1:
        return (place + 0.6 * prepared + 0.4 * (measured or 0.0)) / count
    if measured is None:
        return 0.6 * (place + prepared) / count
    return 0.6 + 0.4 * (place + measured) / count


def portable(path: Path | None, folder: Path) -> str:
    """Relative to the store where the file lies in it, so that the store can be moved."""
    assert path is not None
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def fail(sweep: Sweep, item: Item, error: EdgeZooError, step: str) -> None:
    """Record why there is no figure."""
    write(sweep, item, records.failed(item.variant, error, step))


def write(sweep: Sweep, item: Item, facts: Record) -> None:
    """Write an item's record."""
    sweep.store.write(item.variant.name, item.key, facts)
    item.record = sweep.store.find(item.variant.name, item.key)
