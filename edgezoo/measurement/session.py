"""Measures artifacts against one another: one process each, which take turns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edgezoo.core import registry
from edgezoo.core.errors import EdgeZooError, MissingError, RefusedError
from edgezoo.core.ran_on import RanOn
from edgezoo.core.typed_json import Positive, Range, optional, shared
from edgezoo.measurement import host, protocol, statistics, trust, verdicts
from edgezoo.measurement.child import Around, ColdStart, File, Finished, Opened, Stopwatch
from edgezoo.measurement.host import Health
from edgezoo.measurement.protocol import Block, Series, Settings
from edgezoo.measurement.statistics import Figure, LatencyStatistics, Ratio
from edgezoo.measurement.trust import Trust
from edgezoo.system import sandbox
from edgezoo.system.machine import Environment, emulator, environment, physical_cores
from edgezoo.system.process import Conversation

_CHECK = "A/A"
# A block takes some seconds on the slowest device; more is a hang.
_TIMEOUT_S = 600.0
Threads = Annotated[int, Range(1, 2**20)]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a file on a device with a number of threads.

    `batch` and `input_size` are of files that leave them open.
    """

    path: Path
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    input_size: int | None = None


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Runs before those that are recorded, and whether two windows of them agreed."""

    runs: Positive
    stable: bool


@dataclass(frozen=True, kw_only=True)  # no slots: `Measurement` extends two classes
class Figures:
    """Latency and memory.

    Attributes:
        latency_ms: wall time of one inference
        cpu_ms: CPU time of one inference, of all threads
        cold_start_ms: opening the file and its first inference
        apart_ms: steps around an inference, which its latency excludes; null for a file without a
            contract
        memory_over_runtime_mb: above the runtime with no file opened
        backend: what the runtime reports that runs the file, such as XNNPACK
        ran_on: the device that really ran it; not in older records
    """

    latency_ms: LatencyStatistics
    cpu_ms: Figure
    cold_start_ms: Figure
    cold_start: ColdStart
    apart_ms: Around | None
    peak_rss_mb: Figure
    memory_over_runtime_mb: Figure
    warm_up: WarmUp
    backend: str | None = None
    ran_on: RanOn | None = optional()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(File, Figures):
    """A file that was measured on a device with a number of threads.

    Attributes:
        artifact: path of the file
        runtime: package and version
        batch: images of one inference, where they are more than one
    """

    artifact: str
    runtime: str | None
    device: str
    threads: Threads
    trust: Trust
    batch: Positive | None = optional()


@dataclass(frozen=True, slots=True)
class Session:
    """Subjects that were measured together.

    Attributes:
        results: in the order of the subjects; the error that ended one in its place.
        blocks: of each subject, milliseconds of each run, a list per block; None after an error.
        self_check: the first subject against itself in another process; None without the check.
        environment, settings: where, and by which numbers.
    """

    results: tuple[Measurement | EdgeZooError, ...]
    blocks: tuple[list[list[float]] | None, ...]
    self_check: Ratio | None
    environment: Environment
    settings: Settings

    @property
    def noise_floor(self) -> float:
        """The smallest difference that counts."""
        return verdicts.noise_floor(self.self_check)


class _Child:
    """One subject's process, as the protocol's `Runner`."""

    finished: Finished

    def __init__(self, subject: Subject, cpus: list[int] | None, debug: bool) -> None:
        self.subject = subject
        limits = sandbox.limits_for([subject.path], device=subject.device)
        limited = sandbox.Sandbox((subject.path,), limits, debug=debug).launcher()
        self.talk = Conversation(Stopwatch, debug, _TIMEOUT_S, limited)
        self.opened = self._open(cpus)

    def _open(self, cpus: list[int] | None) -> Opened:
        place = (self.subject.path, self.subject.device, self.subject.threads)
        try:
            shape = (self.subject.batch, self.subject.input_size)
            return self.talk.ask(Stopwatch.open, *place, cpus, *shape)
        except BaseException:
            self.talk.close()
            raise

    def block(self, runs: int, lead_in: int) -> Block:
        return self.talk.ask(Stopwatch.block, runs, lead_in)

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
        subjects: all of them stay open at once.
        settings: of the protocol.
        pin: keep each process on as many physical cores as it has threads.
        self_check: measure the first subject in a second process too (A/A).
        progress: called with the share that is done.
        debug: let the processes write to this terminal.

    Raises:
        RefusedError: this CPU is emulated: its times would say nothing about a device.
    """
    _require_real_cpu()
    settings = settings or Settings()
    named = {str(i): subject for i, subject in enumerate(subjects)}
    if self_check and subjects:
        named[_CHECK] = subjects[0]
    with contextlib.ExitStack() as stack:
        children, errors = _open_all(named, pin, debug, stack)
        before, own = host.look(), time.process_time()
        found = protocol.measure(children, settings, progress)
        after, own = host.look(), time.process_time() - own
        errors |= {name: error for name, error in found.items() if isinstance(error, EdgeZooError)}
        own += _finish_all(children, errors)
    series = {name: s for name, s in found.items() if isinstance(s, Series) and name not in errors}
    both = _CHECK in series and "0" in series
    check = statistics.ratio(series[_CHECK].wall_ms, series["0"].wall_ms) if both else None
    remarks = [*trust.of_host(before, after, own), *trust.of_check(check, errors.get(_CHECK))]
    named.pop(_CHECK, None)
    results = tuple(
        errors.get(name) or _result(children[name], series[name], remarks, (before, after))
        for name in named
    )
    blocks = tuple(series[name].wall_ms if name in series else None for name in named)
    return Session(results, blocks, check, environment(), settings)


