"""The process that measures: one artifact, one runtime, one device, one number of threads.

It opens the file, makes an input before any clock starts, and then runs blocks when it is told to
(see `edgezoo.system.process.Conversation`). The blocks of several such processes take turns.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import EdgeZooError
from edgezoo.core.protocols import Session, TensorInfo
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.predict import dequantize, to_input
from edgezoo.system import process

if TYPE_CHECKING:
    from numpy.typing import NDArray

_APART_RUNS = 50
_PHOTOGRAPH = (500, 375)  # a usual size of ImageNet's pictures
_ANY_LENGTH = 256  # of a picture, for files that take any
_MS = 1e6


class Stopwatch:
    """An opened artifact and its input; the methods are what the parent asks for."""

    def __init__(self) -> None:
        self._path = Path()
        self._session: Session
        self._input: NDArray[Any]
        self._infer: Callable[[], NDArray[Any]]
        self._runtime_rss = 0.0

    def open(self, path: Path, device: str, threads: int, cpus: list[int] | None) -> dict[str, Any]:
        """Load the runtime, then the file, and run it once.

        Returns:
            {"import_ms", "open_ms", "first_inference_ms", "backend", "ran_on", "cpu_s"}: the
            runtime's import, what cold start consists of, what runs it and on which device (see
            `edgezoo.core.protocols.RanOn`), and CPU seconds so far.
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
        self._input = _an_input(self._session.inputs[0])
        before = time.perf_counter_ns()
        self._infer = self._session.prepared(self._input)
        self._infer()
        after = time.perf_counter_ns()
        gc.collect()
        gc.disable()
        return {
            "import_ms": (imported - begun) / _MS,
            "open_ms": (opened - start) / _MS,
            "first_inference_ms": (after - before) / _MS,
            "backend": self._session.backend,
            "ran_on": asdict(self._session.ran_on),
            "cpu_s": time.process_time(),
        }

    def block(self, runs: int, lead_in: int) -> dict[str, Any]:
        """Run; wall nanoseconds of each recorded run, CPU nanoseconds of all of them."""
        infer, clock = self._infer, time.perf_counter_ns
        marks = [0] * (runs + 1)
        for _ in range(lead_in):
            infer()
        cpu = time.process_time_ns()
        marks[0] = clock()
        for i in range(1, runs + 1):
            infer()
            marks[i] = clock()
        cpu = time.process_time_ns() - cpu
        return {"wall_ns": [marks[i + 1] - marks[i] for i in range(runs)], "cpu_ns": cpu}

    def finish(self) -> dict[str, Any]:
        """Memory, and the cost of what stands around an inference.

        Returns:
            {"peak_rss_mb", "runtime_rss_mb", "cpu_s", "file", "apart_ms"}: `runtime_rss_mb` is the
            peak with the runtime loaded and no file opened; `apart_ms` holds the medians
            {"decode", "to_input", "dequantize"}, None for a file without a contract.
        """
        facts: dict[str, Any] = {
            "peak_rss_mb": process.peak_rss_mb(),
            "runtime_rss_mb": self._runtime_rss,
            "cpu_s": time.process_time(),
        }
        artifact = registry.load_artifact(self._path)
        contract = artifact.contract
        facts["file"] = _describe(artifact)
        return {**facts, "apart_ms": self._apart(contract) if contract else None}

    def _apart(self, contract: InputContract) -> dict[str, float]:
        photograph = _photograph()
        pixels = load_pixels(BytesIO(photograph), contract.input_size, contract.resize)
        raw = self._session.run(self._input)
        return {
            "decode": _median_ms(
                lambda: load_pixels(BytesIO(photograph), contract.input_size, contract.resize)
            ),
            "to_input": _median_ms(
                lambda: to_input(pixels[None], contract, self._session.inputs[0])
            ),
            "dequantize": _median_ms(lambda: dequantize(raw, self._session.outputs[0])),
        }


def _describe(artifact: Artifact) -> dict[str, Any]:
    """Which network a file is, as far as it says so itself."""
    contract = artifact.contract
    return {
        "sha256": artifact.sha256(),
        "bytes": artifact.bytes,
        "format": artifact.format,
        "model": contract.model if contract else None,
        "alpha": contract.alpha if contract else None,
        "input_size": contract.input_size if contract else None,
        "precision": contract.precision if contract else None,
        "trained": contract.weights.trained if contract else None,
    }


def _load_runtime(runtime: Any, device: str, threads: int) -> None:
    """Let the runtime load all of itself, by opening a file that holds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, f"empty{runtime.suffixes[0]}")
        for path in runtime.files(empty):
            path.touch()
        with contextlib.suppress(EdgeZooError):
            runtime.open(Artifact(empty, runtime.format, (empty,)), device, threads)


def _an_input(wanted: TensorInfo) -> NDArray[Any]:
    """Seeded noise in the range of pixels: no kernel's time depends on the values."""
    import numpy as np

    shape = [_ANY_LENGTH if length < 0 else length for length in wanted.shape]
    noise = np.random.default_rng(0).integers(0, 256, shape)
    return (noise - 128 if wanted.dtype == "int8" else noise).astype(wanted.dtype)


def _photograph() -> bytes:
    """A JPEG with the detail of a photograph, more or less."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(coarse).resize(_PHOTOGRAPH, Image.Resampling.BICUBIC).save(stream, "JPEG")
    return stream.getvalue()


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_APART_RUNS):
        start = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - start) / _MS)
    return median(taken)
