"""The process that measures: one artifact, one runtime, one device, one number of threads.

It opens the file, makes an input before any clock starts, and then runs blocks on request (see
`edgezoo.system.process.Conversation`). The blocks of several such processes take turns.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import EdgeZooError, RefusedError, UsageError, counted
from edgezoo.core.protocols import Runtime, Session
from edgezoo.core.ran_on import RanOn
from edgezoo.core.typed_json import Count, Range
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.conversion import dequantize, to_input
from edgezoo.measurement.protocol import Block
from edgezoo.measurement.statistics import Figure
from edgezoo.system import process

_AROUND_RUNS = 50
_PHOTOGRAPH = (500, 375)  # a usual size of ImageNet's images
_ANY_LENGTH = 256  # of an image, for files that resize by themselves
_MS = 1e6
Pixels = Annotated[int, Range(1, 2**20)]


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds until a process that starts has its first result.

    Attributes:
        import_ms: of the runtime; not part of cold_start_ms
    """

    import_ms: Figure
    open_ms: Figure
    first_inference_ms: Figure


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened file.

    Attributes:
        backend: what the runtime reports that runs the file, such as XNNPACK.
        ran_on: the device that really runs it.
        cpu_s: CPU seconds of the process so far.
    """

    cold_start: ColdStart
    backend: str | None
    ran_on: RanOn
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file and the network in it; null where the file does not state it."""

    sha256: str
    bytes: Count
    format: str
    model: str | None
    alpha: Figure | None
    input_size: Pixels | None
    precision: str | None
    trained: bool | None


@dataclass(frozen=True, slots=True)
class Around:
    """Median milliseconds of the steps around an inference, which its latency excludes."""

    decode: float
    to_input: float
    dequantize: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The process after its last block.

    Attributes:
        peak_rss_mb: peak resident memory.
        runtime_rss_mb: the peak with the runtime loaded and no file opened.
        cpu_s: CPU seconds of the process so far.
        around: None for a file without a contract.
    """

    peak_rss_mb: float
    runtime_rss_mb: float
    cpu_s: float
    file: File
    around: Around | None


class Stopwatch:
    """An opened artifact and its input; the parent calls the methods."""

    def __init__(self) -> None:
        self._path = Path()
        self._session: Session
        self._input: NDArray[Any]
        self._infer: Callable[[], NDArray[Any]]
        self._runtime_rss = 0.0

    def open(
        self,
        path: Path,
        device: str,
        threads: int,
        cpus: list[int] | None,
        batch: int = 1,
        input_size: int | None = None,
    ) -> Opened:
        """Load the runtime, then the file, and run it once.

        Args:
            path, device, threads: of the subject.
            cpus: to stay on; None for all.
            batch: images at a time, of a file that takes any number.
            input_size: height and width, of a file that takes images of any size.

        Raises:
            RefusedError: the file takes another number of images.
            UsageError: it takes images of any size, and none is given.
        """
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        self._path = path
        runtime = registry.runtime_for(self._path)
        begun = time.perf_counter_ns()
        _load_runtime(runtime, device, threads)
        imported = time.perf_counter_ns()
        self._runtime_rss = process.peak_rss_mb()
        # The contract stays unread for now: some runtimes read it by opening the file.
        artifact = Artifact(self._path, runtime.format, runtime.files(self._path))
        start = time.perf_counter_ns()
        self._session = runtime.open(artifact, device, threads)
        opened = time.perf_counter_ns()
        self._input = _an_input(self._session, artifact.path, batch, input_size)
        before = time.perf_counter_ns()
        self._infer = self._session.prepared(self._input)
        self._infer()
        first = time.perf_counter_ns() - before
        # A collection within a block would be counted as inference.
        gc.collect()
        gc.disable()
        cold = ColdStart((imported - begun) / _MS, (opened - start) / _MS, first / _MS)
        return Opened(cold, self._session.backend, self._session.ran_on, time.process_time())

    def block(self, runs: int, lead_in: int) -> Block:
        """Run `lead_in` times unrecorded, then `runs` times."""
        infer, clock = self._infer, time.perf_counter_ns
        # One mark ends a run and begins the next: the clock is read once per run, and the loop
        # allocates nothing.
        marks = [0] * (runs + 1)
        for _ in range(lead_in):
            infer()
        cpu = time.process_time_ns()
        marks[0] = clock()
        for i in range(1, runs + 1):
            infer()
            marks[i] = clock()
        cpu = time.process_time_ns() - cpu
        return Block([marks[i + 1] - marks[i] for i in range(runs)], cpu)

    def finish(self) -> Finished:
        """Return the memory used so far, and the cost of the steps around an inference."""
        peak, cpu = process.peak_rss_mb(), time.process_time()
        artifact = registry.load_artifact(self._path)
        contract = artifact.contract
        around = self._around(contract) if contract else None
        return Finished(peak, self._runtime_rss, cpu, describe(artifact), around)

    def _around(self, contract: InputContract) -> Around:
        photograph = _photograph()

        def decode() -> NDArray[Any]:
            return load_pixels(BytesIO(photograph), contract.frame, contract.resize)

        pixels, raw = decode(), self._session.run(self._input)
        taken, given = self._session.inputs[0], self._session.outputs[0]
        return Around(
            _median_ms(decode),
            _median_ms(lambda: to_input(pixels[None], contract, taken)),
            _median_ms(lambda: dequantize(raw, given)),
        )


def describe(artifact: Artifact) -> File:
    """Return which network a file holds, as far as its contract states it."""
    contract = artifact.contract
    network = ("model", "alpha", "input_size", "precision")
    return File(
        sha256=artifact.sha256(),
        bytes=artifact.bytes,
        format=artifact.format,
        **{name: getattr(contract, name, None) for name in network},
        trained=contract.weights.trained if contract else None,
    )


def _load_runtime(runtime: Runtime, device: str, threads: int) -> None:
    """Have the runtime load all of its libraries, by opening an empty file."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, f"empty{runtime.suffixes[0]}")
        for path in runtime.files(empty):
            path.touch()
        with contextlib.suppress(EdgeZooError):
            runtime.open(Artifact(empty, runtime.format, (empty,)), device, threads)


