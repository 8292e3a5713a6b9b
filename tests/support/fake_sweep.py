"""A sweep of 24 variants with steps that take milliseconds.

The files are text, the figures follow from them. What a variant is called decides whether it
fails. Each call of a step is a line in STORE.log.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from edgezoo.core.errors import CrashError
from edgezoo.core.ran_on import RanOn
from edgezoo.evaluation.accuracy import Accuracy
from edgezoo.evaluation.agreement import Verification
from edgezoo.measurement.child import ColdStart
from edgezoo.measurement.protocol import Settings
from edgezoo.measurement.session import Measurement, Session, Subject, WarmUp
from edgezoo.measurement.statistics import LatencyStatistics
from edgezoo.measurement.trust import Trust
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.runner import run
from edgezoo.sweep.steps import ExportedFile, Steps
from edgezoo.system.machine import environment

NAP = 0.004


def _note(request: SweepRequest, step: str, names: Sequence[str]) -> None:
    assert request.output is not None
    with request.output.with_suffix(".log").open("a") as log:
        log.writelines(f"{step} {name}\n" for name in names)
    time.sleep(NAP)


def export(request: SweepRequest, files: Sequence[Variant]) -> dict[Variant, ExportedFile]:
    """Writes files slowly; 0.5 at 64 px in onnx int8 cannot be made."""
    assert request.output is not None
    _note(request, "export", [file.name for file in files])
    made = {}
    for file in files:
        if (file.alpha, file.input_size, file.format, file.precision) == (0.5, 64, "onnx", "int8"):
            raise CrashError("The process for the step 'export files' died (SIGABRT).", "")
        suffix = {"openvino": ".xml"}.get(file.format, f".{file.format}")
        path = request.output / "artifacts" / f"{file.name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        # A protobuf of one string, as an ONNX file may begin: what is in a file is looked through.
        path.write_bytes(b"\x12" + bytes([len(file.name)]) + file.name.encode())
        path.with_suffix(".bin").write_text(file.name)
        time.sleep(NAP / 4)
        made[file] = ExportedFile(path, Verification("passed"))
    return made


def evaluate(
    request: SweepRequest, files: Sequence[Path], reference: Path | None
) -> list[Accuracy]:
    """Accuracy by the length of the name."""
    _note(request, "evaluate", [path.stem for path in files])
    return [
        Accuracy(
            artifact=path, runtime="fake 1", device="cpu", ran_on=RanOn(), images=10,
            unreadable=0, unreadable_files=(),
            resumed=0, top1=len(path.name) / 100, top5=0.9, top1_ci95=(0.1, 0.9),
            top5_ci95=(0.1, 1.0), trained=False, preprocessing="x", overlap=None,
            reference=reference, agreement_top1=0.9, drop_points=0.0,
            drop_points_ci95=(-10.0, 10.0), verdict="equal",
        )
        for path in files
    ]  # fmt: skip


def measure(request: SweepRequest, subjects: Sequence[Subject]) -> Session:
    """Latency by the length of the name; 0.25 at 64 px in openvino dies."""
    _note(request, "measure", [subject.path.stem for subject in subjects])
    results = tuple(
        CrashError("The process for the step 'block' died (SIGSEGV).", "")
        if "0.25_64_float32_openvino" in subject.path.name
        else measured_file(subject)
        for subject in subjects
    )
    blocks = tuple(
        [[1.0, 2.0]] * 2 if isinstance(result, Measurement) else None for result in results
    )
    return Session(results, blocks, None, environment(), Settings())


def measured_file(subject: Subject) -> Measurement:
    """A file whose latency follows from the length of its name."""
    median = float(len(subject.path.name))
    return Measurement(
        artifact=str(subject.path), sha256="0" * 64, bytes=9, format="x", model="mobilenet",
        alpha=None, input_size=32, precision="int8", trained=False, runtime="fake 1", device="cpu",
        threads=1,
        latency_ms=LatencyStatistics(
            median=median, ci95=(median, median), min=median, p5=median, p90=median, p95=median,
            p99=None, mad=0.0, n=2, outliers=0, drift=0.0,
        ),
        cpu_ms=median, cold_start_ms=1.0, cold_start=ColdStart(1.0, 1.0, 1.0), apart_ms=None,
        peak_rss_mb=1.0, memory_over_runtime_mb=1.0, warm_up=WarmUp(1, True), ran_on=RanOn(),
        trust=Trust("good", ()),
    )  # fmt: skip


def request(store: Path, images: Path | None = None) -> SweepRequest:
    """The 24 variants."""
    return SweepRequest(
        models=("mobilenet",), alpha=(0.25, 0.5), input_size=(32, 64), weights="random",
        precision=("float32", "int8"), images=images, output=store,
    )  # fmt: skip


def main(store: Path) -> None:
    """Run the sweep in this process."""
    images = store.parent / "images"
    run(request(store, images), steps=Steps(export, evaluate, measure))
