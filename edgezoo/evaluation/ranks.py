"""The best classes of each image.

Threads decode and infer at once: Pillow and the runtimes work outside Python's lock. Each thread
takes a chunk of images, decodes them, and borrows a session for them. Of an image only its best
classes are kept, so that any number of images takes the same memory.

JPEG's draft mode, which decodes at a half or a quarter of the size, would be faster still. It gives
other pixels than the contract's resize of the whole picture, so it is not used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.protocols import Session
from edgezoo.evaluation.checkpoint import Kept
from edgezoo.images.preprocessing import load_pixels
from edgezoo.images.shards import Member
from edgezoo.inference.predict import open_artifact, predict
from edgezoo.system.machine import usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BEST = 5
# In the first column of an image that cannot be read, and of one that nothing has been done for.
UNREADABLE, OPEN = -1, -2
# What a thread takes at once; also the batch of files that take any number.
_CHUNK = 16
# Copies of larger files in memory would not pay.
_COPIED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Ranks:
    """What a file says of images.

    Attributes:
        top: shape (images, 5): classes, best first, filled up with -1; the whole row is -1 for an
            image that cannot be read.
        classes: how many there are.
        place: where it ran, by the session's own word: "runtime", "device" and "ran_on".
        resumed: images that an earlier, interrupted run had done.
        kept: where an interrupted run would go on; None without that.
    """

    top: NDArray[np.int32]
    classes: int
    place: dict[str, Any]
    resumed: int = 0
    kept: Kept | None = None


def rank(
    path: Path | str,
    find: Callable[[InputContract], Sequence[Path | Member]],
    *,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
    trust: bool = False,
    jobs: int | None = None,
    resume: bool = False,
    progress: Callable[[int], None] = lambda n: None,
) -> Ranks:
    """Rank the classes of every image.

    Args:
        path: an artifact.
        find: the images, by the artifact's contract.
        device, runtime, threads, preprocessing, labels, trust: see `inference.open_artifact`.
        jobs: images that are worked on at a time; by default as many as use all cores.
        resume: go on with what an interrupted run has done, and keep what is done.
        progress: called with numbers of images that are done.
    """
    artifact, first = open_artifact(
        path,
        device=device,
        runtime=runtime,
        threads=threads,
        preprocessing=preprocessing,
        labels=labels,
        trust=trust,
    )
    opener = registry.runtime_for(artifact.path, runtime)
    place = {
        "runtime": opener.version(),
        "device": first.ran_on.device,
        "ran_on": asdict(first.ran_on),
    }
    with ExitStack() as stack:
        sessions: list[Session] = [stack.enter_context(first)]
        contract = artifact.required_contract()
        images = find(contract)
        jobs = min(jobs or max(1, usable_cores() // threads), -(-len(images) // _CHUNK))
        if first.copies and artifact.bytes <= _COPIED_BYTES:
            for _ in range(jobs - 1):
                sessions.append(stack.enter_context(opener.open(artifact, device, threads)))
        kept = Kept(_facts(artifact, contract, place, threads), images) if resume else None
        top, resumed = _fill(images, contract, sessions, jobs, kept, progress)
        return Ranks(top, min(first.outputs[0].shape[-1], contract.classes), place, resumed, kept)


def _fill(
    images: Sequence[Path | Member],
    contract: InputContract,
    sessions: list[Session],
    jobs: int,
    kept: Kept | None,
    progress: Callable[[int], None],
) -> tuple[NDArray[np.int32], int]:
    """Ranks of all images, and how many of them had been kept."""
    import numpy as np

    top = np.full((len(images), BEST), OPEN, np.int32)
    if kept:
        kept.recall(top)
    resumed = int((top[:, 0] != OPEN).sum())
    progress(resumed)
    spans = [
        (start, min(start + _CHUNK, len(top)))
        for start in range(0, len(top), _CHUNK)
        if (top[start : start + _CHUNK, 0] == OPEN).any()
    ]
    # One session for many threads: one infers while the others decode.
    workers = jobs if len(sessions) == jobs else jobs + 1
    try:
        for start, rows in _chunks(images, spans, contract, sessions, workers):
            top[start : start + len(rows)] = rows
            if kept:
                kept.keep(top)
            progress(len(rows))
    except BaseException:
        if kept:
            kept.keep(top, now=True)
        raise
    return top, resumed


def _facts(
    artifact: Artifact, contract: InputContract, place: dict[str, Any], threads: int
) -> dict[str, Any]:
    """What ranks depend on, beside the images."""
    return {
        "artifact": artifact.sha256(),
        "contract": contract.to_json(),
        "runtime": place["runtime"],
        "device": place["device"],
        "threads": threads,
    }


def _chunks(
    images: Sequence[Path | Member],
    spans: list[tuple[int, int]],
    contract: InputContract,
    sessions: list[Session],
    workers: int,
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Ranks of each span, in order; no more spans are begun than the threads need."""
    free: SimpleQueue[Session] = SimpleQueue()
    for session in sessions:
        free.put(session)
    begun: deque[tuple[int, Future[NDArray[np.int32]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start, stop in spans:
                begun.append((start, pool.submit(_rank_chunk, images[start:stop], contract, free)))
                if len(begun) > 2 * workers:
                    first, future = begun.popleft()
                    yield first, future.result()
            while begun:
                first, future = begun.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _rank_chunk(
    images: Sequence[Path | Member], contract: InputContract, free: SimpleQueue[Session]
) -> NDArray[np.int32]:
    import numpy as np

    top = np.full((len(images), BEST), UNREADABLE, np.int32)
    pixels, places = [], []
    for i, image in enumerate(images):
        try:
            pixels.append(load_pixels(image, contract.input_size, contract.resize))
            places.append(i)
        except DataError:
            continue
    if pixels:
        session = free.get()
        try:
            scores = predict(session, contract, np.stack(pixels))
        finally:
            free.put(session)
        for i, row in zip(places, scores, strict=True):
            best = best_classes(row)
            top[i, : len(best)] = best
    return top


def best_classes(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """The five best classes, best first; of equal scores the lower index comes first, NaN last."""
    import numpy as np

    if len(scores) > BEST and not np.isnan(scores).any():
        least = np.partition(scores, -BEST)[-BEST]
        near = np.flatnonzero(scores >= least)
    else:
        near = np.arange(len(scores))
    order: NDArray[np.intp] = near[np.argsort(-scores[near], kind="stable")[:BEST]]
    return order
