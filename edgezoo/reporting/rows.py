"""From records to the rows of a report: one per variant, and how variants compare with others.

Records of different machines are never compared in one ratio or on one front, nor accuracies on
different images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.errors import counted
from edgezoo.evaluation.outcomes import Outcomes
from edgezoo.measurement.trust import Level
from edgezoo.measurement.verdicts import BETWEEN_SESSIONS
from edgezoo.reporting.fronts import Place, fronts
from edgezoo.reporting.gaps import Interval, accuracy_gap
from edgezoo.results.record import Estimated, Failed, Kind, Measured, Record
from edgezoo.system.machine import Environment

QUANTILES = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A variant with its figures.

    Attributes:
        name: no longer than needed to distinguish variants: the file, its hash, the images
        runtime: package and version
        store: folder of the results store
        path: of the file, relative to the store; the name alone of a file that was given
        drop_points: top-1 of float32 on the same images minus its own, in percentage points
        drop_points_ci95: the paired interval of the evaluation where there is one
        images: how many the accuracy was found on
        images_hash: of the list of images
        outcomes: of each image; not in older records
        reasons: what speaks against the latency
    """

    name: str
    model: str | None
    alpha: float | None
    input_size: int | None
    precision: str | None
    format: str
    runtime: str | None
    device: str
    threads: int
    machine: str
    store: str | None
    path: str
    sha256: str
    bytes: int
    median_ms: float
    median_ci95: Interval
    p90_ms: float | None
    p95_ms: float | None
    peak_rss_mb: float | None
    top1: float | None
    top1_ci95: Interval | None
    drop_points: float | None
    drop_points_ci95: Interval | None
    images: int | None
    images_hash: str | None
    outcomes: Outcomes | None
    trust: Level
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Candidate):
    """A line of a report.

    Attributes:
        file: name of the file that was given; None for a variant of a grid.
        quantiles_ms: of all runs, evenly spaced from the least to the greatest.
        place: "front": nothing else of its group is as fast, as accurate, and better in one;
            "maybe": only noise keeps it off the front; "behind"; "poor" where the latency is not
            to be trusted; null without an accuracy.
        between_sessions: what two sessions on its machine differ by, as a share.
    """

    id: int
    kind: Kind
    estimated_by: str | None
    file: str | None
    created: str
    trained: bool | None
    min_ms: float | None
    p5_ms: float | None
    p99_ms: float | None
    runs: int | None
    outliers: int | None
    cpu_ms: float | None
    cold_start_ms: float | None
    memory_over_runtime_mb: float | None
    quantiles_ms: tuple[float, ...] | None
    top5: float | None
    agreement_top1: float | None
    session: str
    noise_floor: float
    self_checked: bool
    between_sessions: float = BETWEEN_SESSIONS
    place: Place | None = None

    @property
    def mark(self) -> str:
        """What follows the name of an estimate, such as "Vela estimate"; "" for others."""
        return (self.estimated_by or "").partition(" (")[0]

    @property
    def image_list(self) -> str | None:
        """Images of the accuracy: "650 images, list 0f3a52"; None without an accuracy."""
        if self.top1 is None:
            return None
        return f"{self.images} images, list {(self.images_hash or 'unknown')[:6]}"


