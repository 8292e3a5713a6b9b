"""`edgezoo verify --everywhere`: asks every reader that is here the same images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.arrays import load_rows
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import CrashError, EdgeZooError, MissingError, RefusedError
from edgezoo.core.reader_protocol import Opened, Reader
from edgezoo.core.sequences import OneOrMany, PathLike, many, paths
from edgezoo.core.spec import Precision
from edgezoo.core.typed_json import Count, JsonObject, Positive, Share
from edgezoo.evaluation import between_readers
from edgezoo.evaluation.between_readers import Difference, Margins
from edgezoo.pipeline import children
from edgezoo.readers import _ask
from edgezoo.system import sandbox
from edgezoo.system.machine import usable_cores
from edgezoo.system.scratch import scratch

Verdict = Literal["reference", "agrees", "differs", "faulty", "refused", "crashed", "missing"]
_WRONG: tuple[Verdict, ...] = ("differs", "crashed")


@dataclass(frozen=True, slots=True)
class ReaderResult:
    """What one reader makes of a file.

    Attributes:
        verdict: reference: the file's own runtime, which the others are compared with. agrees: the
            same answers but for rounding. differs: other answers. faulty: other answers for a
            reason that is known to lie with the reader. refused: it does not open the file.
            crashed: its process died. missing: it is not here
        version: package and version; null where it was not found out
        backend: what computed
        arithmetic: the floating-point type, where a float file was computed in less than float32
        images: that it answered
        agreement_top1: share of images with the same best class; null for features
        max_abs_diff: largest difference of a score
        sqnr_db: signal power over error power; null where nothing differs
        flips: images whose best class differs
        largest_flipped_margin: the largest margin of those
        reason: why it is wrong, or gave no answer
        hint: what to do about it
    """

    reader: str
    verdict: Verdict
    version: str | None = None
    backend: str | None = None
    arithmetic: str | None = None
    images: Count = 0
    agreement_top1: Share | None = None
    max_abs_diff: float | None = None
    sqnr_db: float | None = None
    flips: Count | None = None
    largest_flipped_margin: float | None = None
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FileEverywhere:
    """One file in every reader.

    Attributes:
        passed: no reader differs or crashed
        margins: how firm its answers are; null for features
    """

    artifact: Path
    format: str
    precision: Precision
    passed: bool
    margins: Margins | None
    readers: tuple[ReaderResult, ...]


@dataclass(frozen=True, slots=True)
class EverywhereResult(JsonObject):
    """Files in every reader that is installed.

    Attributes:
        passed: of every file
        images: how many
        image_source: synthetic, samples, or the folder or file that was given
    """

    passed: bool
    images: Positive
    image_source: str
    files: tuple[FileEverywhere, ...]


def verify_everywhere(
    artifacts: OneOrMany[PathLike],
    *,
    readers: OneOrMany[str] | None = None,
    images: PathLike = "synthetic",
    split: str | None = None,
    count: int = 64,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> EverywhereResult:
    """Open files in every reader that is installed, and compare the answers.

    Args:
        artifacts: files with a contract.
        readers: ask these alone, instead of all.
        images: "synthetic", a folder or an .npz of pixels.
        split: take this folder of `images`, such as "val", alone.
        count: how many images.
        seed: of the choice of images.
        progress: called with what is being done.
        debug: let child processes write to this terminal.

    Raises:
        UsageError: there is no such reader.
        RefusedError: no other reader opens such files.
        DataError: a damaged file, or one that its own runtime cannot open.
    """
    asked = None if readers is None else tuple(registry.reader(name) for name in many(readers))
    loaded = sandbox.load_artifacts(paths(artifacts))
    for artifact in loaded:
        _readers_of(artifact, asked)
        artifact.required_contract()
    images = sources.part_of(str(images), split)
    choice = _Images(images, count, seed)
    files = tuple(
        _in_every_reader(artifact, _readers_of(artifact, asked), choice, progress, debug)
        for artifact in loaded
    )
    counted = max(found.readers[0].images for found in files)
    return EverywhereResult(all(found.passed for found in files), counted, images, files)


@dataclass(frozen=True, slots=True)
class _Images:
    """The user's choice of images."""

    where: str
    count: int
    seed: int


