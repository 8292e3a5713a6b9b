"""A worker's exports and scores, with accidents: dask worker --preload tests.support.fake_cluster.

Where FAKE_EXPORTED names a folder, exports copy its files. Where FAKE_DEATH names a step and a file
that is not there, the first worker to come to that step makes the file and kills itself.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgezoo.evaluation import ranks
from edgezoo.sweep import steps, worker
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.steps import ExportedFile

_real_rank = ranks.rank


def export(request: SweepRequest, files: Sequence[Variant]) -> dict[Variant, ExportedFile]:
    """Copies of files that were made earlier: those of 0.5 are other ones of 0.25."""
    _accident("export", request.output)
    assert request.output is not None
    folder = request.output / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for file in files:
        suffix = {"openvino": ".xml"}.get(file.format, f".{file.format}")
        precision = (
            file.precision
            if file.alpha == 0.25
            else {"float32": "float16"}.get(str(file.precision), file.precision)
        )
        source = Path(os.environ["FAKE_EXPORTED"], f"mobilenet_0.25_32_{precision}{suffix}")
        name = f"mobilenet_{file.alpha}_32_{file.precision}"
        for end in {suffix, ".bin"} if suffix == ".xml" else {suffix}:
            shutil.copy(source.with_suffix(end), folder / f"{name}{end}")
        made[file] = ExportedFile(folder / f"{name}{suffix}", None)
    return made


def rank(path: Path, *arguments: Any, **options: Any) -> ranks.Ranks:
    """Real ranks, unless the worker dies."""
    _accident("rank", path)
    return _real_rank(path, *arguments, **options)


def _accident(step: str, what: object) -> None:
    kind, _, flag = os.environ.get("FAKE_DEATH", "").partition(":")
    if kind == "always" and "int8" in str(what):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == step:
        try:
            Path(flag).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def dask_setup(_: Any) -> None:
    """What Dask calls when the worker starts."""
    if os.environ.get("FAKE_EXPORTED"):
        steps.export = export
    ranks.rank = rank  # type: ignore[assignment]
    if os.environ.get("FAKE_VERSION"):
        real = worker.artifact_versions  # type: ignore[attr-defined]
        worker.artifact_versions = lambda: {  # type: ignore[attr-defined]
            **real(), "numpy": os.environ["FAKE_VERSION"]
        }  # fmt: skip
