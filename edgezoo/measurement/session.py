"""Measures artifacts against one another: a living process each, which take turns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError, MissingError, RefusedError
from edgezoo.measurement import host, protocol, statistics, trust, verdicts
from edgezoo.measurement.child import Stopwatch
from edgezoo.measurement.protocol import Block, Series, Settings
from edgezoo.measurement.statistics import Ratio
from edgezoo.system.machine import emulator, environment, physical_cores
from edgezoo.system.process import Conversation

_CHECK = "A/A"
# A block takes some seconds on the slowest device; more is a hang.
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a file on a device with a number of threads."""

    path: Path
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Session:
    """Subjects that were measured together.

    Attributes:
        results: in the order of the subjects: the objects of `edgezoo benchmark --json`, or the
            error that ended one.
        blocks: of each subject in turn, milliseconds of each run, a list a block; None after an
            error.
        self_check: the first subject against itself in another process; None without the check.
        environment, settings: where, and by which numbers.
    """

    results: tuple[dict[str, Any] | EdgeZooError, ...]
    blocks: tuple[list[list[float]] | None, ...]
    self_check: Ratio | None
    environment: dict[str, Any]
    settings: Settings

    @property
    def noise_floor(self) -> float:
        """The smallest difference that counts."""
        return verdicts.noise_floor(self.self_check)


class _Child:
    """One subject's process, as the protocol's `Runner`."""

    def __init__(self, subject: Subject, cpus: list[int] | None, debug: bool) -> None:
        self.subject = subject
        self.talk = Conversation(Stopwatch, debug, _TIMEOUT_S)
        self.opened = self._open(cpus)
        self.finished: dict[str, Any] = {}

    def _open(self, cpus: list[int] | None) -> dict[str, Any]:
        try:
            subject = self.subject
            return self.talk.ask(
                Stopwatch.open, subject.path, subject.device, subject.threads, cpus
            )
        except BaseException:
            self.talk.close()
            raise

    def block(self, runs: int, lead_in: int) -> Block:
        return Block(**self.talk.ask(Stopwatch.block, runs, lead_in))

    def finish(self) -> None:
        self.finished = self.talk.ask(Stopwatch.finish)


def measure(
    subjects: Sequence[Subject],
    settings: Settings | None = None,
    *,
    pin: bool = False,
    self_check: bool = True,
    progress: Callable[[float], None] = lambda share: None,
    debug: bool = False,
) -> Session:
    """Measure subjects in turns.

    Args:
        subjects: all of them are held open at once.
        settings: of the protocol.
        pin: keep each process on as many physical cores as it has threads.
        self_check: measure the first subject in a second process too.
        progress: called with the share that is done.
        debug: let the processes write to this terminal.

    Raises:
        RefusedError: this CPU is emulated: times would say nothing of the device.
    """
    emulated_by = emulator()
    if emulated_by is not None:
        raise RefusedError(
            f"Nothing is measured here: the CPU is emulated by {emulated_by}, and its times say "
            "nothing of a device.",
            "Measure on the device itself; classify and evaluate compute the same here.",
        )
    settings = settings or Settings()
    with contextlib.ExitStack() as stack:
        children: dict[str, _Child] = {}
        errors: dict[str, EdgeZooError] = {}
        named = {str(i): subject for i, subject in enumerate(subjects)}
        if self_check and subjects:
            named[_CHECK] = subjects[0]
        for name, subject in named.items():
            try:
                child = _Child(subject, _cpus(subject.threads) if pin else None, debug)
            except EdgeZooError as error:
                errors[name] = error
                continue
            stack.callback(child.talk.close)
            children[name] = child
        before, own = host.look(), time.process_time()
        found = protocol.measure(children, settings, progress)
        after, own = host.look(), time.process_time() - own
        for name, child in children.items():
            # One that failed has been told of already: to ask it again would only find it dead.
            if isinstance(found[name], EdgeZooError):
                continue
            try:
                child.finish()
            except EdgeZooError as error:
                found[name] = error
    errors |= {name: error for name, error in found.items() if isinstance(error, EdgeZooError)}
    series = {name: s for name, s in found.items() if isinstance(s, Series) and name not in errors}
    own += sum(children[n].finished["cpu_s"] - children[n].opened["cpu_s"] for n in series)
    check = None
    if _CHECK in series and "0" in series:
        check = statistics.ratio(series[_CHECK].wall_ms, series["0"].wall_ms)
    remarks = [*trust.of_host(before, after, own), *trust.of_check(check, errors.get(_CHECK))]
    results = tuple(
        errors.get(name) or _result(children[name], series[name], remarks, before, after)
        for name in named
        if name != _CHECK
    )
    blocks = tuple(series[n].wall_ms if n in series else None for n in named if n != _CHECK)
    return Session(results, blocks, check, environment(), settings)


def _cpus(threads: int) -> list[int]:
    cores = physical_cores()
    if threads > len(cores):
        raise MissingError(
            f"--pin with {threads} threads needs as many physical cores; {len(cores)} may be used.",
            "Ask for fewer threads, or leave --pin out.",
        )
    return cores[:threads]


def _result(
    child: _Child,
    series: Series,
    remarks: list[trust.Remark],
    before: host.Health,
    after: host.Health,
) -> dict[str, Any]:
    """One object of `edgezoo benchmark --json`."""
    latency = statistics.summary(series.wall_ms)
    opened, finished = child.opened, child.finished
    own = trust.of_series(series, latency, child.subject.device, child.subject.threads)
    own += trust.of_place(opened["ran_on"])
    file = finished["file"]
    return {
        "artifact": str(child.subject.path),
        **file,
        "runtime": registry.runtime_for(child.subject.path).version(),
        "backend": opened["backend"],
        "device": child.subject.device,
        "ran_on": opened["ran_on"],
        "threads": child.subject.threads,
        "latency_ms": _rounded(latency),
        "cpu_ms": round(series.cpu_ms, 4),
        "cold_start_ms": round(opened["open_ms"] + opened["first_inference_ms"], 2),
        "cold_start": {
            name: round(opened[name], 2) for name in ("import_ms", "open_ms", "first_inference_ms")
        },
        "apart_ms": _rounded(finished["apart_ms"]) if finished["apart_ms"] else None,
        "peak_rss_mb": round(finished["peak_rss_mb"], 1),
        "memory_over_runtime_mb": round(finished["peak_rss_mb"] - finished["runtime_rss_mb"], 1),
        "warm_up": {"runs": series.warm_up_runs, "stable": series.warm_up_stable},
        "trust": trust.stamp([*remarks, *own], before, after),
    }


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds to a tenth of a microsecond."""
    return {
        key: [round(v, 4) for v in value]
        if isinstance(value, list)
        else round(value, 4)
        if isinstance(value, float)
        else value
        for key, value in facts.items()
    }
