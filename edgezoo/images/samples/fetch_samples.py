"""The samples in the cache: fetched, looked at, found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.files import file_sha256
from edgezoo.core.paths import cache_home
from edgezoo.images.samples import commit
from edgezoo.images.samples.likeness import why_another
from edgezoo.images.samples.listing import COLLECTION, Collection, Sample
from edgezoo.system import downloads
from edgezoo.system.downloads import seen

# What --calibration takes for them.
WORD = "samples"
_AT_A_TIME = 4
_LARGEST = 20_000_000
_TERMS = "TERMS.txt"
_FETCH = "Run edgezoo samples fetch first."


def home(collection: Collection = COLLECTION) -> Path:
    """The folder of a collection, with a folder a class; it may not be there."""
    return cache_home() / "samples" / collection.name


def _place(collection: Collection, sample: Sample) -> Path:
    return home(collection) / sample.wnid / sample.name


def accepted(collection: Collection = COLLECTION) -> bool:
    """Whether the terms, as they are now, have been accepted on this machine."""
    path = home(collection) / _TERMS
    return path.is_file() and path.read_text(encoding="utf-8") == collection.terms


def folder(collection: Collection = COLLECTION) -> Path:
    """The folder, complete.

    Raises:
        DataError: pictures are missing.
    """
    samples = collection.samples()
    here = sum(_place(collection, sample).is_file() for sample in samples)
    if here < len(samples):
        raise DataError(f"Of the {len(samples)} sample images {here} are here.", _FETCH)
    return home(collection)


def look(collection: Collection = COLLECTION) -> dict[str, Any]:
    """What is here, each file compared with what it was when it came.

    Returns:
        The object that docs/schemas/samples.json describes.
    """
    samples = collection.samples()
    first = seen.known()
    states = [_state(collection, sample, first) for sample in samples]
    places = [_place(collection, sample) for sample in samples]
    return {
        "collection": collection.name,
        "origin": collection.origin,
        "terms": collection.terms,
        "accepted": accepted(collection),
        "folder": str(home(collection)),
        "list_sha256": collection.sha256(),
        "listed": len(samples),
        "here": states.count("here") + states.count("new"),
        "altered": [p.name for p, state in zip(places, states, strict=True) if state == "altered"],
        "bytes": sum(path.stat().st_size for path in places if path.is_file()),
    }


def _state(collection: Collection, sample: Sample, first: dict[str, str]) -> str:
    """What is said of one picture: here, absent, altered, or new where no hash is noted of it."""
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
) -> dict[str, Any]:
    """Bring what is missing or altered; what is here stays.

    Args:
        accept_terms: the user has read and accepted `collection.terms`; needed once.
        collection: the list.
        timeout: see `downloads.fetch`.
        progress: called with numbers of pictures that are done.

    Returns:
        What `look` returns; besides "fetched", how many came, "checked_by", what they were
        compared with, and "because", why not with the hashes of the commit.

    Raises:
        UsageError: the terms have not been accepted.
        MissingError: the package requests is not installed.
        DataError: pictures are out of reach, or other ones than those of the list.
    """
    if not accept_terms and not accepted(collection):
        raise UsageError(
            "The sample images come on terms that you have not accepted yet.",
            "Read them (edgezoo samples info), then run: edgezoo samples fetch --accept-terms",
        )
    first = seen.known()
    absent: list[Sample] = []
    for sample in collection.samples():
        state = _state(collection, sample, first)
        if state == "here" or (state == "new" and _adopted(collection, sample)):
            progress(1)
            continue
        _place(collection, sample).unlink(missing_ok=True)
        absent.append(sample)
    _keep_terms(collection)
    blobs, because = _hashes(collection) if absent else ({}, "nothing was fetched")
    _bring(collection, absent, blobs, timeout, progress)
    return {
        **look(collection),
        "fetched": len(absent),
        "checked_by": "commit" if blobs else "likeness",
        "because": because,
    }


def _hashes(collection: Collection) -> tuple[dict[str, str], str | None]:
    """Git's hash of each file, or why there are none."""
    if downloads.mirrored(collection.base) != collection.base:
        return {}, "EDGEZOO_MIRROR has files alone, and nobody else is asked"
    try:
        return commit.blobs(collection.repository, collection.commit), None
    except commit.UnknownError as error:
        return {}, str(error)


def _why_another(path: Path, sample: Sample, blobs: dict[str, str]) -> str | None:
    """Why a file is not the one of the list: by its hash where that is known."""
    if not blobs:
        return why_another(path, sample)
    if commit.blob_of(path) != blobs.get(sample.name):
        return "it is not the file of the commit (git's hash of it differs)"
    return None


def _adopted(collection: Collection, sample: Sample) -> bool:
    """Whether a picture that came in another way is the one of the list; it is noted then."""
    path = _place(collection, sample)
    if why_another(path, sample) is not None:
        return False
    sha256 = file_sha256(path)
    return seen.remember(collection.base + sample.name, sha256) == sha256


def _keep_terms(collection: Collection) -> None:
    path = home(collection) / _TERMS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(collection.terms, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Free some space, or name another folder in EDGEZOO_CACHE.",
        ) from error


class _StoppedError(Exception):
    """Another picture could not be had, or the user has had enough."""


def _bring(
    collection: Collection,
    absent: list[Sample],
    blobs: dict[str, str],
    timeout: downloads.Timeouts | None,
    progress: Callable[[int], None],
) -> None:
    """Fetch pictures, a few at a time; the first that cannot be had ends it."""
    if not absent:
        return
    stopped = threading.Event()

    def look_up(done: int, total: int | None) -> None:
        if stopped.is_set():
            raise _StoppedError

    def bring(sample: Sample) -> None:
        downloads.fetch(
            downloads.Wanted(
                f"The sample image of {sample.wnid}",
                collection.base + sample.name,
                _place(collection, sample),
                limit=_LARGEST,
                check=lambda path: _why_another(path, sample, blobs),
                ways_out="What came before stays: run the same command again to go on.",
            ),
            timeout,
            web,
            look_up,
        )
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
