"""Records as a sweep would write them, with figures that follow from their place in the grid."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.evaluation.agreement import Verification
from edgezoo.evaluation.drop import share_interval
from edgezoo.evaluation.outcomes import Outcomes
from edgezoo.evaluation.outcomes import outcomes as packed
from edgezoo.measurement.child import ColdStart
from edgezoo.measurement.host import HostState
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import WarmUp
from edgezoo.measurement.statistics import LatencyStatistics
from edgezoo.measurement.trust import HostStates, Level, Trust
from edgezoo.results.record import (
    Accuracy,
    CompilerEstimate,
    Estimated,
    EstimatedFigures,
    EstimatedTime,
    Failed,
    Failure,
    Kind,
    Measured,
    Record,
    RecordedFigures,
    RecordedFile,
    RecordedSession,
    RecordedVariant,
)
from edgezoo.results.store import open_store
from edgezoo.system.machine import Environment, Machine

BOX = Machine("Box 1", "x86_64", ("avx2",), 4, 8.0, "Linux 6", "3.11.0", None, 64, 4096)
_HOST = HostState(0.1, (), None, None, None, None)


def record(
    model: str = "mobilenet",
    alpha: float | None = 0.25,
    input_size: int = 128,
    precision: str = "int8",
    format: str = "tflite",
    *,
    threads: int = 1,
    median: float = 2.0,
    spread: float = 0.01,
    hits: int | None = 400,
    images: int = 650,
    size: int = 600_000,
    machine: str = "a" * 12,
    kind: Kind = "measurement",
    trust: Level = "good",
    floor: float = 0.02,
    runtime: str = "ai-edge-litert 2.3.0",
    seed: int = 0,
    file: str | None = None,
    created: str = "2026-01-01T00:00:00+00:00",
    images_hash: str = "e" * 16,
    sha256: str | None = None,
    outcomes: Outcomes | None = None,
) -> Record:
    """A measured variant; with `file` one of a file that somebody gave."""
    if sha256 is None:
        facts_of_file = repr((model, alpha, input_size, precision, format, file))
        sha256 = hashlib.sha256(facts_of_file.encode()).hexdigest()
    rng = np.random.default_rng(seed)
    blocks = (median * np.exp(rng.normal(0, spread, (24, 10)))).tolist()
    half = median * spread / 10
    p5, p90, p95 = (float(v) for v in np.percentile(blocks, (5, 90, 95)))
    runs = LatencyStatistics(
        median=median, ci95=(median - half, median + half), min=p5, p5=p5, p90=p90, p95=p95,
        p99=None, mad=half, n=240, outliers=0, drift=0.0,
    )  # fmt: skip
    own_file = file or f"artifacts/{model}_{alpha}_{input_size}_{precision}.{format}"
    facts: dict[str, Any] = {
        "created": created,
        "file": file,
        "variant": RecordedVariant(
            model, alpha, input_size, precision, format, "cpu", threads, runtime
        ),
        "artifact": RecordedFile(own_file, sha256, size, True, Verification("passed")),
        "accuracy": None if hits is None else Accuracy(
            images=images, top1=hits / images, top5=0.9, top1_ci95=share_interval(hits, images),
            top5_ci95=(0.88, 0.92), agreement_top1=0.95, preprocessing="f" * 16,
            reference="x.tflite", images_hash=images_hash, drop_points=None, drop_points_ci95=None,
            outcomes=outcomes,
        ),
        "trust": Trust(trust, () if trust == "good" else ("Others were busy.",),
                       HostStates(_HOST, _HOST)),
        "session": RecordedSession("0123456789ab", None, floor),
        "environment": Environment(machine, BOX, 4, "glibc 2.36", "0.1.0", None),
    }  # fmt: skip
    if kind == "estimate":
        estimate = CompilerEstimate(
            inference_ms=median, cycles=9, clock_mhz=9.0, sram_kib=1.0, dram_kib=1.0, flash_kib=1.0,
            source="Vela estimate (5.2.0, board)", npu_ops=9, cpu_ops=0,
        )  # fmt: skip
        time = EstimatedFigures(EstimatedTime(median, runs.ci95))
        return Estimated(**facts, latency=time, estimate=estimate)
    return Measured(
        **facts,
        latency=RecordedFigures(
            latency_ms=runs, cpu_ms=median, cold_start_ms=12.0,
            cold_start=ColdStart(90.0, 10.0, 2.0), apart_ms=None, peak_rss_mb=52.0,
            memory_over_runtime_mb=9.0, warm_up=WarmUp(99, True),
            blocks_ms=tuple(tuple(round(v, 4) for v in block) for block in blocks),
        ),
        protocol=Settings(),
    )  # fmt: skip


def scored(hits: int, lost: int = 0, images: int = 650, **facts: Any) -> Record:
    """A record with the outcome of each image: the first are right, but for `lost` of them.

    As many others are right instead, so that `hits` are right in all.
    """
    correct = np.zeros(images, bool)
    correct[lost : hits + lost] = True
    found = packed(correct, np.ones(images, bool), "0123456789abcdef")
    return record(hits=hits, images=images, outcomes=found, **facts)


def measured(**variant: Any) -> Measured:
    """A variant that was measured, not estimated."""
    made = record(**variant)
    assert isinstance(made, Measured)
    return made


def failed(**variant: Any) -> Failed:
    """A variant that could not be made, or a file that could not be read."""
    made = record(**variant)
    empty: dict[str, Any] = {"runtime": None}
    if made.file:
        empty |= dict.fromkeys(("model", "alpha", "input_size", "precision"))
    return Failed(
        kind=made.kind, created=made.created, file=made.file,
        variant=replace(made.variant, **empty),
        error=Failure("RefusedError", "It cannot be <made>.", "", 3, "plan"),
    )  # fmt: skip


def changed(made: Any, path: str, value: Any) -> Any:
    """A dataclass with another value of a field, such as "session.id"."""
    name, _, rest = path.partition(".")
    return replace(made, **{name: changed(getattr(made, name), rest, value) if rest else value})


def grid(count: int) -> list[Record]:
    """Many variants: larger ones slower and more accurate, int8 faster and a little worse."""
    rng = np.random.default_rng(0)
    places = itertools.cycle(
        itertools.product(
            (("mobilenet", 3.2), ("densenet121", 8.1), ("vgg16", 138.4), ("nasnetmobile", 5.3)),
            (0.25, 0.5, 0.75, 1.0),
            (96, 128, 160, 192, 224),
            ("float32", "float16", "int8"),
            ("tflite", "onnx", "openvino"),
        )
    )
    found = []
    for i, ((model, millions), alpha, size, precision, format) in zip(
        range(count), places, strict=False
    ):
        work = millions * alpha**2 * (size / 224) ** 2
        speed = {"float32": 1.0, "float16": 1.0, "int8": 0.5}[precision]
        share = 0.75 - 0.3 / (1 + work) - (0.02 if precision == "int8" else 0)
        width = {"float32": 4, "float16": 2, "int8": 1}[precision]
        found.append(
            record(
                model, alpha, size, precision, format,
                threads=1 + i % 2,
                median=float(1 + 4 * work * speed * np.exp(rng.normal(0, 0.05))),
                hits=int(650 * (share + rng.normal(0, 0.01))),
                size=int(millions * alpha**2 * width * 1e6),
                trust=("good", "good", "caution", "poor")[i % 4],
                seed=i,
            )
        )  # fmt: skip
    return found


def write_store(folder: Path, records: list[Record]) -> Path:
    """A store that holds these records."""
    with open_store(folder) as store:
        for i, made in enumerate(records):
            store.write(f"variant{i:04}", replace(made, key=f"{i:016x}"))
    return folder
