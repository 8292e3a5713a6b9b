"""Runs a sweep: files, accuracy, latency, a record a variant; what is done already is kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgezoo import registry
from edgezoo.errors import CrashError, EdgeZooError, MissingError, RefusedError
from edgezoo.machine import environment
from edgezoo.measurement.comparisons import to_json as session_json
from edgezoo.measurement.session import Subject
from edgezoo.store import Record, Store, content_key, open_store
from edgezoo.sweep import keys, records
from edgezoo.sweep.grid import Network, SweepRequest, Variant, expand
from edgezoo.sweep.steps import REAL, Steps

Progress = Callable[[str, float], None]
# More processes, or more bytes of files, are not held open side by side.
_TOGETHER, _TOGETHER_BYTES = 8, 400_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sweep left in its store: the record of every variant, in the order of the grid."""

    records: tuple[Record, ...]
    done_before: int
    sessions: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Item:
    """A variant on its way to a record."""

    variant: Variant
    key: str = ""
    record: Record | None = None
    path: Path | None = None
    verification: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None


@dataclass(slots=True)
class _Sweep:
    request: SweepRequest
    store: Store
    steps: Steps
    progress: Progress
    images: str | None
    machine: str
    sessions: list[dict[str, Any]] = field(default_factory=list)


def run(
    request: SweepRequest,
    progress: Progress = lambda text, share: None,
    *,
    steps: Steps = REAL,
    retry_failed: bool = False,
    networks: list[Network] | None = None,
) -> Outcome:
    """Run a sweep into `request.output`, or go on with one that was interrupted.

    Args:
        request: what to sweep over; `output` must be set.
        progress: called with what is being done, and the share of it all that is done.
        steps: how files are made, scored and measured.
        retry_failed: try variants again whose record says that they failed.
        networks: what `expand` made of the request, where that has been done.

    Raises:
        UsageError, DataError, MissingError: the sweep as a whole cannot be done. A variant that
            fails ends in its record instead.
    """
    networks = expand(request) if networks is None else networks
    require_possible(networks)
    images = keys.images_hash(request)
    assert request.output is not None
    with open_store(request.output) as store:
        sweep = _Sweep(request, store, steps, progress, images, steps.machine_id())
        every = [[_item(sweep, n, v, retry_failed) for v in n.every] for n in networks]
        before = sum(item.record is not None for items in every for item in items)
        for place, items in enumerate(_prepared(sweep, networks, every)):
            _measure_open(sweep, items, (place, len(networks)))
        progress("Done", 1.0)
    records = tuple(item.record for items in every for item in items if item.record)
    return Outcome(records, before, tuple(sweep.sessions))


def _prepared(
    sweep: _Sweep, networks: list[Network], every: list[list[_Item]]
) -> Iterator[list[_Item]]:
    """The items of each network, in order, with all but the latency found out.

    One after the other as they are asked for; or all at once, before the first is given.
    """
    counts = range(len(networks)), [len(networks)] * len(networks)
    prepare = partial(_prepare, sweep)
    if sweep.steps.at_once == 1:
        yield from map(prepare, networks, every, *counts)
        return
    pool = ThreadPoolExecutor(sweep.steps.at_once)
    try:
        yield from list(pool.map(prepare, networks, every, *counts))
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


def _item(sweep: _Sweep, network: Network, variant: Variant, retry_failed: bool) -> _Item:
    file = keys.file_key(sweep.request, network, variant.file)
    item = _Item(
        variant, keys.record_key(sweep.request, file, variant, sweep.images, sweep.machine)
    )
    record = sweep.store.find(variant.name, item.key)
    if record and (record["status"] == "measured" or not retry_failed):
        item.record = record
    item.path = variant.path
    return item


def _prepare(
    sweep: _Sweep, network: Network, items: list[_Item], place: int, count: int
) -> list[_Item]:
    """Files and accuracies of the open variants of one network."""
    reasons = {variant: RefusedError(text) for variant, text in network.refused}
    for item in _open(items):
        error = network.error or reasons.get(item.variant)
        if error:
            _fail(sweep, item, error, "plan")
    if list(_open(items)):
        sweep.progress(f"Exporting {_title(items)}", _share(sweep, place, count, 0.0))
        _make_files(sweep, network, items)
        sweep.progress(f"Scoring {_title(items)}", _share(sweep, place, count, 0.7))
        if sweep.request.images is not None:
            _score(sweep, items)
        for item in _open(items):
            if item.variant.estimated:
                _estimate(sweep, item)
    return items


