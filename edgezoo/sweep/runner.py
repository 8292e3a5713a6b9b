"""Runs a sweep: files, accuracy, latency, a record per variant; finished ones are skipped."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from edgezoo.core.errors import EdgeZooError
from edgezoo.measurement import comparisons
from edgezoo.measurement.comparisons import SessionResult
from edgezoo.measurement.session import Subject
from edgezoo.results.record import Failed, Record
from edgezoo.results.store import open_store
from edgezoo.sweep import keys, records
from edgezoo.sweep.grid import Network, SweepRequest, Variant, expand
from edgezoo.sweep.prepare import prepare, require_same_files
from edgezoo.sweep.records import Item, Progress, Sweep, fail, open_items, share, title, write
from edgezoo.sweep.steps import REAL, Steps

# More processes, or more bytes of files, do not stay open at once.
_TOGETHER, _TOGETHER_BYTES = 8, 400_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sweep left in its store: the record of every variant, in the order of the grid."""

    records: tuple[Record, ...]
    done_before: int
    sessions: tuple[SessionResult, ...]


def run(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    *,
    steps: Steps = REAL,
    retry_failed: bool = False,
    networks: list[Network] | None = None,
) -> Outcome:
    """Run a sweep into `request.output`, or resume one that was interrupted.

    Args:
        request: what to sweep over; `output` must be set.
        progress: called with the current step, and the share of the sweep that is done.
        steps: how files are made, scored and measured.
        retry_failed: try variants again whose record says that they failed.
        networks: of `expand(request)`, if that has been called.

    Raises:
        UsageError, DataError, MissingError: the sweep as a whole cannot be done. A variant that
            fails has a record that says why.
    """
    networks = expand(request) if networks is None else networks
    require_possible(networks)
    keys.look_again()
    images = keys.images_hash(request)
    assert request.output is not None
    with open_store(request.output) as store:
        sweep = Sweep(request, store, steps, progress, images, steps.machine_id())
        every = [[_item(sweep, n, v, retry_failed) for v in n.every] for n in networks]
        require_same_files(sweep, networks, every)
        before = sum(item.record is not None for items in every for item in items)
        for place, items in enumerate(_prepared(sweep, networks, every)):
            _measure_open(sweep, items, (place, len(networks)))
        progress("Done", 1.0)
    records = tuple(item.record for items in every for item in items if item.record)
    return Outcome(records, before, tuple(sweep.sessions))


def _prepared(
    sweep: Sweep, networks: list[Network], every: list[list[Item]]
) -> Iterator[list[Item]]:
    """Yield the items of each network, in order, with files and accuracies.

    They are prepared one by one on demand, or all at once before the first is yielded.
    """
    counts = range(len(networks)), [len(networks)] * len(networks)
    work = partial(prepare, sweep), networks, every, *counts
    if sweep.steps.at_once == 1:
        yield from map(*work)
        return
    pool = ThreadPoolExecutor(sweep.steps.at_once)
    try:
        yield from list(pool.map(*work))
    except BaseException:
        sweep.steps.abandon()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def require_possible(networks: list[Network]) -> None:
    """Raise the first error where not one network can be made."""
    errors = [network.error for network in networks if network.error]
    if errors and len(errors) == len(networks):
        raise errors[0]


def _item(sweep: Sweep, network: Network, variant: Variant, retry_failed: bool) -> Item:
    file = keys.file_key(sweep.request, network, variant.file)
    key = keys.record_key(sweep.request, file, variant, sweep.images, sweep.machine)
    record = sweep.store.find(variant.name, key)
    if retry_failed and isinstance(record, Failed):
        record = None
    return Item(variant, key, records.without_runs(record), variant.path)


def _measure_open(sweep: Sweep, items: list[Item], at: tuple[int, int]) -> None:
    groups = list(_sessions(open_items(items)))
    for i, group in enumerate(groups):
        done = share(sweep, *at, 1.0, i / len(groups))
        sweep.progress(f"Measuring {title(items)}", done)
        _measure(sweep, group)


def _sessions(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield variants to measure together: those of one device, as many as memory allows."""
    group: list[Item] = []
    weight = 0
    for item in sorted(items, key=lambda item: item.variant.device):
        own = keys.bare_artifact(item.path).bytes if item.path else 0
        other = group and group[0].variant.device != item.variant.device
        if group and (other or len(group) == _TOGETHER or weight + own > _TOGETHER_BYTES):
            yield group
            group, weight = [], 0
        group.append(item)
        weight += own
    if group:
        yield group


def _measure(sweep: Sweep, items: Sequence[Item]) -> None:
    subjects = [Subject(i.path, i.variant.device, i.variant.threads) for i in items if i.path]
    measured = sweep.steps.measure(sweep.request, subjects)
    session = comparisons.result(measured, uuid.uuid4().hex[:12])
    sweep.sessions.append(session)
    for item, result, blocks in zip(items, measured.results, measured.blocks, strict=True):
        if isinstance(result, EdgeZooError):
            fail(sweep, item, result, "measure")
        else:
            folder = sweep.store.folder
            write(sweep, item, records.measured(item, folder, result, blocks or [], session))
