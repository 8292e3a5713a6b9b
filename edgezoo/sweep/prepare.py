"""Files and accuracies of a sweep's variants; what an earlier run found out is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import CrashError, EdgeZooError, MissingError, RefusedError, UsageError
from edgezoo.results.store import Store, content_key
from edgezoo.sweep import keys, records
from edgezoo.sweep.grid import Network, Variant
from edgezoo.sweep.state import Item, Sweep, fail, open_items, portable, share, title, write
from edgezoo.system.machine import environment


def prepare(
    sweep: Sweep, network: Network, items: list[Item], place: int, count: int
) -> list[Item]:
    """Files and accuracies of the open variants of one network."""
    reasons = {variant: RefusedError(text) for variant, text in network.refused}
    for item in open_items(items):
        error = network.error or reasons.get(item.variant)
        if error:
            fail(sweep, item, error, "plan")
    if list(open_items(items)):
        sweep.progress(f"Exporting {title(items)}", share(sweep, place, count, 0.0))
        _make_files(sweep, network, items)
        sweep.progress(f"Scoring {title(items)}", share(sweep, place, count, 0.7))
        if sweep.request.images is not None:
            _score(sweep, items)
        for item in open_items(items):
            if item.variant.estimated:
                _estimate(sweep, item)
    return items


def require_same_files(sweep: Sweep, networks: list[Network], every: list[list[Item]]) -> None:
    """Look, before anything is made, whether files of another sweep would be overwritten.

    Files are named by what they are, not by how they were calibrated, and the records of the other
    sweep tell of the files as they are.

    Raises:
        UsageError: with what differs.
    """
    for network, items in zip(networks, every, strict=True):
        made = network.error is None and any(True for _ in open_items(items))
        for file in network.files if made else ():
            note = None if file.path else sweep.store.note(_note_name(network, file))
            if note is None or not (sweep.store.folder / note["path"]).is_file():
                continue
            if note["key"] != keys.file_key(sweep.request, network, file):
                facts = keys.file_facts(sweep.request, network, file)
                raise UsageError(
                    f"{sweep.store.folder / note['path']} is another sweep's: "
                    f"{_differences(note.get('made_from'), facts)}. Records there tell of it.",
                    "Take another --output for this sweep; edgezoo report reads several stores.",
                )


_HASHES = ("weights", "calibration")


def _differences(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """What differs between two files of one name, by the names of options."""
    if before is None:  # kept by an EdgeZoo that did not tell
        return "it was made with other settings"
    told = []
    for name in (name for name in now if before.get(name) != now[name]):
        option = "EdgeZoo or a package" if name == "edgezoo" else f"--{name.replace('_', '-')}"
        told.append(
            f"{option} was another"
            if name in _HASHES
            else f"{option} was {before.get(name)} and is {now[name]}"
        )
    return ", ".join(told)


def _estimate(sweep: Sweep, item: Item) -> None:
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
        fail(sweep, item, error, "estimate")
        return
    contract = registry.load_artifact(item.path).contract
    variant = item.variant
    if contract is not None:
        variant = replace(
            variant,
            model=contract.model,
            alpha=contract.alpha,
            input_size=contract.input_size,
            precision=contract.precision,
        )
    artifact = {
        "path": portable(item.path, sweep.store.folder),
        "sha256": keys.artifact_sha256(item.path),
        "bytes": keys.file_bytes(item.path),
        "trained": contract.weights.trained if contract else None,
    }
    evidence = {"verification": item.verification, "accuracy": item.accuracy}
    write(sweep, item, records.estimated(variant, facts, artifact, evidence, environment()))


def _make_files(sweep: Sweep, network: Network, items: list[Item]) -> None:
    """Export what is missing: all of the network at once, one by one where that fails."""
    missing: dict[Variant, str] = {}
    # Files of finished variants too: one of them is what the others are compared with.
    for file in dict.fromkeys(item.variant.file for item in items if _is_wanted(item)):
        key = keys.file_key(sweep.request, network, file)
        kept = _kept(sweep.store, _note_name(network, file), key)
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
            facts = {
                **facts,
                "key": missing[file],
                "made_from": keys.file_facts(sweep.request, network, file),
                "sha256": keys.artifact_sha256(path),
            }
            facts["path"] = path.relative_to(sweep.store.folder).as_posix()
            sweep.store.keep(_note_name(network, file), facts)
            _assign(items, file, {**facts, "path": path})
    for item in open_items(items):
        if item.path is None:
            fail(sweep, item, CrashError("The export left no such file."), "export")


def _attempts(files: list[Variant]) -> Iterator[list[Variant]]:
    yield files
    if len(files) > 1:
        yield from ([file] for file in files)


def _note_name(network: Network, file: Variant) -> str:
    """Of the note of a file; untrained files have names of their own, as on disk."""
    untrained = network.plan is not None and network.plan.weights.source == "random"
    return f"file-{file.name.removesuffix('__t0')}{'_untrained' if untrained else ''}"


def _kept(store: Store, name: str, key: str) -> dict[str, Any] | None:
    """A file that an earlier run made, if it is still what it was."""
    facts = store.note(name)
    if facts is None or facts.get("key") != key:
        return None
    path = store.folder / facts["path"]
    belonging = registry.runtime_for(path).files(path) if path.is_file() else ()
    if not belonging or not all(file.is_file() for file in belonging):
        return None
    if keys.artifact_sha256(path) != facts["sha256"]:
        return None
    return {**facts, "path": path}


def _assign(items: list[Item], file: Variant, facts: dict[str, Any]) -> None:
    for item in items:
        if item.variant.file == file:
            item.path, item.verification = facts["path"], facts["verification"]


def _is_wanted(item: Item) -> bool:
    """Whether its file is not there yet, and nothing says that it cannot be made."""
    return item.path is None and (item.record is None or item.record["status"] == "measured")


def _fail_file(sweep: Sweep, items: list[Item], file: Variant, error: EdgeZooError) -> None:
    for item in open_items(items):
        if item.variant.file == file:
            fail(sweep, item, error, "export")


def _score(sweep: Sweep, items: list[Item]) -> None:
    """Accuracy of each file once; a float32 file of the network is the reference."""
    paths = list(dict.fromkeys(item.path for item in open_items(items) if item.path))
    reference = next((i.path for i in items if i.path and i.variant.precision == "float32"), None)
    names = {path: _score_name(sweep, path, reference) for path in paths}
    entries = {path: sweep.store.note(names[path]) for path in paths}
    open_paths = [path for path in paths if entries[path] is None]
    for group in ([open_paths] if len(open_paths) > 1 else []) + [[p] for p in open_paths]:
        if all(entries[path] is not None for path in group):
            continue
        try:
            scored = sweep.steps.evaluate(sweep.request, group, reference)
        except EdgeZooError as error:
            if len(group) == 1:
                for item in open_items(items):
                    if item.path == group[0]:
                        fail(sweep, item, error, "evaluate")
            continue
        for path, entry in zip(group, scored, strict=True):
            entries[path] = records.accuracy(entry, sweep.images)
            sweep.store.keep(names[path], entries[path] or {})
    for item in open_items(items):
        if item.path:
            item.accuracy = entries[item.path]


def _score_name(sweep: Sweep, path: Path, reference: Path | None) -> str:
    """Of the note of an accuracy: it holds for these files, images and runtimes."""
    facts: dict[str, Any] = {"images": sweep.images}
    for name, file in (("file", path), ("reference", reference)):
        facts[name] = keys.artifact_sha256(file) if file else None
        facts[f"{name}_runtime"] = registry.runtime_for(file).version() if file else None
    return "accuracy-" + content_key(facts)
