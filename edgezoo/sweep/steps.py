"""The steps of a sweep: export, score, measure. Tests replace them by quick ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgezoo.evaluation import accuracy
from edgezoo.evaluation.accuracy import Accuracy
from edgezoo.evaluation.agreement import Verification
from edgezoo.inspection import compile_file
from edgezoo.inspection.compile_file import TargetEstimate
from edgezoo.measurement import session
from edgezoo.pipeline.run import run
from edgezoo.sweep.grid import SweepRequest, Variant, export_request
from edgezoo.system import sandbox
from edgezoo.system.machine import machine_id

_MOST_IMAGES = 1 << 20  # each image has its own time


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file and its verification."""

    path: Path
    verification: Verification | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps; each may raise an EdgeZooError, which ends its variants only.

    Attributes:
        export: makes files of one network; those that cannot be made are left out.
        evaluate: (files, reference) to a result of `edgezoo evaluate` each.
        measure: subjects to a `Session`.
        estimate: (file, target) to what its compiler expects.
        machine_id: of the machine that `measure` measures on.
        at_once: networks that are exported and scored at a time; with more than one, measuring
            waits until all are done.
        abandon: ends what is running, when the sweep is interrupted.
    """

    export: Callable[[SweepRequest, Sequence[Variant]], dict[Variant, ExportedFile]]
    evaluate: Callable[[SweepRequest, Sequence[Path], Path | None], Sequence[Accuracy]]
    measure: Callable[[SweepRequest, Sequence[session.Subject]], session.Session]
    estimate: Callable[[Path, str], TargetEstimate] = compile_file.estimate
    machine_id: Callable[[], str] = machine_id
    at_once: int = 1
    abandon: Callable[[], None] = lambda: None


def export(request: SweepRequest, files: Sequence[Variant]) -> dict[Variant, ExportedFile]:
    """Run the pipeline of `edgezoo export`; all files must be of one network."""
    result = run(export_request(request, files))
    made = {(entry.format, str(entry.precision)): entry for entry in result.artifacts}
    found = {file: made.get((file.format, file.precision or "")) for file in files}
    return {
        file: ExportedFile(entry.path, entry.verification)
        for file, entry in found.items()
        if entry is not None
    }


def evaluate(
    request: SweepRequest, files: Sequence[Path], reference: Path | None
) -> Sequence[Accuracy]:
    """Run `edgezoo evaluate` in a limited process."""
    assert request.images is not None
    paths = (*files, *([reference] if reference else []))
    limited = sandbox.Sandbox(paths, sandbox.limits_for(paths, jobs=None, items=_MOST_IMAGES))
    return limited.call(
        accuracy.evaluate,
        files,
        request.images,
        ground_truth=request.ground_truth,
        reference=reference,
        limit=request.limit,
    ).results


def measure(request: SweepRequest, subjects: Sequence[session.Subject]) -> session.Session:
    """Measure by the settings of the request."""
    return session.measure(
        subjects, request.settings, pin=request.pin, self_check=request.self_check
    )


REAL = Steps(export, evaluate, measure)
