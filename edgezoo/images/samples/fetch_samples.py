"""The sample images in the cache: downloaded and checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.files import file_sha256
from edgezoo.core.paths import cache_home, mark_cache
from edgezoo.core.typed_json import Count, Positive, optional
from edgezoo.images.samples import commit
from edgezoo.images.samples.likeness import why_another
from edgezoo.images.samples.listing import COLLECTION, Collection, Sample
from edgezoo.system import downloads
from edgezoo.system.downloads import seen

WORD = "samples"  # value of --calibration
_AT_A_TIME = 4
_LARGEST = 20_000_000
_TERMS = "TERMS.txt"
_FETCH = "Run edgezoo samples fetch first."


@dataclass(frozen=True, slots=True)
class SamplesResult:
    """The state of the sample images on this machine.

    Attributes:
        origin: where the images are published, and which version.
        terms: of the images; they are not part of EdgeZoo's licence.
        accepted: the terms were accepted on this machine.
        folder: contains a folder per class; it may not exist.
        list_sha256: of the list of images.
        listed: images in the list.
        here: images that are here and have not changed since the download.
        altered: names of changed images.
        fetched: images downloaded now; this and the next two after fetch only.
        checked_by: what the downloaded images were compared with.
        because: why not with the hashes of the commit; null if they were used.
    """

    collection: str
    origin: str
    terms: str
    accepted: bool
    folder: Path
    list_sha256: str
    listed: Positive
    here: Count
    altered: tuple[str, ...]
    bytes: Count
    fetched: Count | None = optional()
    checked_by: Literal["commit", "likeness"] | None = optional()
    because: str | None = optional()


@dataclass(frozen=True, slots=True)
class FetchedSamples(SamplesResult):
    """The same after a download, with every key."""

    fetched: Count | None = None
    checked_by: Literal["commit", "likeness"] | None = None
    because: str | None = None


def home(collection: Collection = COLLECTION) -> Path:
    """Return the folder of a collection, with a folder per class; it may not exist."""
    return cache_home() / "samples" / collection.name


def _place(collection: Collection, sample: Sample) -> Path:
    return home(collection) / sample.wnid / sample.name


def accepted(collection: Collection = COLLECTION) -> bool:
    """Whether the current terms have been accepted on this machine."""
    path = home(collection) / _TERMS
    return path.is_file() and path.read_text(encoding="utf-8") == collection.terms


def folder(collection: Collection = COLLECTION) -> Path:
    """Return the folder of a complete collection.

    Raises:
        DataError: images are missing.
    """
    samples = collection.samples()
    here = sum(_place(collection, sample).is_file() for sample in samples)
    if here < len(samples):
        raise DataError(f"Only {here} of the {len(samples)} sample images are here.", _FETCH)
    return home(collection)


def look(collection: Collection = COLLECTION) -> SamplesResult:
    """Compare each image that is here with its hash at the download."""
    samples = collection.samples()
    first = seen.known()
    states = {sample.name: _state(collection, sample, first) for sample in samples}
    places = [_place(collection, sample) for sample in samples]
    return SamplesResult(
        collection=collection.name,
        origin=collection.origin,
        terms=collection.terms,
        accepted=accepted(collection),
        folder=home(collection),
        list_sha256=collection.sha256(),
        listed=len(samples),
        here=sum(state in ("here", "new") for state in states.values()),
        altered=tuple(name for name, state in states.items() if state == "altered"),
        bytes=sum(path.stat().st_size for path in places if path.is_file()),
    )


def _state(
    collection: Collection, sample: Sample, first: Mapping[str, str]
) -> Literal["here", "absent", "altered", "new"]:
    """Return the state of one image; "new" if no hash was recorded for it."""
    path = _place(collection, sample)
    if not path.is_file():
        return "absent"
    noted = first.get(collection.base + sample.name)
    if noted is None:
        return "new"
    return "here" if noted == file_sha256(path) else "altered"


def fetch(
    accept_terms: bool = False,
    *,
    collection: Collection = COLLECTION,
    timeout: downloads.Timeouts | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> FetchedSamples:
    """Download the images that are missing or altered.

    Args:
        accept_terms: the user has read and accepted `collection.terms`; needed once.
        collection, timeout: the list; see `downloads.fetch`.
        progress: called with the number of images just completed.

    Raises:
        UsageError: the terms have not been accepted.
        MissingError: the package requests is not installed.
        DataError: images cannot be downloaded, or differ from those in the list.
    """
    if not accept_terms and not accepted(collection):
        raise UsageError(
            "The sample images have terms of use that you have not accepted yet.",
            "Read them (edgezoo samples info), then run: edgezoo samples fetch --accept-terms",
        )
    first = seen.known()
    absent = [x for x in collection.samples() if not _is_here(collection, x, first)]
    progress(len(collection.samples()) - len(absent))
    _save_terms(collection)
    blobs, because = _hashes(collection) if absent else ({}, "nothing was fetched")
    _bring(collection, absent, blobs, timeout, progress)
    found = look(collection)
    return FetchedSamples(
        **{field.name: getattr(found, field.name) for field in fields(found)[:-3]},
        fetched=len(absent),
        checked_by="commit" if blobs else "likeness",
        because=because,
    )


def _is_here(collection: Collection, sample: Sample, first: Mapping[str, str]) -> bool:
    """Whether the right image is here; deletes another one."""
    state = _state(collection, sample, first)
    if state == "here" or (state == "new" and _adopted(collection, sample)):
        return True
    _place(collection, sample).unlink(missing_ok=True)
    return False


def _hashes(collection: Collection) -> tuple[dict[str, str], str | None]:
    """Return git's hash of each file, or the reason why they are not available."""
    if downloads.mirrored(collection.base) != collection.base:
        return {}, "EDGEZOO_MIRROR has files only, and no other server is contacted"
    try:
        return commit.blobs(collection.repository, collection.commit), None
    except commit.UnknownError as error:
        return {}, str(error)


