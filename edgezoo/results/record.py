"""A record of a results store: what one variant is, and its figures or why it has none.

A record may come from anywhere: `edgezoo.core.typed_json` checks it against these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from edgezoo.core.protocols import Estimate
from edgezoo.core.typed_json import Count, Length, Range, Share, optional
from edgezoo.evaluation.agreement import Verification
from edgezoo.evaluation.outcomes import Outcomes
from edgezoo.measurement.child import Pixels
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import Figures, Threads
from edgezoo.measurement.statistics import Duration, Figure, ReportedRatio
from edgezoo.measurement.trust import Trust
from edgezoo.system.machine import Environment

# 2: drops are in percentage points (`drop_points`), where 1 had shares (`drop`).
SCHEMA = 2
Kind = Literal["measurement", "estimate"]
Step = Literal["plan", "export", "evaluate", "measure", "estimate"]
Images = Annotated[int, Range(1, 2**40)]
Runs = Annotated[tuple[Figure, ...], Length(1_000_000)]
Interval = tuple[Figure, Figure]


@dataclass(frozen=True, slots=True)
class GridPlace:
    """The place of a variant in its grid.

    Attributes:
        model, alpha, input_size, precision: null where a file does not state it
    """

    model: str | None
    alpha: Figure | None
    input_size: Pixels | None
    precision: str | None
    format: str
    device: str
    threads: Threads


@dataclass(frozen=True, slots=True)
class RecordedVariant(GridPlace):
    """The place of a variant in its grid.

    Attributes:
        runtime: package and version
    """

    runtime: str | None

    @property
    def title(self) -> str:
        """Its name in tables: "mobilenet 0.25 128 int8 tflite"."""
        words = (self.model, self.alpha, self.input_size, self.precision, self.format)
        return " ".join(
            f"{w:g}" if isinstance(w, float) else str(w) for w in words if w is not None
        )


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """The file that was measured.

    Attributes:
        path: relative to the store
        verification: of the export
    """

    path: str
    sha256: str
    bytes: Count
    trained: bool | None
    verification: Verification | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy on labelled images, and the drop against the reference on the same images.

    Attributes:
        top1_ci95, top5_ci95: Wilson's 95 % interval
        drop_points: top-1 of the reference minus that of the file, in percentage points
        drop_points_ci95: Tango's 95 % interval for paired proportions
        images_hash: of names and sizes of the images, with limit and ground truth
        outcomes: of each image; not in older records, which are compared as if on other images
    """

    images: Images
    top1: Share
    top5: Share
    top1_ci95: Interval
    images_hash: str | None
    agreement_top1: Figure | None
    drop_points: Figure | None
    drop_points_ci95: Interval | None
    top5_ci95: Interval | None = None
    unreadable: Count = 0
    verdict: str | None = None
    preprocessing: str | None = None
    reference: str | None = None
    outcomes: Outcomes | None = optional()

    def __post_init__(self) -> None:
        if (self.drop_points is None) != (self.drop_points_ci95 is None):
            raise ValueError("a drop goes with its interval")
        if self.outcomes and abs(self.outcomes.hits - self.top1 * self.images) > 0.5:
            raise ValueError("top1 is not that of the outcomes")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFigures(Figures):
    """Latency and memory of a variant, with every run.

    Attributes:
        blocks_ms: every run, a list per block; blocks 2r and 2r + 1 are those of round r
    """

    blocks_ms: Annotated[tuple[Runs, ...], Length(1_000_000)]


@dataclass(frozen=True, slots=True)
class EstimatedTime:
    """The time that a compiler expects: it has no spread."""

    median: Duration
    ci95: tuple[Duration, Duration]


@dataclass(frozen=True, slots=True)
class EstimatedFigures:
    """Latency of an estimate."""

    latency_ms: EstimatedTime


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilerEstimate(Estimate):
    """What a compiler expects of a file, never a measurement.

    Attributes:
        npu_ops, cpu_ops: operations by where they run
        source: begins with "Vela estimate"
    """

    npu_ops: Count
    cpu_ops: Count


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """The session in which a variant was measured.

    Attributes:
        id: variants of one session took turns
        self_check: one file in two processes (A/A)
    """

    id: str
    self_check: ReportedRatio | None
    noise_floor: Annotated[float, Range(0, 1e15)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a variant has no figures."""

    class_: str
    message: str
    hint: str
    exit_code: int
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHead:
    """What every record has.

    Attributes:
        key: hash of what the record depends on
        file: name of the file that was given; null for a variant of a grid
        store: the folder that it was read from; not in the file
    """

    kind: Kind
    created: str
    variant: RecordedVariant
    file: str | None = None
    schema: int = SCHEMA
    key: str = ""
    store: str | None = optional()


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithFigures(RecordHead):
    status: Literal["measured"] = "measured"
    artifact: RecordedFile
    accuracy: Accuracy | None
    trust: Trust
    session: RecordedSession
    environment: Environment
    error: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(_WithFigures):
    """The record of a variant that was measured."""

    kind: Literal["measurement"] = "measurement"
    latency: RecordedFigures
    protocol: Settings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated(_WithFigures):
    """The record of a variant that a compiler has estimated.

    Attributes:
        latency: repeats the time of the estimate
        environment: of the machine that the compiler ran on
    """

    kind: Literal["estimate"] = "estimate"
    latency: EstimatedFigures
    estimate: CompilerEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(RecordHead):
    """The record of a variant that could not be made, scored, measured or estimated."""

    status: Literal["failed"] = "failed"
    error: Failure

    @property
    def name(self) -> str:
        """Its file, or else its place in the grid."""
        return self.file or self.variant.title


Record = Measured | Estimated | Failed


def current(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a record of schema 1 as schema 2 has it."""
    facts = {**facts}
    artifact = facts.get("artifact")
    path = artifact.get("path") if isinstance(artifact, dict) else None
    if "file" not in facts and isinstance(path, str) and not path.startswith("artifacts/"):
        facts["file"] = PurePosixPath(path).name  # of a version that did not write "file"
    if facts.get("accuracy") is not None:
        facts["accuracy"] = in_points(facts["accuracy"])
    return facts


def in_points(accuracy: Any) -> Any:
    """Return the JSON of an accuracy with its drop in percentage points instead of as a share."""
    if not isinstance(accuracy, dict) or "drop" not in accuracy:
        return accuracy

    def points(value: Any) -> Any:
        if isinstance(value, list):
            return [points(end) for end in value]
        return 100 * value if type(value) in (int, float) else value

    drop, interval = points(accuracy["drop"]), points(accuracy.get("drop_ci95"))
    return {**accuracy, "drop_points": drop, "drop_points_ci95": interval}