def rows(records: Iterable[Record], allow_poor: bool = False) -> list[Row]:
    """Return a row for each record that has figures, in the order given.

    `allow_poor` lets latencies with poor trust stand on the front.
    """
    return contents(records, allow_poor).rows


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds, without the runs."""

    rows: list[Row]
    failed: list[Failed]


def contents(records: Iterable[Record], allow_poor: bool = False) -> Contents:
    """Return rows, as `rows` does, and the records without figures; each record is read once."""
    found: list[Row] = []
    failed: list[Failed] = []
    for record in records:
        if isinstance(record, Failed):
            failed.append(record)
        else:
            found.append(row_of(len(found), record))
    return Contents(related(found, allow_poor), failed)


def related(found: list[Row], allow_poor: bool = False) -> list[Row]:
    """Return rows of `row_of` with what follows from the others: names, drops and places."""
    found = _with_names(found, lambda r: (r.machine, r.device, r.threads, r.kind), _FILES)
    found = _with_names(found, lambda r: (r.machine, r.device, r.threads, r.kind, r.store), _APART)
    repeats = _repeats(found)
    drops = _drops(found)
    found = [
        replace(
            row,
            between_sessions=max(BETWEEN_SESSIONS, repeats.get(row.machine, 0.0)),
            **drops.get(row.id, {}),
        )
        for row in found
    ]
    places = fronts(found, allow_poor)
    return [replace(row, place=places.get(row.id)) for row in found]


def _grouped(found: Iterable[Row], place: Callable[[Row], object]) -> list[list[Row]]:
    groups: dict[object, list[Row]] = defaultdict(list)
    for row in found:
        groups[place(row)].append(row)
    return list(groups.values())


def _repeats(found: Iterable[Row]) -> dict[str, float]:
    """Return by how much sessions of one file on a machine differed at most, as a share."""
    medians: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in found:
        if row.kind == "measurement" and row.trust != "poor":
            place = (row.machine, row.sha256, row.device, f"{row.threads} {row.runtime}")
            medians[place][row.session] = row.median_ms
    most: dict[str, float] = {}
    for (machine, *_), own in medians.items():
        apart = max(own.values()) / min(own.values()) - 1
        most[machine] = max(most.get(machine, 0.0), apart)
    return most


def row_of(number: int, record: Measured | Estimated) -> Row:
    """Return the row of one record, as if it were alone; `number` becomes its id."""
    median = record.latency.latency_ms
    full = record.latency if isinstance(record, Measured) else None
    runs = full.latency_ms if full else None
    variant, artifact = record.variant, record.artifact
    return Row(
        id=number,
        kind=record.kind,
        estimated_by=record.estimate.source if isinstance(record, Estimated) else None,
        name=variant.title if variant.model else artifact.path,
        **_of(record, "file", "store", "created"),
        **_of(variant, *(f.name for f in fields(variant))),
        machine=machine_name(record.environment),
        **_of(artifact, "path", "bytes", "sha256", "trained"),
        median_ms=median.median,
        median_ci95=median.ci95,
        **{f"{k}_ms": v for k, v in _of(runs, "min", "p5", "p90", "p95", "p99").items()},
        runs=runs.n if runs else None,
        outliers=runs.outliers if runs else None,
        **_of(full, "cpu_ms", "cold_start_ms", "peak_rss_mb", "memory_over_runtime_mb"),
        quantiles_ms=_quantiles(full.blocks_ms) if full else None,
        **_of(record.accuracy, "top1", "top1_ci95", "top5", "agreement_top1", "images"),
        **_of(record.accuracy, "images_hash", "outcomes", "drop_points", "drop_points_ci95"),
        trust=record.trust.level,
        reasons=record.trust.reasons,
        session=record.session.id,
        noise_floor=record.session.noise_floor,
        self_checked=record.session.self_check is not None,
    )


def _of(part: object | None, *names: str) -> dict[str, Any]:
    """Return attributes of a part of a record by name; None for each where it has no such part."""
    return {name: None if part is None else getattr(part, name) for name in names}


_Label = tuple[Callable[[Row], object], Callable[[Row], str]]
_FILES: tuple[_Label, ...] = ((lambda row: row.file, lambda row: row.file or "of a sweep"),)
_APART: tuple[_Label, ...] = (
    (lambda row: row.sha256, lambda row: f"file {row.sha256[:6]}"),
    (lambda row: row.images_hash, lambda row: f"{row.images or 'no'} images"),
    (lambda row: row.runtime, lambda row: row.runtime or "unknown runtime"),
    (lambda row: row.created, lambda row: row.created),
)


def _with_names(
    found: list[Row], place: Callable[[Row], tuple[object, ...]], labels: tuple[_Label, ...]
) -> list[Row]:
    """Return the rows with what distinguishes those of one name and place added to the name.

    `labels` are values that may differ, and their text; the first that suffice are added.
    """
    names: dict[int, str] = {}
    for group in _grouped(found, lambda row: (row.name, place(row))):
        if len(group) == 1:
            continue
        texts: list[list[str]] = [[] for _ in group]
        for value, text in labels:
            if len({value(row) for row in group}) > 1 and len({*map(tuple, texts)}) < len(group):
                for own, row in zip(texts, group, strict=True):
                    own.append(text(row))
        for own, row in zip(texts, group, strict=True):
            if own:
                names[row.id] = f"{row.name} ({', '.join(own)})"
    return [replace(row, name=names[row.id]) if row.id in names else row for row in found]


def noise_floors(found: Iterable[Row]) -> list[str]:
    """Return a text for each session with its noise floor and its origin, the highest first."""
    measured = (row for row in found if row.kind == "measurement")
    sessions = _grouped(measured, lambda row: row.session)
    return [
        f"{100 * own[0].noise_floor:.1f} % "
        f"({'A/A' if own[0].self_checked else 'assumed, no A/A check'}; session {own[0].session}, "
        f"{counted(len(own), 'variant')})"
        for own in sorted(sessions, key=lambda own: -own[0].noise_floor)
    ]


def machine_name(environment: Environment) -> str:
    """Return the CPU and a short hash, which distinguishes two boxes of one kind."""
    return f"{environment.machine.cpu} ({environment.machine_id[:6]})"


def _quantiles(blocks: Sequence[Sequence[float]]) -> tuple[float, ...] | None:
    """Return the distribution of all runs, as `numpy.quantile` does, ten times faster."""
    values = np.sort(np.fromiter(chain.from_iterable(blocks), float))
    if not len(values):
        return None
    found = np.interp(*_places(len(values)), values)
    return tuple(found.round(4).tolist())


@lru_cache(maxsize=256)
def _places(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the quantiles lie among sorted values, and where the values lie."""
    return np.linspace(0, count - 1, QUANTILES), np.arange(float(count))


def _drops(found: list[Row]) -> dict[int, dict[str, Any]]:
    """Return the drops of rows against float32 of the same network and images, by their id.

    A paired drop of the evaluation stays. The same format comes first.
    """
    twins: dict[tuple[object, ...], Row] = {}
    for row in found:
        if row.precision == "float32" and row.top1 is not None:
            twins.setdefault(_network(row), row)
            twins.setdefault((*_network(row), row.format), row)
    drops: dict[int, dict[str, Any]] = {}
    for row in found:
        if row.drop_points is not None or row.precision == "float32" or row.top1 is None:
            continue
        twin = twins.get((*_network(row), row.format)) or twins.get(_network(row))
        if twin is not None and (gap := accuracy_gap(twin, row)):
            drops[row.id] = {"drop_points": gap.points, "drop_points_ci95": (gap.low, gap.high)}
    return drops


def _network(row: Row) -> tuple[object, ...]:
    return (row.model, row.alpha, row.input_size, row.images_hash, row.store)
