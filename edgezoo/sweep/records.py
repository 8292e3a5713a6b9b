"""A running sweep: its variants on their way to records (docs/schemas/record.json)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgezoo.core import typed_json
from edgezoo.core.errors import EdgeZooError
from edgezoo.core.typed_json import shared
from edgezoo.evaluation.agreement import Verification
from edgezoo.inspection.compile_file import TargetEstimate
from edgezoo.measurement.child import File
from edgezoo.measurement.comparisons import SessionResult
from edgezoo.measurement.session import Figures, Measurement
from edgezoo.measurement.trust import Trust
from edgezoo.results import record
from edgezoo.results.record import Accuracy, Estimated, Failed, Measured, RecordedFile
from edgezoo.results.store import Store
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.steps import Steps
from edgezoo.system.machine import Environment

Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Item:
    """A variant on its way to a record.

    Attributes:
        path: of its file.
        verification: of the export; None for a file that existed.
    """

    variant: Variant
    key: str = ""
    record: record.Record | None = None
    path: Path | None = None
    verification: Verification | None = None
    accuracy: Accuracy | None = None

    def artifact(self, store: Path, file: File | Measurement) -> RecordedFile:
        """Return what a record in a store says of the file."""
        assert self.path is not None
        # Relative to the store where the file is in it, so that the store can be moved.
        inside = self.path.is_relative_to(store)
        path = self.path.relative_to(store).as_posix() if inside else self.path.name
        return RecordedFile(path, file.sha256, file.bytes, file.trained, self.verification)


def measured(
    item: Item, store: Path, result: Measurement, blocks: list[list[float]], session: SessionResult
) -> Measured:
    """Return the record of a variant that was measured.

    The result fills in what the variant leaves open; `blocks` are milliseconds of every run, a list
    per block, and `store` is the folder that the record is written to.
    """
    runs = tuple(tuple(round(ms, 4) for ms in block) for block in blocks)
    return Measured(
        created=_now(),
        file=_file(item.variant),
        variant=_variant(item.variant, result.runtime, result),
        artifact=item.artifact(store, result),
        accuracy=item.accuracy,
        latency=record.RecordedFigures(**shared(result, Figures), blocks_ms=runs),
        trust=result.trust,
        session=record.RecordedSession(session.id or "", session.self_check, session.noise_floor),
        protocol=session.protocol,
        environment=session.environment,
    )


def estimated(
    item: Item, store: Path, estimate: TargetEstimate, file: File, environment: Environment
) -> Estimated:
    """Return the record of what a compiler expects of a file; the variant's device is the target.

    `environment` is that of the machine that the compiler ran on; the figures do not depend on it.
    """
    reason = f"{estimate.source}: computed by a model of the hardware, not measured."
    median = estimate.inference_ms
    return Estimated(
        created=_now(),
        file=_file(item.variant),
        variant=_variant(item.variant, estimate.source, file),
        artifact=item.artifact(store, file),
        accuracy=item.accuracy,
        latency=record.EstimatedFigures(record.EstimatedTime(median, (median, median))),
        estimate=record.CompilerEstimate(**shared(estimate, record.CompilerEstimate)),
        trust=Trust("caution", (reason,)),
        session=record.RecordedSession("estimate", None, 0.0),
        environment=environment,
    )


def failed(variant: Variant, error: EdgeZooError, step: record.Step) -> Failed:
    """Return the record of a variant that could not be made, scored, measured or estimated."""
    return Failed(
        kind="estimate" if variant.estimated else "measurement",
        created=_now(),
        file=_file(variant),
        variant=_variant(variant, None),
        error=record.Failure(
            type(error).__name__, error.message, error.hint, error.exit_code, step
        ),
    )


def accuracy(entry: Any, images: str | None) -> Accuracy:
    """Return what is kept of a result of `edgezoo evaluate`."""
    facts = record.in_points(typed_json.encode(entry))
    reference = Path(facts["reference"]).name if facts["reference"] else None
    facts |= {"reference": reference, "images_hash": images}
    return typed_json.decode(Accuracy, facts, unknown="ignore")


def without_runs(made: record.Record | None) -> record.Record | None:
    """Return a finished record without every run: 100,000 of them take a gigabyte otherwise."""
    if not isinstance(made, Measured):
        return made
    return replace(made, latency=replace(made.latency, blocks_ms=()))


def _file(variant: Variant) -> str | None:
    """Return the name alone: a store keeps no folders of a machine."""
    return None if variant.path is None else variant.path.name


def _variant(
    variant: Variant, runtime: str | None, file: File | Measurement | None = None
) -> record.RecordedVariant:
    """Return the variant, where it leaves the network open that of the file."""
    network = variant if variant.model is not None or file is None else file
    own = {name: getattr(network, name) for name in ("model", "alpha", "input_size", "precision")}
    return record.RecordedVariant(**{**shared(variant, record.GridPlace), **own}, runtime=runtime)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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


def fail(sweep: Sweep, item: Item, error: EdgeZooError, step: record.Step) -> None:
    """Record why a variant has no figures."""
    write(sweep, item, failed(item.variant, error, step))


def write(sweep: Sweep, item: Item, made: record.Record) -> None:
    """Write an item's record."""
    name, key = item.variant.name, item.key
    sweep.store.write(name, replace(made, key=key))
    item.record = sweep.store.find(name, key)