def _estimate(sweep: _Sweep, item: _Item) -> None:
    """Ask the compiler of the variant's device.

    Raises:
        MissingError: it is not installed.
    """
    assert item.path is not None
    try:
        facts = sweep.steps.estimate(item.path, item.variant.device)
    except MissingError:
        raise
    except EdgeZooError as error:
        _fail(sweep, item, error, "estimate")
        return
    contract = registry.load_artifact(item.path).contract
    variant = item.variant
    if contract is not None:
        variant = replace(
            variant, model=contract.model, alpha=contract.alpha, input_size=contract.input_size,
            precision=contract.precision,
        )  # fmt: skip
    artifact = {
        "path": _portable(item.path, sweep.store.folder),
        "sha256": keys.artifact_sha256(item.path),
        "bytes": keys.file_bytes(item.path),
        "trained": contract.weights.trained if contract else None,
    }
    evidence = {"verification": item.verification, "accuracy": item.accuracy}
    _write(sweep, item, records.estimated(variant, facts, artifact, evidence, environment()))


def _measure_open(sweep: _Sweep, items: list[_Item], at: tuple[int, int]) -> None:
    groups = list(_sessions(_open(items)))
    for i, group in enumerate(groups):
        share = _share(sweep, *at, 1.0, i / len(groups))
        sweep.progress(f"Measuring {_title(items)}", share)
        _measure(sweep, group)


def _title(items: list[_Item]) -> str:
    variant = items[0].variant
    return "files" if variant.path else variant.name.rsplit("_", 4)[0]


def _share(
    sweep: _Sweep, place: int, count: int, prepared: float, measured: float | None = None
) -> float:
    """Part of the whole sweep that is done; measuring takes about two fifths of it.

    Args:
        place, count: which network of how many.
        prepared, measured: parts of its own work; `measured` is None before measuring.
    """
    if sweep.steps.at_once == 1:
        return (place + 0.6 * prepared + 0.4 * (measured or 0.0)) / count
    if measured is None:
        return 0.6 * (place + prepared) / count
    return 0.6 + 0.4 * (place + measured) / count


def _open(items: Iterable[_Item]) -> Iterator[_Item]:
    return (item for item in items if item.record is None)


def _make_files(sweep: _Sweep, network: Network, items: list[_Item]) -> None:
    """Export what is missing: all of the network at once, one by one where that fails."""
    missing: dict[Variant, str] = {}
    # Files of finished variants too: one of them is what the others are compared with.
    for file in dict.fromkeys(item.variant.file for item in items if _is_wanted(item)):
        key = keys.file_key(sweep.request, network, file)
        kept = _kept(sweep.store, file, key)
        if kept is None:
            missing[file] = key
        else:
            _assign(items, file, kept)
    for files in _attempts(list(missing)):
        wanted = [f for f in files if any(_is_wanted(i) and i.variant.file == f for i in items)]
        if not wanted:
            continue
        try:
            made = sweep.steps.export(sweep.request, wanted)
        except EdgeZooError as error:
            if len(wanted) == 1:
                _fail_file(sweep, items, wanted[0], error)
            continue
        for file, facts in made.items():
            path = Path(facts["path"])
            facts = {**facts, "key": missing[file], "sha256": keys.artifact_sha256(path)}
            facts["path"] = path.relative_to(sweep.store.folder).as_posix()
            sweep.store.keep(_note_name(file), facts)
            _assign(items, file, {**facts, "path": path})
    for item in _open(items):
        if item.path is None:
            _fail(sweep, item, CrashError("The export left no such file."), "export")


def _attempts(files: list[Variant]) -> Iterator[list[Variant]]:
    yield files
    if len(files) > 1:
        yield from ([file] for file in files)


def _note_name(file: Variant) -> str:
    return f"file-{file.name.removesuffix('__t0')}"


