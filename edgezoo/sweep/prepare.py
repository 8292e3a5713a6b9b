"""Files and accuracies of a sweep's variants; results of an earlier run are reused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from edgezoo.core import registry
from edgezoo.core.errors import CrashError, EdgeZooError, MissingError, RefusedError, UsageError
from edgezoo.measurement import child
from edgezoo.results.record import Accuracy, Failed
from edgezoo.results.store import Store, content_key
from edgezoo.sweep import keys, records
from edgezoo.sweep.grid import Network, Variant
from edgezoo.sweep.keys import MadeFrom
from edgezoo.sweep.records import Item, Sweep, fail, open_items, share, title, write
from edgezoo.sweep.steps import ExportedFile
from edgezoo.system import sandbox
from edgezoo.system.machine import environment

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNote(ExportedFile):
    """What a store keeps of a file that a sweep exported; its path is relative to the store.

    Attributes:
        key: see `keys.file_key`.
        made_from: what the key is a hash of; not in older stores.
    """

    key: str
    sha256: str
    made_from: MadeFrom | None = None


def prepare(
    sweep: Sweep, network: Network, items: list[Item], place: int, count: int
) -> list[Item]:
    """Make files and accuracies of the open variants of one network."""
    reasons = {variant: RefusedError(text) for variant, text in network.refused}
    for item in open_items(items):
        if error := network.error or reasons.get(item.variant):
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
    """Check, before anything is made, that no files of another sweep would be overwritten.

    Files are named by what they are, not by how they were calibrated, and the records of the other
    sweep describe the files as they are.

    Raises:
        UsageError: with what differs.
    """
    for network, items in zip(networks, every, strict=True):
        made = network.error is None and any(True for _ in open_items(items))
        for file in network.files if made else ():
            note = None if file.path else sweep.store.note(FileNote, _note_name(network, file))
            path = sweep.store.folder / note.path if note else None
            if note is None or path is None or not path.is_file():
                continue
            if note.key != keys.file_key(sweep.request, network, file):
                now = keys.made_from(sweep.request, network, file)
                raise UsageError(
                    f"{path} is of another sweep: "
                    f"{_differences(note.made_from, now)}. Records there describe it.",
                    "Take another --output for this sweep; edgezoo report reads several stores.",
                )


def _differences(before: MadeFrom | None, now: MadeFrom) -> str:
    """Return what differs between two files of one name, by the names of options."""
    if before is None:  # of an EdgeZoo that did not keep it
        return "it was made with other settings"
    texts = []
    for name in (f.name for f in fields(now)):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            option = "EdgeZoo or a package" if name == "edgezoo" else f"--{name.replace('_', '-')}"
            hashed = name in ("weights", "calibration")
            texts.append(f"{option} was {'different' if hashed else f'{old} and is {new}'}")
    return ", ".join(texts)


def _estimate(sweep: Sweep, item: Item) -> None:
    """Ask the compiler of the variant's device.

    Raises:
        MissingError: it is not installed.
    """
    assert item.path is not None
    try:
        found = sweep.steps.estimate(item.path, item.variant.device)
    except MissingError:
        raise
    except EdgeZooError as error:
        fail(sweep, item, error, "estimate")
        return
    file = child.describe(sandbox.load_artifact(item.path))
    made = records.estimated(item, sweep.store.folder, found, file, environment())
    write(sweep, item, made)


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
        still = {item.variant.file for item in items if _is_wanted(item)}
        wanted = [file for file in files if file in still]
        if not wanted:
            continue
        try:
            made = sweep.steps.export(sweep.request, wanted)
        except EdgeZooError as error:
            for item in open_items(items) if len(wanted) == 1 else ():
                if item.variant.file == wanted[0]:
                    fail(sweep, item, error, "export")
            continue
        for file, exported in made.items():
            note = FileNote(
                exported.path.relative_to(sweep.store.folder),
                exported.verification,
                key=missing[file],
                sha256=keys.artifact_sha256(exported.path),
                made_from=keys.made_from(sweep.request, network, file),
            )
            sweep.store.keep(_note_name(network, file), note)
            _assign(items, file, exported)
    for item in open_items(items):
        if item.path is None:
            fail(sweep, item, CrashError("The export left no such file."), "export")


def _attempts(files: list[T]) -> list[list[T]]:
    """Return what to try: all together, and if that fails each alone."""
    return [files] + ([[file] for file in files] if len(files) > 1 else [])


def _note_name(network: Network, file: Variant) -> str:
    """Return the name of a file's note; untrained files have names of their own, as on disk."""
    untrained = network.plan is not None and network.plan.weights.source == "random"
    return f"file-{file.name.removesuffix('__t0')}{'_untrained' if untrained else ''}"


def _kept(store: Store, name: str, key: str) -> ExportedFile | None:
    """Return a file that an earlier run made, if it is unchanged."""
    note = store.note(FileNote, name)
    if note is None or note.key != key:
        return None
    path = store.folder / note.path
    belonging = registry.runtime_for(path).files(path) if path.is_file() else ()
    whole = belonging and all(file.is_file() for file in belonging)
    if not whole or keys.artifact_sha256(path) != note.sha256:
        return None
    return ExportedFile(path, note.verification)


def _assign(items: list[Item], file: Variant, made: ExportedFile) -> None:
    for item in items:
        if item.variant.file == file:
            item.path, item.verification = made.path, made.verification


def _is_wanted(item: Item) -> bool:
    """Return whether its file is missing and has not failed."""
    return item.path is None and not isinstance(item.record, Failed)


def _score(sweep: Sweep, items: list[Item]) -> None:
    """Score each file once; a float32 file of the network is the reference."""
    paths = list(dict.fromkeys(item.path for item in open_items(items) if item.path))
    reference = next((i.path for i in items if i.path and i.variant.precision == "float32"), None)
    names = {path: _score_name(sweep, path, reference) for path in paths}
    entries = {path: sweep.store.note(Accuracy, names[path]) for path in paths}
    for group in _attempts([path for path in paths if entries[path] is None]):
        if all(entries[path] is not None for path in group):
            continue
        try:
            scored = sweep.steps.evaluate(sweep.request, group, reference)
        except EdgeZooError as error:
            for item in open_items(items) if len(group) == 1 else ():
                if item.path == group[0]:
                    fail(sweep, item, error, "evaluate")
            continue
        for path, entry in zip(group, scored, strict=True):
            entries[path] = records.accuracy(entry, sweep.images)
            sweep.store.keep(names[path], entries[path])
    for item in open_items(items):
        if item.path:
            item.accuracy = entries[item.path]


def _score_name(sweep: Sweep, path: Path, reference: Path | None) -> str:
    """Return the name of an accuracy's note: it holds for these files, images and runtimes."""
    facts = {"images": sweep.images}
    for name, file in (("file", path), ("reference", reference)):
        facts[name] = keys.artifact_sha256(file) if file else None
        facts[f"{name}_runtime"] = registry.runtime_for(file).version() if file else None
    return "accuracy-" + content_key(facts)
