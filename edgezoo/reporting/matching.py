"""Matches the records of two stores by variant."""

from __future__ import annotations

from dataclasses import dataclass

from edgezoo.reporting.rows import Contents, Row
from edgezoo.results.record import Failed, Kind, RecordedVariant

Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """Variants of two stores.

    Attributes:
        pairs: rows of one variant before and after.
        broken: records of variants that had figures before, and failed.
        alone: what is not compared, with the reason.
    """

    pairs: list[tuple[Row, Row]]
    broken: list[Failed]
    alone: list[str]


@dataclass(frozen=True, slots=True)
class _Side:
    """The newest records of a store: rows by machine, and failures newer than all of them."""

    measured: dict[Identity, dict[str, Row]]
    failed: dict[Identity, Failed]
    older: list[str]


def match(before: Contents, after: Contents) -> Matches:
    """Match variants by their place in the grid, files by their names, on one machine if possible.

    Where a store has several records of a variant, such as of two sweeps with different `--limit`,
    the newest counts.
    """
    old, new = _side(before), _side(after)
    pairs, alone = [], [*old.older, *new.older]
    for identity, first in old.measured.items():
        second = new.measured.get(identity)
        if second is None:
            if identity not in new.failed:
                alone += [f"{label(row)}: only before" for row in first.values()]
        elif common := [machine for machine in first if machine in second]:
            pairs += [(first[machine], second[machine]) for machine in common]
            alone += _elsewhere(first, common, "before") + _elsewhere(second, common, "after")
        else:
            pairs.append((_newest(first), _newest(second)))
    for identity, second in new.measured.items():
        if identity not in old.measured:
            word = "failed before" if identity in old.failed else "only after"
            alone += [f"{label(row)}: {word}" for row in second.values()]
    broken = [record for identity, record in new.failed.items() if identity in old.measured]
    return Matches(pairs, broken, alone + _failures(old, new))


def label(row: Row) -> str:
    """Return name, device and threads of a row, and the file if one was given."""
    own = f"{row.name} ({row.file})" if row.file and row.file not in row.name else row.name
    return f"{own} {row.device} threads {row.threads}"


def failed_label(record: Failed) -> str:
    """Return the same of a record without figures."""
    return f"{record.name} {record.variant.device} threads {record.variant.threads}"


def _identity(variant: Row | RecordedVariant, file: str | None, kind: Kind) -> Identity:
    place = (variant.device, variant.threads, kind)
    if file:
        return file, *place
    network = (variant.model, variant.alpha, variant.input_size)
    return *network, variant.precision, variant.format, *place


def _side(found: Contents) -> _Side:
    measured: dict[Identity, dict[str, Row]] = {}
    failed: dict[Identity, Failed] = {}
    older = []
    for row in sorted(found.rows, key=lambda row: row.created):
        place = measured.setdefault(_identity(row, row.file, row.kind), {})
        if row.machine in place:
            older.append(label(place[row.machine]))
        place[row.machine] = row
    for record in sorted(found.failed, key=lambda record: record.created):
        identity = _identity(record.variant, record.file, record.kind)
        known = measured.get(identity, {}).values()
        if any(row.created >= record.created for row in known):
            continue  # it works by now
        older += [label(row) for row in known]
        measured.pop(identity, None)
        failed[identity] = record
    return _Side(measured, failed, [f"{name}: the store holds a newer record" for name in older])


def _newest(found: dict[str, Row]) -> Row:
    return max(found.values(), key=lambda row: row.created)


def _elsewhere(found: dict[str, Row], common: list[str], side: str) -> list[str]:
    return [
        f"{label(row)}: on {machine} only {side}"
        for machine, row in found.items()
        if machine not in common
    ]


def _failures(old: _Side, new: _Side) -> list[str]:
    texts = [
        f"{failed_label(record)}: failed "
        + ("before and after" if identity in old.failed else "only after")
        for identity, record in new.failed.items()
        if identity not in old.measured
    ]
    known = {*new.failed, *new.measured}
    gone = (record for identity, record in old.failed.items() if identity not in known)
    return texts + [f"{failed_label(record)}: failed only before" for record in gone]
