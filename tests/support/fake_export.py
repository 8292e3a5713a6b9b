"""The real pipeline around a format whose files take a millisecond.

Plan, stage, cache, manifest and renaming are EdgeZoo's. What child processes do, this one does:
it writes files in pieces, so that a kill finds them half-written. A request's seed decides what is
in the files, not what they are called.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.files import file_sha256
from edgezoo.core.protocols import CalibrationSource, ExportJob, Intermediate, Source
from edgezoo.core.spec import BuildArguments, InferencePrecision, ModelSpec
from edgezoo.pipeline import children, provenance
from edgezoo.pipeline import run as pipeline
from edgezoo.pipeline.request import ExportRequest
from edgezoo.system import process
from tests.support.processes import Changes

PIECES, NAP = 4, 0.0005
NAMES = ("mobilenet_0.25_32_untrained_float32", "mobilenet_0.25_32_untrained_float16")
MANIFEST = "mobilenet_0.25_32_untrained.manifest.json"
# Found out once, in the process that all others are forked from.
provenance.maker(), registry.models(), registry.exporters(), registry.runtimes()
_changes: Changes | None = None


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        for start in range(0, len(data), len(data) // PIECES + 1):
            stream.write(data[start : start + len(data) // PIECES + 1])
            stream.flush()
            if _changes:
                _changes.tick()
            time.sleep(NAP)


class FakeExporter:
    """`.fake` with a `.weights` that belongs to it, as OpenVINO's .xml and .bin."""

    name, suffix, extra = "fake", ".fake", "export"
    packages: tuple[str, ...] = ()
    precisions = ("float32", "float16")
    inference_precisions: tuple[InferencePrecision, ...] = ()

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        return None

    def intermediates(self, contract: InputContract, job: ExportJob) -> tuple[Intermediate, ...]:
        return ("float.onnx",)

    def export(
        self, source: Source, job: ExportJob, calibration: CalibrationSource | None, stem: Path
    ) -> Artifact:
        contract = replace(source.contract, precision=job.precision, labels=())
        path, weights = (stem.with_name(stem.name + end) for end in (".fake", ".weights"))
        _write(weights, f"{job.precision} of seed {job.seed} ".encode() * 200)
        _write(path, json.dumps(contract.to_json()).encode())
        return Artifact(path, self.name, (path, weights), contract)


class FakeRuntime:
    """Reads what FakeExporter wrote."""

    name = format = "fake"
    suffixes = (".fake",)

    def files(self, path: Path) -> tuple[Path, ...]:
        return path, path.with_name(f"{path.stem}.weights")

    def read_contract(self, path: Path) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(path.read_text())
        return facts


def _make_source(directory: Path, contract: InputContract, **rest: Any) -> children.BuiltSource:
    _write(directory / "float.onnx", b"graph" * 500)
    return children.BuiltSource(f"{contract.weights.seed:064x}", (1000,))


def _run(self: process.Launcher, job: process.Job[Any]) -> process.Answer[Any]:
    """A job's function in this process, the one that loads TensorFlow replaced."""
    name = job.function.rpartition(":")[2]
    arguments = typed_json.decode_arguments(getattr(children, name), job.arguments)
    step = _make_source if name == "make_source" else getattr(children, name)
    return process.Answer(step(**arguments), process.Usage(0.0, 0.0))


def _attempt_many(
    self: process.Launcher, jobs: Sequence[process.Job[Any]], workers: int, tolerated: Any
) -> Iterator[tuple[int, process.Answer[Any]]]:
    yield from ((i, _run(self, job)) for i, job in enumerate(jobs))


def install() -> None:
    """Put the format into this process, and the steps of children in the place of children."""
    registry.exporters()["fake"] = FakeExporter()  # type: ignore[assignment]
    registry.runtimes()["fake"] = FakeRuntime()  # type: ignore[assignment]
    process.Launcher.run = _run  # type: ignore[method-assign]
    process.Launcher.attempt_many = _attempt_many  # type: ignore[method-assign]


def request(folder: Path, seed: int, **more: Any) -> ExportRequest:
    """Two files and two that belong to them."""
    return ExportRequest(
        "mobilenet", BuildArguments(alpha=0.25, input_size=32), formats=("fake",),
        precisions=("float32", "float16"), weights="random", seed=seed, output=folder,
        verify=False, verify_count=2, **more,
    )  # fmt: skip


def main(
    folder: Path, seed: int, at: int | None = None, number: int = signal.SIGKILL,
    count: Path | None = None,
) -> None:  # fmt: skip
    """Export in this process.

    Args:
        at: send this process a signal before the change of that number to any file or folder; a
            piece written of a file is a change.
        number: the signal.
        count: a file for how many changes there were.
    """
    global _changes
    install()
    if at is not None or count is not None:
        _changes = Changes(at, number)
    pipeline.run(request(folder, seed))
    if count is not None and _changes:
        count.write_text(str(_changes.count))


def started(*arguments: Any) -> Any:
    """A process of `main`, forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.fake_export"])
    # A fork has the variables of the day on which its server was started, maybe by another test.
    own = {name: value for name, value in os.environ.items() if name.startswith("EDGEZOO_")}
    child = context.Process(target=_main_with, args=(own, arguments))
    child.start()
    return child


def _main_with(variables: dict[str, str], arguments: tuple[Any, ...]) -> None:
    os.environ.update(variables)
    main(*arguments)


def finish(*arguments: Any) -> None:
    """Run `main` in a process to its end."""
    child = started(*arguments)
    child.join()
    assert child.exitcode == 0


def faults(folder: Path) -> list[str]:
    """What is wrong with a folder: nothing, whenever a process was killed."""
    if not folder.exists():
        return []
    found: list[str] = []
    manifests = list(folder.glob("*.manifest.json"))
    facts = json.loads(manifests[0].read_text()) if manifests else {"artifacts": []}
    named = {f["path"]: f["sha256"] for entry in facts["artifacts"] for f in entry["files"]}
    seen = [path for path in folder.iterdir() if path not in manifests]
    there = {path.name: path for path in seen if not path.name.startswith(".")}
    for name, path in there.items():
        if name not in named:
            found.append(f"{name}: in no manifest")
        elif file_sha256(path) != named[name]:
            found.append(f"{name}: another hash than in the manifest")
    if not facts.get("pending") and named.keys() - there.keys():
        found.append(f"the manifest names what is not there: {named.keys() - there.keys()}")
    return found


def complete(folder: Path, seed: int) -> list[str]:
    """What is wrong with a folder after an export that ended well."""
    found = faults(folder)
    wanted = {MANIFEST, *(f"{name}{end}" for name in NAMES for end in (".fake", ".weights"))}
    if {path.name for path in folder.iterdir()} != wanted:
        found.append(f"holds {sorted(path.name for path in folder.iterdir())}")
    facts = json.loads((folder / MANIFEST).read_text())
    if facts.get("pending") or facts["request"]["seed"] != seed:
        found.append("the manifest is of another export")
    return found
