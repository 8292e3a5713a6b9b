"""What a sweep has others do: export, score, measure. Tests put quick ones in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgezoo.core import typed_json
from edgezoo.evaluation import accuracy
from edgezoo.inspection import compile_file
from edgezoo.measurement import session
from edgezoo.pipeline.run import run
from edgezoo.sweep.grid import SweepRequest, Variant, export_request
from edgezoo.system import process
from edgezoo.system.machine import machine_id


@dataclass(frozen=True, slots=True)
class Steps:
    """The three steps; each may raise an EdgeZooError, which ends its variants only.

    Attributes:
        export: some files of one network to {file: {"path", "verification"}}.
        evaluate: (files, reference) to an entry of `edgezoo evaluate --json` each.
        measure: subjects to a `Session`.
        estimate: (file, target) to what its compiler expects, see `compilation.estimate`.
        machine_id: of the machine that `measure` measures on.
        at_once: networks that are exported and scored at a time; with more than one, measuring
            waits until all are done.
        abandon: ends what is running, when the sweep is interrupted.
    """

    export: Callable[[SweepRequest, Sequence[Variant]], dict[Variant, dict[str, Any]]]
    evaluate: Callable[[SweepRequest, Sequence[Path], Path | None], list[dict[str, Any]]]
    measure: Callable[[SweepRequest, Sequence[session.Subject]], session.Session]
    estimate: Callable[[Path, str], dict[str, Any]] = lambda path, target: typed_json.encode(
        compile_file.estimate(path, target)
    )
    machine_id: Callable[[], str] = machine_id
    at_once: int = 1
    abandon: Callable[[], None] = lambda: None


def export(request: SweepRequest, files: Sequence[Variant]) -> dict[Variant, dict[str, Any]]:
    """By the pipeline of `edgezoo export`; all files must be of one network."""
    result = run(export_request(request, files))
    made = {(entry.format, str(entry.precision)): entry for entry in result.artifacts}
    found = {}
    for file in files:
        entry = made.get((file.format, file.precision or ""))
        if entry is not None:
            found[file] = {
                "path": str(entry.path),
                "verification": typed_json.encode(entry.verification),
            }
    return found


def evaluate(
    request: SweepRequest, files: Sequence[Path], reference: Path | None
) -> list[dict[str, Any]]:
    """By `edgezoo.evaluation.accuracy`, in a process of its own."""
    assert request.images is not None
    result = process.call(
        accuracy.evaluate,
        files,
        request.images,
        ground_truth=request.ground_truth,
        reference=reference,
        limit=request.limit,
    )
    entries: list[dict[str, Any]] = typed_json.encode(result.results)
    return entries


def measure(request: SweepRequest, subjects: Sequence[session.Subject]) -> session.Session:
    """By the stopwatch."""
    return session.measure(
        subjects, request.settings, pin=request.pin, self_check=request.self_check
    )


REAL = Steps(export, evaluate, measure)
