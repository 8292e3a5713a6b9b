"""The best classes of each image.

Threads decode and infer at the same time: Pillow and the runtimes release Python's lock. Each
thread decodes a chunk of images and borrows a session for them. Only the best classes of an image
are stored, so memory does not grow with the number of images.

JPEG's draft mode, which decodes at a half or a quarter of the size, would be faster still. It
produces other pixels than the contract's resize of the whole image, so it is not used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.input_options import InputOptions
from edgezoo.core.protocols import Session
from edgezoo.core.ran_on import RanOn
from edgezoo.evaluation.checkpoint import Checkpoint, Setup
from edgezoo.images.preprocessing import load_pixels
from edgezoo.images.shards import Member
from edgezoo.inference import heads
from edgezoo.inference.predict import open_as_stated, require_classes, require_output, values_of
from edgezoo.system.machine import usable_cores

Images = Sequence[Path | Member]
Ranked = tuple[NDArray[np.int32], NDArray[np.float32]]
_NO_OPTIONS = InputOptions()

BEST = 5
# First column of an image that cannot be read, and of one that is not ranked yet.
UNREADABLE, OPEN = -1, -2
_CHUNK = 16  # images that a thread takes at once; also the batch of files that take any number
_COPIED_BYTES = 100_000_000  # larger files are not opened once a thread: memory costs more


@dataclass(frozen=True, slots=True)
class Ranks:
    """How a file ranks the classes of images.

    Attributes:
        top: shape (images, 5): classes, best first, padded with -1; the whole row is -1 for an
            image that cannot be read.
        classes: number of classes.
        runtime: package and version.
        ran_on: what the session reports that it ran on.
        resumed: images that an earlier, interrupted run had done.
        checkpoint: where an interrupted run would continue; None without one.
        scores: probability of each class, shape (images, classes), where classes do not exclude
            one another; NaN for an image that cannot be read. None elsewhere.
        notes: what was assumed for a file without a contract.
    """

    top: NDArray[np.int32]
    classes: int
    runtime: str | None
    ran_on: RanOn
    resumed: int = 0
    checkpoint: Checkpoint | None = None
    scores: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()


def rank(
    path: Path | str,
    find: Callable[[InputContract], Images],
    *,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    stated: InputOptions = _NO_OPTIONS,
    trust: bool = False,
    jobs: int | None = None,
    resume: bool = False,
    progress: Callable[[int], None] = lambda n: None,
) -> Ranks:
    """Rank the classes of every image.

    Args:
        path: an artifact.
        find: finds the images, by the artifact's contract.
        device, runtime, threads, trust: see `predict.open_artifact`.
        stated: for a file without a contract.
        jobs: images that are processed at a time; by default as many as use all cores.
        resume: continue an interrupted run, and write a checkpoint.
        progress: called with the number of images that are done.
    """
    artifact, first = open_as_stated(path, stated, device, runtime, threads, trust)
    opener = registry.runtime_for(artifact.path, runtime)
    version, ran_on = opener.version(), first.ran_on
    with ExitStack() as stack:
        sessions: list[Session] = [stack.enter_context(first)]
        require_classes(artifact)
        contract = artifact.required_contract()
        images = find(contract)
        jobs = min(jobs or max(1, usable_cores() // threads), -(-len(images) // _CHUNK))
        if first.copies and artifact.bytes <= _COPIED_BYTES:
            for _ in range(jobs - 1):
                sessions.append(stack.enter_context(opener.open(artifact, device, threads)))
                require_output(sessions[-1], contract)
        checkpoint = None
        scores = _scores(contract, len(images))
        if resume and scores is None:
            setup = Setup(artifact.sha256(), contract, version, ran_on.device, threads)
            checkpoint = Checkpoint(setup, images)
        top, resumed = _fill(images, contract, sessions, jobs, checkpoint, progress, scores)
        facts = contract.classes, version, ran_on, resumed, checkpoint
        return Ranks(top, *facts, scores, artifact.notes)


def _scores(contract: InputContract, images: int) -> NDArray[np.float32] | None:
    """Return room for the scores of all images, where the best classes alone do not tell."""
    if not contract.multi_label:
        return None
    return np.full((images, contract.classes), np.nan, np.float32)


def _fill(
    images: Images,
    contract: InputContract,
    sessions: list[Session],
    jobs: int,
    checkpoint: Checkpoint | None,
    progress: Callable[[int], None],
    scores: NDArray[np.float32] | None,
) -> tuple[NDArray[np.int32], int]:
    """Rank all images; return also how many of them an earlier run had ranked."""
    top = np.full((len(images), BEST), OPEN, np.int32)
    if checkpoint:
        checkpoint.restore(top)
    resumed = int((top[:, 0] != OPEN).sum())
    progress(resumed)
    starts = [i for i in range(0, len(top), _CHUNK) if (top[i : i + _CHUNK, 0] == OPEN).any()]
    free: SimpleQueue[Session] = SimpleQueue()
    for session in sessions:
        free.put(session)
    ranked = partial(_rank_chunk, contract=contract, free=free)
    # Where threads share one session, one infers while the others decode: one thread more.
    workers = jobs if len(sessions) == jobs else jobs + 1
    try:
        for start, rows in _chunks(ranked, images, starts, workers):
            best, values = rows
            top[start : start + len(best)] = best
            if scores is not None:
                scores[start : start + len(best)] = values
            if checkpoint:
                checkpoint.save(top)
            progress(len(best))
    except BaseException:
        if checkpoint:
            checkpoint.save(top, now=True)
        raise
    return top, resumed


def _chunks(
    ranked: Callable[[Images], Ranked], images: Images, starts: list[int], workers: int
) -> Iterator[tuple[int, Ranked]]:
    """Rank the chunks of images, in order; no more are started than the threads need."""
    begun: deque[tuple[int, Future[Ranked]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in starts:
                begun.append((start, pool.submit(ranked, images[start : start + _CHUNK])))
                if len(begun) > 2 * workers:
                    first, future = begun.popleft()
                    yield first, future.result()
            while begun:
                first, future = begun.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _rank_chunk(images: Images, contract: InputContract, free: SimpleQueue[Session]) -> Ranked:
    """Return the best classes of each image, and its scores."""
    every = np.full((len(images), contract.classes), np.nan, np.float32)
    top = np.full((len(images), BEST), UNREADABLE, np.int32)
    pixels, places = [], []
    for i, image in enumerate(images):
        try:
            pixels.append(load_pixels(image, contract.frame, contract.resize))
            places.append(i)
        except DataError:
            continue
    if pixels:
        session = free.get()
        try:
            scores = heads.ranking(values_of(session, contract, np.stack(pixels)), contract)
        finally:
            free.put(session)
        for i, row in zip(places, scores, strict=True):
            best = best_classes(row)
            top[i, : len(best)] = best
            every[i] = row
    return top, every


def best_classes(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the five best classes, best first: of equal scores the lower index, NaN last."""
    # A partition is linear in the classes, and only ties of the fifth score need sorting with it.
    if len(scores) > BEST and not np.isnan(scores).any():
        least = np.partition(scores, -BEST)[-BEST]
        near = np.flatnonzero(scores >= least)
    else:
        near = np.arange(len(scores))
    order: NDArray[np.intp] = near[np.argsort(-scores[near], kind="stable")[:BEST]]
    return order
