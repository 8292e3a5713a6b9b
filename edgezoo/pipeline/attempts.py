"""Makes each file of an export on its own: one that fails does not take the others along."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from edgezoo.core.errors import CrashError, EdgeZooError, RefusedError
from edgezoo.core.protocols import Exporter, ExportJob
from edgezoo.pipeline import children
from edgezoo.pipeline.export_result import NotMade
from edgezoo.pipeline.plan import Plan
from edgezoo.system import process

T = TypeVar("T")
K = TypeVar("K")
N = TypeVar("N", bound=str)
_CRASHED = "Leave this format or precision out, or replace the layer; --debug shows the whole text."


class Attempts:
    """The jobs of a plan, those that failed, and the resources that child processes used."""

    def __init__(self, plan: Plan, launcher: process.Launcher) -> None:
        self.usage: dict[str, process.Usage] = {}
        self._plan, self._launcher = plan, launcher
        self._lost: dict[ExportJob, NotMade] = {}

    @property
    def jobs(self) -> list[tuple[Exporter, ExportJob]]:
        """The plan's jobs without those whose files cannot be made."""
        return [(exporter, job) for exporter, job in self._plan.jobs if job not in self._lost]

    @property
    def not_made(self) -> tuple[NotMade, ...]:
        """The files that cannot be made, in the plan's order."""
        return tuple(self._lost[job] for _, job in self._plan.jobs if job in self._lost)

    def lose(self, jobs: Iterable[ExportJob], refusal: children.Refusal) -> None:
        """Go on without some files.

        Raises:
            RefusedError: none is left.
        """
        for job in jobs:
            lost = NotMade(job.format, job.precision, refusal.reason, refusal.hint)
            self._lost.setdefault(job, lost)
        if self._lost and not self.jobs:
            reasons = " ".join(dict.fromkeys(entry.reason for entry in self.not_made))
            hints = " ".join(dict.fromkeys(entry.hint for entry in self.not_made))
            raise RefusedError(f"No file of {self._plan.spec.name} can be made: {reasons}", hints)

    def many(
        self, jobs: Sequence[process.Job[T]], names: Sequence[N], prefix: str
    ) -> dict[N, T | EdgeZooError]:
        """Run jobs in parallel; an answer is an error where the network is to blame for it."""
        answers: dict[N, T | EdgeZooError] = {}
        workers = min(2, os.cpu_count() or 1)
        for index, answer in self._launcher.attempt_many(jobs, workers, _blames_network):
            if isinstance(answer, EdgeZooError):
                answers[names[index]] = answer
                continue
            self.usage[f"{prefix}_{names[index]}"] = answer.usage
            answers[names[index]] = answer.value
        return {name: answers[name] for name in names}

    def each(
        self,
        groups: Mapping[str, Sequence[K]],
        start: Callable[[Sequence[K]], process.Job[tuple[children.Outcome, ...]]],
        prefix: str,
    ) -> dict[str, dict[K, children.Outcome]]:
        """Run the entries of each format in a process of its own.

        Where that process dies, each of its entries gets one: a library's abort takes none along.
        """
        found: dict[str, dict[K, children.Outcome]] = {}
        jobs = [start(group) for group in groups.values()]
        answers = self.many(jobs, list(groups), prefix)
        for name, group in groups.items():
            answer = answers[name]
            if not isinstance(answer, EdgeZooError):
                found[name] = dict(zip(group, answer, strict=True))
            elif len(group) == 1:
                found[name] = {group[0]: children.Outcome(refusal=refusal_of(answer))}
            else:
                parts = {str(i): [entry] for i, entry in enumerate(group)}
                alone = self.each(parts, start, f"{prefix}_{name}")
                found[name] = {key: made for part in alone.values() for key, made in part.items()}
        return found


def refusal_of(error: EdgeZooError) -> children.Refusal:
    """Return what is told of an error that one file failed with."""
    return children.Refusal(error.message, error.hint if _death(error) is None else _CRASHED)


def _death(error: EdgeZooError) -> CrashError | None:
    """Return how a process died, also where that was told of a file of others."""
    died = error if isinstance(error, CrashError) else error.__cause__
    return died if isinstance(died, CrashError) else None


def _blames_network(error: EdgeZooError) -> bool:
    """Whether an error is a library's with this network, not the machine's or the user's."""
    died = _death(error)
    if died is not None:
        return died.returncode != -signal.SIGKILL  # killed for its memory, or at its limits
    return isinstance(error, RefusedError)
