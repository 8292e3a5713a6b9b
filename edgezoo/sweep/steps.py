"""The steps of a sweep: export, score, measure. Tests replace them by quick ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgezoo.core import typed_json
from edgezoo.inspection import compile_file
from edgezoo.measurement import session
from edgezoo.pipeline.run import run
from edgezoo.results.record import CompilerEstimate
from edgezoo.sweep.grid import SweepRequest, Variant, export_request
from edgezoo.system import process
from edgezoo.system.machine import machine_id


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file and the JSON of its verification."""

    path: Path
    verification: dict[str, Any] | None


def estimate(file: Path, target: str) -> CompilerEstimate:
    """Ask the target's compiler."""
    facts = typed_json.encode(compile_file.estimate(file, target))
    return typed_json.decode(CompilerEstimate, facts, unknown="ignore")


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
    evaluate: Callable[[SweepRequest, Sequence[Path], Path | None], Sequence[Any]]
    measure: Callable[[SweepRequest, Sequence[session.Subject]], session.Session]
    estimate: Callable[[Path, str], CompilerEstimate] = estimate
    machine_id: Callable[[], str] = machine_id
    at_once: int = 1
    abandon: Callable[[], None] = lambda: None


def export(request: SweepRequest, files: Sequence[Variant]) -> dict[Variant, ExportedFile]:
    """Run the pipeline of `edgezoo export`; all files must be of one network."""
    result = run(export_request(request, files))
    made = {(entry["format"], entry["precision"]): entry for entry in result.artifacts}
    found = {}
    for file in files:
        entry = made.get((file.format, str(file.precision)))
        if entry is not None:
            found[file] = ExportedFile(Path(entry["path"]), entry["verification"])
    return found


def evaluate(request: SweepRequest, files: Sequence[Path], reference: Path | None) -> Sequence[Any]:
    """Run `edgezoo.evaluation.accuracy`, in a process of its own."""
    facts = process.call(
        "edgezoo.evaluation.accuracy:evaluate",
        {
            "artifacts": [str(path) for path in files],
            "images": str(request.images),
            "ground_truth": str(request.ground_truth) if request.ground_truth else None,
            "reference": str(reference) if reference else None,
            "limit": request.limit,
        },
    )
    entries: list[dict[str, Any]] = facts["results"]
    return entries


def measure(request: SweepRequest, subjects: Sequence[session.Subject]) -> session.Session:
    """Measure by the settings of the request."""
    return session.measure(
        subjects, request.settings, pin=request.pin, self_check=request.self_check
    )


REAL = Steps(export, evaluate, measure)
