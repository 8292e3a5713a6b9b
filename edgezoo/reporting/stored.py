"""What results stores hold, without the runs: each record is read once and let go.

A record holds every run, ten kilobytes; 100,000 of them do not fit into memory as objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgezoo.measurement.protocol import Settings
from edgezoo.reporting.rows import Contents, Row, machine_name, related, row_of
from edgezoo.results.record import Failed, Measured, Record
from edgezoo.results.store import iterate, require_different
from edgezoo.system.machine import Environment


@dataclass(slots=True)
class MachineSummary:
    """A machine, with how often each level of trust, reason and runtime occurs on it."""

    environment: Environment
    levels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    runtimes: Counter[str | None] = field(default_factory=Counter)


@dataclass(slots=True)
class Stored:
    """The records of one or more stores.

    Attributes:
        rows: of all stores, compared with one another.
        parts: the same of each store, as if it were alone.
        machines: by name.
        protocols: all that were used.
        damaged: a message for each record that could not be read.
    """

    rows: list[Row] = field(default_factory=list)
    parts: list[Contents] = field(default_factory=list)
    machines: dict[str, MachineSummary] = field(default_factory=dict)
    protocols: dict[Settings, None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Failed]:
        """The records without figures."""
        return [record for part in self.parts for record in part.failed]

    def add(self, records: Iterable[Record], allow_poor: bool = False) -> list[Row]:
        """Add a store; return its rows as if each were alone."""
        found: list[Row] = []
        failed: list[Failed] = []
        first = sum(len(part.rows) for part in self.parts)
        for record in records:
            if isinstance(record, Failed):
                failed.append(record)
                continue
            found.append(row_of(first + len(found), record))
            name = machine_name(record.environment)
            machine = self.machines.setdefault(name, MachineSummary(record.environment))
            machine.levels[record.trust.level] += 1
            machine.runtimes[record.variant.runtime] += 1
            machine.reasons.update(record.trust.reasons)
            if isinstance(record, Measured) and record.protocol:
                self.protocols[record.protocol] = None
        self.parts.append(Contents(related(found, allow_poor), failed))
        return found


def collected(records: Iterable[Record], allow_poor: bool = False) -> Stored:
    """Return what records hold, as those of one store."""
    stored = Stored()
    stored.add(records, allow_poor)
    stored.rows = stored.parts[0].rows
    return stored


def read(folders: Sequence[Path], allow_poor: bool = False) -> Stored:
    """Read results stores.

    Raises:
        UsageError: one store is named twice.
        DataError: not a store, or one of a newer schema.
    """
    require_different(folders)
    stored = Stored()
    alone = [stored.add(iterate(folder, stored.damaged), allow_poor) for folder in folders]
    every = [row for rows in alone for row in rows]
    stored.rows = stored.parts[0].rows if len(folders) == 1 else related(every, allow_poor)
    return stored
