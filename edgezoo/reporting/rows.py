"""From records to the rows of a report: one per variant, and how variants compare with others.

Records of different machines are never compared in one ratio or on one front, nor accuracies on
different images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from edgezoo.core.errors import counted
from edgezoo.measurement import statistics, verdicts
from edgezoo.measurement.trust import Level
from edgezoo.results.record import Estimated, Failed, Kind, Measured, Record
from edgezoo.system.machine import Environment

_QUANTILES = 41
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A variant with its figures.

    Attributes:
        name: no longer than needed to distinguish variants: the file, its hash, the images
        runtime: package and version
        store: folder of the results store
        drop_points: top-1 of float32 on the same images minus its own, in percentage points
        drop_points_ci95: the paired interval of the evaluation where there is one
        images: how many the accuracy was found on
        images_hash: of the list of images
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
    trust: Level
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Candidate):
    """A line of a report.

    Attributes:
        file: name of the file that was given; None for a variant of a grid.
        quantiles_ms: of all runs, evenly spaced from the least to the greatest.
        beaten_by, clearly_beaten_by: bit masks of row ids, in hex: rows that are as fast and as
            accurate and better in one, and those for which noise does not explain it.
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
    beaten_by: str = "0"
    clearly_beaten_by: str = "0"

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


def rows(records: Iterable[Record]) -> list[Row]:
    """Return a row for each record that has figures, in the order given."""
    measured = (record for record in records if not isinstance(record, Failed))
    found = [_row(number, record) for number, record in enumerate(measured)]
    found = _with_names(found, lambda r: (r.machine, r.device, r.threads, r.kind), _FILES)
    found = _with_names(found, lambda r: (r.machine, r.device, r.threads, r.kind, r.store), _APART)
    found = _with_drops(found)
    groups = _grouped(found, lambda r: (r.machine, r.device, r.kind, r.images_hash))
    beaten = {row.id: _ordered(row, group) for group in groups for row in group}
    return [beaten[row.id] for row in found]


def _grouped(found: Iterable[Row], place: Callable[[Row], object]) -> list[list[Row]]:
    groups: dict[object, list[Row]] = defaultdict(list)
    for row in found:
        groups[place(row)].append(row)
    return list(groups.values())


def _row(number: int, record: Measured | Estimated) -> Row:
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
        **_of(artifact, "bytes", "sha256", "trained"),
        median_ms=median.median,
        median_ci95=median.ci95,
        **{f"{k}_ms": v for k, v in _of(runs, "min", "p5", "p90", "p95", "p99").items()},
        runs=runs.n if runs else None,
        outliers=runs.outliers if runs else None,
        **_of(full, "cpu_ms", "cold_start_ms", "peak_rss_mb", "memory_over_runtime_mb"),
        quantiles_ms=_quantiles(full.blocks_ms) if full else None,
        **_of(record.accuracy, "top1", "top1_ci95", "top5", "agreement_top1", "images"),
        **_of(record.accuracy, "images_hash", "drop_points", "drop_points_ci95"),
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
    (lambda row: row.created, lambda row: row.created),
)


def _with_names(
    found: list[Row], place: Callable[[Row], tuple[object, ...]], labels: tuple[_Label, ...]
) -> list[Row]:
    """Return the rows with what distinguishes those of one name and place added to the name.

    `labels` are values that may differ, and their text; the first that suffice are added.
    """
    names = {}
    for group in _grouped(found, lambda row: (row.name, place(row))):
        texts: list[list[str]] = [[] for _ in group]
        for value, text in labels:
            if len({value(row) for row in group}) > 1 and len({*map(tuple, texts)}) < len(group):
                for own, row in zip(texts, group, strict=True):
                    own.append(text(row))
        for own, row in zip(texts, group, strict=True):
            names[row.id] = row.name + (f" ({', '.join(own)})" if own else "")
    return [replace(row, name=names[row.id]) for row in found]


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
    """Return the distribution of all runs; None without runs."""
    values = np.concatenate([np.asarray(block) for block in blocks]) if blocks else np.empty(0)
    if not len(values):
        return None
    return tuple(round(float(v), 4) for v in np.quantile(values, np.linspace(0, 1, _QUANTILES)))