def _readers_of(artifact: Artifact, asked: tuple[Reader, ...] | None) -> list[Reader]:
    """Return the readers of such a file besides its own runtime.

    Raises:
        RefusedError: there are none.
    """
    own = registry.runtime_for(artifact.path).name
    known = tuple(registry.readers().values()) if asked is None else asked
    found = [r for r in known if artifact.format in r.formats and r.name != own]
    if not found:
        formats = sorted({format for reader in known for format in reader.formats})
        none = "No other reader opens" if asked is None else "None of these readers opens"
        raise RefusedError(
            f"{none} {artifact.format} files such as {artifact.path}.",
            f"They open {', '.join(formats)}.",
        )
    return found


def _in_every_reader(
    artifact: Artifact,
    readers: list[Reader],
    images: _Images,
    progress: Callable[[str], None],
    debug: bool,
) -> FileEverywhere:
    contract = artifact.required_contract()
    with scratch() as folder:
        start = sandbox.workshop((artifact.path,), folder, debug=debug)
        choice = children.Choice(
            images.where, contract.frame, images.count, 2, images.seed, contract.resize,
            "--images",
        )  # fmt: skip
        pixels = start.call(children.store_images, folder, choice, ("images", None)).value.path
        output = folder / "reference.npy"
        progress(f"Running {artifact.path.name} in its own runtime")
        box = _box(artifact, folder, images.count, debug)
        own = box.call(_ask.open_reference, artifact.path, pixels, output)
        reference = load_rows(output)

        def ask(reader: Reader) -> ReaderResult:
            progress(f"Reading {artifact.path.name} with {reader.name}")
            return _asked(reader, own.opened, pixels, reference, folder, debug)

        with ThreadPoolExecutor(max_workers=min(2, usable_cores())) as pool:
            found = tuple(pool.map(ask, readers))
    name = registry.runtime_for(artifact.path).name
    first = ReaderResult(name, "reference", own.version, own.backend, images=len(reference))
    results = (first, *sorted(found, key=lambda result: result.verdict == "missing"))
    firm = None
    if contract.output_kind == "probabilities":
        right = [r.max_abs_diff for r in found if r.verdict == "agrees" and r.max_abs_diff]
        firm = between_readers.firmness(reference, contract.precision, right)
    passed = all(result.verdict not in _WRONG for result in results)
    return FileEverywhere(artifact.path, artifact.format, contract.precision, passed, firm, results)


def _box(
    artifact: Artifact, folder: Path, images: int, debug: bool, reader: Reader | None = None
) -> sandbox.Sandbox:
    """Return the limited process for the file's own runtime, or for a reader."""
    limits = sandbox.limits_for(artifact.files, items=images)
    writable: tuple[Path, ...] = (folder,)
    if reader is not None:
        patience = max(reader.patience_s, limits.timeout)
        limits = replace(limits, timeout=patience, programs=reader.programs)
        writable = (folder, *reader.writable())
    return sandbox.Sandbox((artifact.path,), limits, writable, debug=debug)


def _asked(
    reader: Reader,
    opened: Opened,
    pixels: Path,
    reference: NDArray[np.float32],
    folder: Path,
    debug: bool,
) -> ReaderResult:
    """Ask one reader in a child process, and judge its answers."""
    output = folder / f"{reader.name}.npy"
    images = min(len(reference), reader.most_images or len(reference))
    box = _box(opened.artifact, folder, images, debug, reader)
    try:
        told = box.call(_ask.ask, reader.name, opened, pixels, images, output)
    except EdgeZooError as error:
        return ReaderResult(
            reader.name, _verdict_of(error), reason=error.message, hint=error.hint or None
        )
    contract = opened.contract
    arithmetic = told.arithmetic or contract.precision
    found = between_readers.difference(
        reference, load_rows(output), arithmetic, contract.output_kind
    )
    return _judged(reader.name, told, found)


def _verdict_of(error: EdgeZooError) -> Verdict:
    if isinstance(error, MissingError):
        return "missing"
    crashed = isinstance(error, CrashError) or isinstance(error.__cause__, CrashError)
    return "crashed" if crashed else "refused"


def _judged(name: str, told: _ask.Asked, found: Difference) -> ReaderResult:
    verdict: Verdict = "agrees"
    if found.failure:
        verdict = "faulty" if told.fault else "differs"
    return ReaderResult(
        reader=name,
        verdict=verdict,
        version=told.version,
        backend=told.backend,
        arithmetic=told.arithmetic,
        images=found.images,
        agreement_top1=found.agreement_top1,
        max_abs_diff=found.max_abs_diff,
        sqnr_db=found.sqnr_db,
        flips=found.flips,
        largest_flipped_margin=found.largest_flipped_margin,
        reason=found.failure,
        hint=told.fault if found.failure else None,
    )
