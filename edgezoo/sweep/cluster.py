"""A sweep's steps on a Dask cluster: exports and shards of accuracy run on any worker.

Latency is measured in one place, one session at a time, after everything else. Only the client
writes records, so a worker that dies loses nothing: Dask gives its tasks to others.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.core import registry
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import CrashError, DataError, EdgeZooError, MissingError, UsageError
from edgezoo.evaluation import accuracy
from edgezoo.evaluation.accuracy import Accuracy
from edgezoo.evaluation.ranks import Ranks
from edgezoo.images.labelled import finder
from edgezoo.images.shards import Member
from edgezoo.measurement.session import Session, Subject
from edgezoo.sweep import steps as local
from edgezoo.sweep import worker
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.steps import ExportedFile, Steps
from edgezoo.system.machine import machine_id

HERE = "here"
# Images per task: small enough that workers finish together, large enough to hide Dask's overhead.
_SHARD = 50
_CONNECT_S, _WORKERS_S = 10, 30
_EXPORTS_AT_ONCE = 64


@contextlib.contextmanager
def connected(
    request: SweepRequest, address: str | None, workers: int | None, measure_on: str | None
) -> Iterator[Steps]:
    """Yield steps that run on a cluster.

    Args:
        request: names the folders that the workers must see.
        address: of a scheduler, such as tcp://10.0.0.1:8786; None starts workers on this machine.
        workers: how many to start.
        measure_on: where latency is measured: "here", or a resource that one worker was started
            with.

    Raises:
        UsageError: where to measure latency is not given.
        MissingError: Dask is not installed, no scheduler answers, it has no workers, none has the
            resource, or they differ; also when the scheduler goes away later.
    """
    registry.require_packages(("distributed",), "cluster", "A cluster")
    if measure_on is None:
        if address is not None:
            raise UsageError(
                "Which machine is the device under test?",
                "Give --measure-on here, or the resource of a worker that was started with "
                '--resources "NAME=1".',
            )
        measure_on = HERE
    import distributed
    from dask import config

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    quiet = {
        "distributed.admin.large-graph-warning-threshold": "100GB",
        "distributed.comm.timeouts.connect": f"{_CONNECT_S}s",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(config.set(quiet))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # Dask's own check of versions reports less than ours
        if address is None:
            own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
            started = distributed.LocalCluster(**own, silence_logs=logging.CRITICAL)
            address = stack.enter_context(started).scheduler_address
        client = stack.enter_context(_client(address))
        _require_workers(client, address, None if measure_on == HERE else measure_on)
        stack.enter_context(_alike(client, request, measure_on))
        try:
            yield _Cluster(client, measure_on).steps()
        except _lost() as error:
            raise MissingError(
                f"The scheduler at {address} went away ({type(error).__name__}).",
                "Run the same command again: it resumes.",
            ) from error


def _lost() -> tuple[type[BaseException], ...]:
    """Return what Dask raises where the scheduler is gone."""
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    return FutureCancelledError, CommClosedError


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    import distributed
    from distributed.comm import parse_address
    from distributed.comm.registry import get_backend

    try:
        get_backend(parse_address(address)[0])
    except ValueError as error:
        raise UsageError(
            f"{address!r} is not an address of a Dask scheduler: {error}.",
            "Write tcp://host:8786, or tls:// as Dask is configured.",
        ) from error
    try:
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except OSError as error:
        raise MissingError(
            f"No Dask scheduler answers at {address}.",
            "Start one with `dask scheduler`, or let --workers N start workers here.",
        ) from error
    with client:
        yield client


def _workers(client: Any) -> Any:
    """Return what the scheduler knows of each worker, by its address."""
    return client.scheduler_info(n_workers=-1)["workers"]


def _require_workers(client: Any, address: str, device: str | None) -> None:
    begun = time.monotonic()
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_WORKERS_S)
    while True:  # the device's worker may be the last to join
        known = _workers(client).values()
        named = [entry for entry in known if device in entry["resources"]]
        if named or device is None or time.monotonic() - begun > _WORKERS_S:
            break
        time.sleep(0.1)
    if not known:
        raise MissingError(
            f"The scheduler at {address} has no workers.",
            f"Start some on each machine with `dask worker {address}`.",
        )
    if device is not None and len(named) != 1:
        raise MissingError(
            f"{len(named)} workers of {address} have the resource {device!r}; it must be one.",
            f'Start the device under test with `dask worker {address} --resources "{device}=1"`.',
        )


@contextlib.contextmanager
def _alike(client: Any, request: SweepRequest, measure_on: str) -> Iterator[None]:
    """Admit only workers with our software and our data, as long as the block lasts."""
    from distributed.diagnostics.plugin import WorkerPlugin

    places = [request.images, request.ground_truth, request.calibration, request.weights]
    hashes = {str(Path(p).absolute()): worker.place_hash(str(p)) for p in places if p is not None}
    seen = {place: found for place, found in hashes.items() if found}
    wanted = worker.Alike(worker.software(), seen, measure_on, frozenset(_workers(client)))
    name = f"edgezoo-{uuid.uuid4().hex}"
    # Dask's class must be the base, and EdgeZoo must be importable without it.
    plugin = type("Alike", (WorkerPlugin,), {"name": name, "setup": wanted.setup})()
    try:
        client.register_plugin(plugin, name=name)
        yield
    except ModuleNotFoundError as error:
        raise MissingError(
            f"A worker cannot import {error.name}.",
            "Install EdgeZoo there, in the version that is here.",
        ) from error
    finally:
        with contextlib.suppress(Exception):
            client.unregister_worker_plugin(name)


class _Cluster:
    def __init__(self, client: Any, measure_on: str) -> None:
        self._client = client
        self._device = None if measure_on == HERE else measure_on
        self._hosts = self._other_hosts()

    def steps(self) -> Steps:
        """Return the steps of a sweep."""
        measure, who = local.measure, machine_id
        if self._device is not None:
            measure, who = self._measure, partial(self._on_device, machine_id)
        steps = Steps(self._export, self._evaluate, measure, machine_id=who)
        return replace(steps, at_once=_EXPORTS_AT_ONCE, abandon=self._client.close)

    def _other_hosts(self) -> list[str] | None:
        """Return the machines that do not measure; None where all or none would."""
        known = _workers(self._client).values()
        device = {entry["host"] for entry in known if self._device in entry["resources"]}
        others = {entry["host"] for entry in known} - device
        return sorted(others) if device and others else None

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False, workers=self._hosts)

    def _result(self, future: Any) -> Any:
        """Return a task's result, or raise a CrashError where it killed several workers."""
        from distributed.scheduler import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise CrashError(
                f"{error.allowed_failures + 1} workers died one after the other of a task.",
                "Most likely memory ran out: give workers more, or start fewer on a machine.",
            ) from error

    def _on_device(self, function: Callable[..., Any], *arguments: Any) -> Any:
        resources = {self._device: 1}
        submitted = self._client.submit(function, *arguments, pure=False, resources=resources)
        return self._result(submitted)

    def _export(
        self, request: SweepRequest, files: Sequence[Variant]
    ) -> dict[Variant, ExportedFile]:
        assert request.output is not None
        made, contents = self._result(self._submit(worker.export, _absolute(request), list(files)))
        folder = request.output / "artifacts"
        _write(folder, contents)
        return {file: replace(own, path=folder / own.path) for file, own in made.items()}

    def _evaluate(
        self, request: SweepRequest, files: Sequence[Path], reference: Path | None
    ) -> Sequence[Accuracy]:
        images = _absolute(request).images
        assert images is not None
        find = finder(images, request.ground_truth, request.limit)
        # All shards are submitted before the first result is awaited.
        begun = {
            path: self._shards(path, find(registry.load_artifact(path).required_contract()).paths)
            for path in dict.fromkeys((*files, reference) if reference else files)
        }

        def ranker(
            path: Path | str, find: Callable[[InputContract], Sequence[Path | Member]]
        ) -> Ranks:
            find(registry.load_artifact(path).required_contract())
            parts: list[Ranks] = [self._result(future) for future in begun[Path(path)]]
            return replace(parts[0], top=np.concatenate([part.top for part in parts]))

        try:
            result = accuracy.assess(files, find, ranker, reference, ranker)
        except BaseException:
            # The rest of a file that kills workers would take the next file's tasks along.
            self._client.cancel([future for shards in begun.values() for future in shards])
            raise
        return result.results

    def _shards(self, path: Path, images: Sequence[Path | Member]) -> list[Any]:
        contents = self._submit(worker.same, worker.read(path))
        return [
            self._submit(worker.rank, contents, path.name, images[start : start + _SHARD])
            for start in range(0, len(images), _SHARD)
        ]

    def _measure(self, request: SweepRequest, subjects: Sequence[Subject]) -> Session:
        sent = [(worker.read(s.path), s.path.name, s.device, s.threads) for s in subjects]
        measured: Session = self._on_device(worker.measure, _absolute(request), sent)
        results = tuple(
            found if isinstance(found, EdgeZooError) else replace(found, artifact=str(subject.path))
            for subject, found in zip(subjects, measured.results, strict=True)
        )
        return replace(measured, results=results)


def _absolute(request: SweepRequest) -> SweepRequest:
    """Return the request with absolute paths: workers run in another folder."""
    images, truth = request.images, request.ground_truth
    return replace(
        request,
        images=images and images.absolute(),
        ground_truth=truth and truth.absolute(),
        weights=_absolute_path(request.weights),
        calibration=_absolute_path(request.calibration),
    )


def _absolute_path(text: str) -> str:
    return str(Path(text).absolute()) if Path(text).exists() else text


def _write(folder: Path, contents: worker.Contents) -> None:
    """Write each file whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            part = folder / f".{uuid.uuid4().hex}"
            try:
                part.write_bytes(data)
                part.replace(folder / name)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror}.", "Free some space there."
        ) from error