def _require_real_cpu() -> None:
    emulated_by = emulator()
    if emulated_by is not None:
        raise RefusedError(
            f"Nothing is measured here: the CPU is emulated by {emulated_by}, and its times say "
            "nothing about a device.",
            "Measure on the device itself; classify and evaluate compute the same here.",
        )


def _open_all(
    named: dict[str, Subject], pin: bool, debug: bool, stack: contextlib.ExitStack
) -> tuple[dict[str, _Child], dict[str, EdgeZooError]]:
    """Start the processes of all subjects; return those that opened, and the errors of others."""
    children: dict[str, _Child] = {}
    errors: dict[str, EdgeZooError] = {}
    for name, subject in named.items():
        try:
            children[name] = _Child(subject, _cpus(subject.threads) if pin else None, debug)
            stack.callback(children[name].talk.close)
        except EdgeZooError as error:
            errors[name] = error
    return children, errors


def _finish_all(children: dict[str, _Child], errors: dict[str, EdgeZooError]) -> float:
    """Finish the processes without errors; return the CPU seconds that they used since opening."""
    spent = 0.0
    # One that failed has been reported: asking it again would only find it dead.
    for name, child in children.items():
        if name in errors:
            continue
        try:
            child.finish()
            spent += child.finished.cpu_s - child.opened.cpu_s
        except EdgeZooError as error:
            errors[name] = error
    return spent


def _cpus(threads: int) -> list[int]:
    cores = physical_cores()
    if threads > len(cores):
        raise MissingError(
            f"--pin with {threads} threads needs as many physical cores; {len(cores)} may be used.",
            "Ask for fewer threads, or leave --pin out.",
        )
    return cores[:threads]


def _result(
    child: _Child, series: Series, remarks: list[trust.Remark], health: tuple[Health, Health]
) -> Measurement:
    subject, opened, finished = child.subject, child.opened, child.finished
    cold, latency = opened.cold_start, statistics.summary(series.wall_ms)
    of_series = trust.of_series(series, latency, subject.device, subject.threads)
    found = [*remarks, *of_series, *trust.of_place(opened.ran_on)]
    return Measurement(
        artifact=str(subject.path),
        **shared(finished.file, File),
        runtime=registry.runtime_for(subject.path).version(),
        backend=opened.backend,
        device=subject.device,
        ran_on=opened.ran_on,
        threads=subject.threads,
        latency_ms=latency.rounded(),
        cpu_ms=round(series.cpu_ms, 4),
        cold_start_ms=round(cold.open_ms + cold.first_inference_ms, 2),
        cold_start=ColdStart(*(round(ms, 2) for ms in shared(cold, ColdStart).values())),
        apart_ms=finished.around,
        peak_rss_mb=round(finished.peak_rss_mb, 1),
        memory_over_runtime_mb=round(finished.peak_rss_mb - finished.runtime_rss_mb, 1),
        warm_up=WarmUp(series.warm_up_runs, series.warm_up_stable),
        trust=trust.stamp(found, *health),
        batch=None if subject.batch == 1 else subject.batch,
    )