def _with_drops(found: list[Row]) -> list[Row]:
    """Return the rows, compared with float32 of the same network and images.

    A paired drop of the evaluation stays. The same format comes first.
    """
    twins: dict[tuple[object, ...], Row] = {}
    for row in found:
        if row.precision == "float32" and row.top1 is not None:
            twins.setdefault(_network(row), row)
            twins.setdefault((*_network(row), row.format), row)
    return [_with_drop(row, twins) for row in found]


def _with_drop(row: Row, twins: dict[tuple[object, ...], Row]) -> Row:
    twin = twins.get((*_network(row), row.format)) or twins.get(_network(row))
    gap = None if twin is None else gap_points(twin, row)
    if gap is None or row.drop_points is not None or row.precision == "float32":
        return row
    return replace(row, drop_points=gap[0], drop_points_ci95=(gap[1], gap[2]))


def _network(row: Row) -> tuple[object, ...]:
    return (row.model, row.alpha, row.input_size, row.images_hash, row.store)


def gap_points(row: Candidate, other: Candidate) -> tuple[float, float, float] | None:
    """Return the difference of two accuracies and its 95 % interval in points; None without."""
    if row.top1 is None or other.top1 is None or not row.top1_ci95 or not other.top1_ci95:
        return None
    low, high = difference95(row.top1, row.top1_ci95, other.top1, other.top1_ci95)
    return 100 * (row.top1 - other.top1), 100 * low, 100 * high


def difference95(share: float, own: Interval, other: float, other_interval: Interval) -> Interval:
    """Return the 95 % interval of a difference of two shares from their Wilson intervals.

    Method 10 of R. G. Newcombe (Statistics in Medicine 17, 1998), for independent samples. Two
    files scored on the same images differ by less than it allows for: it is wide, not narrow.
    """
    (low, high), (other_low, other_high) = own, other_interval
    gap = share - other
    return (
        gap - math.hypot(share - low, other_high - other),
        gap + math.hypot(high - share, other - other_low),
    )


def _ordered(row: Row, group: list[Row]) -> Row:
    """Return the row with the rows of its group that beat it."""
    beaten = clearly = 0
    for other in group:
        if _beats(other, row):
            beaten |= 1 << other.id
            clearly |= _clearly(other, row) << other.id
    return replace(row, beaten_by=f"{beaten:x}", clearly_beaten_by=f"{clearly:x}")


def _beats(row: Row, other: Row) -> bool:
    if row.top1 is None or other.top1 is None:
        return False
    faster, better = row.median_ms - other.median_ms, row.top1 - other.top1
    return faster <= 0 and better >= 0 and (faster < 0 or better > 0)


def _clearly(row: Row, other: Row) -> bool:
    """Return whether one that beats another does so beyond noise in latency or accuracy."""
    gap = gap_points(row, other)
    return (gap is not None and gap[1] > 0) or latency_verdict(row, other).word == "faster"


def latency_verdict(row: Row, other: Row, name: str = "", base: str = "") -> verdicts.Verdict:
    """Judge whether medians of one machine differ beyond their intervals and noise."""
    ratio = statistics.apart(row.median_ms, row.median_ci95, other.median_ms, other.median_ci95)
    return verdicts.judge(name, base, ratio, max(row.noise_floor, other.noise_floor))


def on_front(row: Row, visible: int) -> str:
    """Return "front", "maybe" where only noise keeps the row off the front, or "behind".

    The row has an accuracy; `visible` is a bit mask of the rows that count.
    """
    if not int(row.beaten_by, 16) & visible:
        return "front"
    return "behind" if int(row.clearly_beaten_by, 16) & visible else "maybe"
