"""Verdicts on what was measured in one session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.errors import EdgeZooError
from edgezoo.core.typed_json import optional
from edgezoo.measurement import statistics, verdicts
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import Measurement, Session, Threads
from edgezoo.measurement.statistics import Figure, ReportedRatio
from edgezoo.system.machine import Environment


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measured file against another one of its session.

    Attributes:
        artifact, base: paths
        threads: of the file and of the base
        verdict: of the file against the base
    """

    artifact: str
    base: str
    threads: tuple[Threads, Threads]
    ratio: ReportedRatio
    verdict: verdicts.Word
    text: str


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What all files that were measured together share.

    Attributes:
        self_check: one file in two processes (A/A)
        noise_floor: the smallest difference that counts, as a share
        id: of a session of a sweep
    """

    comparisons: tuple[Comparison, ...]
    self_check: ReportedRatio | None
    noise_floor: Figure
    protocol: Settings
    environment: Environment
    id: str | None = optional()


def result(session: Session, id: str | None = None) -> SessionResult:
    """Return the session without its measurements."""
    check, floor = session.self_check, round(session.noise_floor, 4)
    figures = (tuple(compare(session)), check.reported() if check else None, floor)
    return SessionResult(*figures, session.settings, session.environment, id)


def compare(session: Session) -> list[Comparison]:
    """Judge what was measured together.

    Each file against the first one with the same threads, each number of threads against the
    first one of the same file, and int8 against float32 of the same network and format.
    """
    good = [(i, r) for i, r in enumerate(session.results) if not isinstance(r, EdgeZooError)]
    every = [measured for _, measured in good]
    pairs: dict[tuple[int, int], tuple[Measurement, Measurement]] = {}
    for i, measured in good:
        for j, base in good:
            if i != j and (j, i) not in pairs and _is_base(measured, base, every):
                pairs[i, j] = measured, base
    short = short_names([measured.artifact for measured in every])
    return [_compare(session, short, i, j, *pair) for (i, j), pair in pairs.items()]


def _is_base(measured: Measurement, base: Measurement, every: list[Measurement]) -> bool:
    first = next(m for m in every if m.threads == measured.threads)
    first_of_file = next(m for m in every if m.artifact == measured.artifact)
    same_threads = base.threads == measured.threads
    return base is first or base is first_of_file or (same_threads and _is_twin(measured, base))


def _is_twin(measured: Measurement, base: Measurement) -> bool:
    """Return whether these are int8 and float32 of one network in one format."""
    places = [(m.model, m.alpha, m.input_size, m.format, m.device) for m in (measured, base)]
    precisions = (measured.precision, base.precision)
    return measured.model is not None and precisions == ("int8", "float32") and len({*places}) == 1


def _compare(
    session: Session, short: dict[str, str], i: int, j: int, own: Measurement, base: Measurement
) -> Comparison:
    ratio = statistics.ratio(session.blocks[i] or [], session.blocks[j] or [])
    threads = (own.threads, base.threads)
    names = [short[own.artifact], short[base.artifact]]
    if own.threads != base.threads:
        names = [f"{name} (threads {n})" for name, n in zip(names, threads, strict=True)]
    verdict = verdicts.judge(names[0], names[1], ratio, session.noise_floor)
    text = verdict.text
    machine = session.environment.machine
    if _is_twin(own, base) and own.threads == base.threads:
        why = verdicts.int8_remark(verdict.word, machine.features, machine.architecture)
        text += f"; {why}" if why else ""
    found = (ratio.reported(), verdict.word, text)
    return Comparison(own.artifact, base.artifact, threads, *found)


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each path that no other one has: its name, else with folders."""
    parts = {path: Path(path).parts for path in paths}
    names = {}
    for path, own in parts.items():
        count = 1
        others = [other for other in parts.values() if other != own]
        while count < len(own) and any(other[-count:] == own[-count:] for other in others):
            count += 1
        names[path] = str(Path(*own[-count:]))
    return names
