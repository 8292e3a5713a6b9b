"""Makes the records (docs/schemas/record.json) of a sweep's variants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgezoo.core import typed_json
from edgezoo.core.errors import EdgeZooError
from edgezoo.core.typed_json import shared
from edgezoo.inspection.compile_file import TargetEstimate
from edgezoo.measurement.child import File
from edgezoo.measurement.comparisons import SessionResult
from edgezoo.measurement.session import Figures, Measurement
from edgezoo.measurement.trust import Trust
from edgezoo.results.record import (
    Accuracy,
    CompilerEstimate,
    Estimated,
    EstimatedFigures,
    EstimatedTime,
    Failed,
    Failure,
    Measured,
    RecordedFigures,
    RecordedFile,
    RecordedSession,
    RecordedVariant,
    Step,
    in_points,
)
from edgezoo.sweep.grid import Variant
from edgezoo.system.machine import Environment


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a variant's file apart from its latency.

    Attributes:
        path: of the file, as the record names it.
        verification: JSON of the export's; None for a file that existed.
    """

    path: str
    verification: dict[str, Any] | None
    accuracy: Accuracy | None


def measured(
    variant: Variant,
    result: Measurement,
    blocks: list[list[float]],
    session: SessionResult,
    evidence: Evidence,
) -> Measured:
    """Return the record of a variant that was measured.

    Args:
        variant: as requested; `result` fills in what it leaves open.
        result: of the session.
        blocks: milliseconds of every run, a list per block.
        session: with an id.
        evidence: of its file.
    """
    runs = tuple(tuple(round(ms, 4) for ms in block) for block in blocks)
    return Measured(
        created=_now(),
        file=_file(variant),
        variant=_variant(variant, result.runtime, result),
        artifact=_artifact(evidence, result),
        accuracy=evidence.accuracy,
        latency=RecordedFigures(**shared(result, Figures), blocks_ms=runs),
        trust=result.trust,
        session=RecordedSession(session.id or "", session.self_check, session.noise_floor),
        protocol=session.protocol,
        environment=session.environment,
    )


def estimated(
    variant: Variant,
    estimate: TargetEstimate,
    file: File,
    evidence: Evidence,
    environment: Environment,
) -> Estimated:
    """Return the record of what a compiler expects of a file.

    Args:
        variant: with the target as its device.
        estimate: of the compiler.
        file: what the file states of itself.
        evidence: of the file.
        environment: of the machine that the compiler ran on; the figures do not depend on it.
    """
    reason = f"{estimate.source}: computed by a model of the hardware, not measured."
    median = estimate.inference_ms
    return Estimated(
        created=_now(),
        file=_file(variant),
        variant=_variant(variant, estimate.source, file),
        artifact=_artifact(evidence, file),
        accuracy=evidence.accuracy,
        latency=EstimatedFigures(EstimatedTime(median, (median, median))),
        estimate=CompilerEstimate(**shared(estimate, CompilerEstimate)),
        trust=Trust("caution", (reason,)),
        session=RecordedSession("estimate", None, 0.0),
        environment=environment,
    )


def failed(variant: Variant, error: EdgeZooError, step: Step) -> Failed:
    """Return the record of a variant that could not be made, scored, measured or estimated."""
    return Failed(
        kind="estimate" if variant.estimated else "measurement",
        created=_now(),
        file=_file(variant),
        variant=_variant(variant, None),
        error=Failure(type(error).__name__, error.message, error.hint, error.exit_code, step),
    )


def accuracy(entry: Any, images: str | None) -> Accuracy:
    """Return what is kept of a result of `edgezoo evaluate`."""
    facts = in_points(typed_json.encode(entry))
    reference = Path(facts["reference"]).name if facts["reference"] else None
    facts |= {"reference": reference, "images_hash": images}
    return typed_json.decode(Accuracy, facts, unknown="ignore")


def _file(variant: Variant) -> str | None:
    """Return the name alone: a store keeps no folders of a machine."""
    return None if variant.path is None else variant.path.name


def _artifact(evidence: Evidence, file: File | Measurement) -> RecordedFile:
    return RecordedFile(evidence.path, file.sha256, file.bytes, file.trained, evidence.verification)


def _variant(
    variant: Variant, runtime: str | None, file: File | Measurement | None = None
) -> RecordedVariant:
    """Return the variant, where it leaves the network open that of the file."""
    network = variant if variant.model is not None or file is None else file
    return RecordedVariant(
        network.model,
        network.alpha,
        network.input_size,
        network.precision,
        variant.format,
        variant.device,
        variant.threads,
        runtime,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