def _why_another(path: Path, sample: Sample, blobs: dict[str, str]) -> str | None:
    """Return why a file is not the listed one, by its hash if that is known."""
    if not blobs:
        return why_another(path, sample)
    if commit.blob_of(path) != blobs.get(sample.name):
        return "it is not the file of the commit (its git hash differs)"
    return None


def _adopted(collection: Collection, sample: Sample) -> bool:
    """Whether an image that EdgeZoo did not download is the listed one; records its hash then."""
    path = _place(collection, sample)
    if why_another(path, sample) is not None:
        return False
    sha256 = file_sha256(path)
    return seen.remember(collection.base + sample.name, sha256) == sha256


def _save_terms(collection: Collection) -> None:
    path = home(collection) / _TERMS
    try:
        mark_cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(collection.terms, encoding="utf-8")
    except OSError as error:
        hint = "Free some space, or name another folder in EDGEZOO_CACHE."
        raise DataError(f"{path} cannot be written: {error.strerror or error}.", hint) from error


class _StoppedError(Exception):
    """Another download failed, or the user pressed Ctrl-C."""


def _bring(
    collection: Collection,
    absent: list[Sample],
    blobs: dict[str, str],
    timeout: downloads.Timeouts | None,
    progress: Callable[[int], None],
) -> None:
    """Download images, a few at a time, until the first failure."""
    if not absent:
        return
    stopped = threading.Event()

    def look_up(done: int, total: int | None) -> None:
        if stopped.is_set():
            raise _StoppedError

    def bring(sample: Sample) -> None:
        wanted = downloads.Wanted(
            f"The sample image of {sample.wnid}",
            collection.base + sample.name,
            _place(collection, sample),
            limit=_LARGEST,
            check=lambda path: _why_another(path, sample, blobs),
            ways_out="Finished downloads are kept: run the same command again to go on.",
        )
        downloads.fetch(wanted, timeout, web, look_up)
        progress(1)

    with downloads.session() as web, ThreadPoolExecutor(_AT_A_TIME) as pool:
        futures = [pool.submit(bring, sample) for sample in absent]
        try:
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
    for future in ended:
        future.result()