def _kept(store: Store, file: Variant, key: str) -> dict[str, Any] | None:
    """A file that an earlier run made, if it is still what it was."""
    facts = store.note(_note_name(file))
    if facts is None or facts.get("key") != key:
        return None
    path = store.folder / facts["path"]
    if not path.is_file() or keys.artifact_sha256(path) != facts["sha256"]:
        return None
    return {**facts, "path": path}


def _assign(items: list[_Item], file: Variant, facts: dict[str, Any]) -> None:
    for item in items:
        if item.variant.file == file:
            item.path, item.verification = facts["path"], facts["verification"]


def _is_wanted(item: _Item) -> bool:
    """Whether its file is not there yet, and nothing says that it cannot be made."""
    return item.path is None and (item.record is None or item.record["status"] == "measured")


def _fail_file(sweep: _Sweep, items: list[_Item], file: Variant, error: EdgeZooError) -> None:
    for item in _open(items):
        if item.variant.file == file:
            _fail(sweep, item, error, "export")


def _score(sweep: _Sweep, items: list[_Item]) -> None:
    """Accuracy of each file once; a float32 file of the network is the reference."""
    paths = list(dict.fromkeys(item.path for item in _open(items) if item.path))
    reference = next((i.path for i in items if i.path and i.variant.precision == "float32"), None)
    hashes = {path: keys.artifact_sha256(path) for path in (*paths, reference) if path}
    names = {
        path: "accuracy-" + content_key({"file": hashes[path], "images": sweep.images,
                                         "reference": hashes.get(reference) if reference else None})
        for path in paths
    }  # fmt: skip
    entries = {path: sweep.store.note(names[path]) for path in paths}
    open_paths = [path for path in paths if entries[path] is None]
    for group in ([open_paths] if len(open_paths) > 1 else []) + [[p] for p in open_paths]:
        if all(entries[path] is not None for path in group):
            continue
        try:
            scored = sweep.steps.evaluate(sweep.request, group, reference)
        except EdgeZooError as error:
            if len(group) == 1:
                for item in _open(items):
                    if item.path == group[0]:
                        _fail(sweep, item, error, "evaluate")
            continue
        for path, entry in zip(group, scored, strict=True):
            entries[path] = records.accuracy(entry, sweep.images)
            sweep.store.keep(names[path], entries[path] or {})
    for item in _open(items):
        if item.path:
            item.accuracy = entries[item.path]


def _sessions(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Variants to be held open side by side: those of one device, as many as memory allows."""
    group: list[_Item] = []
    weight = 0
    for item in sorted(items, key=lambda item: item.variant.device):
        own = keys.file_bytes(item.path) if item.path else 0
        other = group and group[0].variant.device != item.variant.device
        if group and (other or len(group) == _TOGETHER or weight + own > _TOGETHER_BYTES):
            yield group
            group, weight = [], 0
        group.append(item)
        weight += own
    if group:
        yield group


def _measure(sweep: _Sweep, items: Sequence[_Item]) -> None:
    subjects = [
        Subject(item.path, item.variant.device, item.variant.threads)
        for item in items
        if item.path is not None
    ]
    measured = sweep.steps.measure(sweep.request, subjects)
    facts = {"id": uuid.uuid4().hex[:12], **session_json(measured)}
    sweep.sessions.append(facts)
    for item, result, blocks in zip(items, measured.results, measured.blocks, strict=True):
        if isinstance(result, EdgeZooError):
            _fail(sweep, item, result, "measure")
        else:
            evidence = {"verification": item.verification, "accuracy": item.accuracy}
            made = records.measured(item.variant, result, blocks or [], facts, evidence)
            made["artifact"]["path"] = _portable(item.path, sweep.store.folder)
            _write(sweep, item, made)


def _portable(path: Path | None, folder: Path) -> str:
    """Relative to the store where the file lies in it, so that the store can be moved."""
    assert path is not None
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _fail(sweep: _Sweep, item: _Item, error: EdgeZooError, step: str) -> None:
    _write(sweep, item, records.failed(item.variant, error, step))


def _write(sweep: _Sweep, item: _Item, facts: Record) -> None:
    sweep.store.write(item.variant.name, item.key, facts)
    item.record = sweep.store.find(item.variant.name, item.key)