def _an_input(session: Session, path: Path, batch: int, size: int | None) -> NDArray[Any]:
    """Return seeded noise in the range of pixels: no kernel's time depends on the values."""
    wanted = session.inputs[0]
    first, *sides = wanted.shape
    if batch != 1 and batch != first and not session.free_batch:
        raise RefusedError(
            f"{path} takes {counted(first, 'image')} at a time, not {batch}.", "Omit --batch."
        )
    if size is not None and min(sides) > 0:
        text = " x ".join(map(str, sides))
        raise UsageError(f"{path} takes {text} pixels.", "Leave --input-size out.")
    if min(sides) < 1 and size is None:
        contract = registry.load_artifact(path).contract
        if contract is None or not contract.resizes:
            raise UsageError(
                f"{path} takes images of any size, on which its time depends.",
                "Give --input-size PX.",
            )
        size = _ANY_LENGTH
    # A free number of images is one, as everywhere else, unless another is asked for.
    images = batch if session.free_batch or first < 1 else first
    shape = [images, *((size or side) if side < 0 else side for side in sides)]
    noise = np.random.default_rng(0).integers(0, 256, shape)
    return (noise - 128 if wanted.dtype == "int8" else noise).astype(wanted.dtype)


def _photograph() -> bytes:
    """Return a JPEG with about the detail of a photograph."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(coarse).resize(_PHOTOGRAPH, Image.Resampling.BICUBIC).save(stream, "JPEG")
    return stream.getvalue()


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_AROUND_RUNS):
        start = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - start) / _MS)
    return round(median(taken), 4)
