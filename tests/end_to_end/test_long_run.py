"""A process that lives long keeps no memory, files, processes, threads or folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Exported, Trained, environment

SCRIPT = ROOT / "benchmarks" / "long_run.py"


def _run(output: Path, *arguments: str | Path) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(output), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert output.exists(), ended.stderr
    facts: dict[str, Any] = json.loads(output.read_text())
    assert ended.returncode == bool(facts["missed"])
    return facts


@pytest.mark.slow
def test_evaluations(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """In one process, in three runtimes; about 15 CPU seconds."""
    files = [exported.path(format, "int8") for format in ("tflite", "onnx", "openvino")]
    images = tmp_path / "images"
    for wnid in sorted(trained.test.iterdir())[:2]:
        (images / wnid.name).mkdir(parents=True)
        for picture in sorted(wnid.iterdir())[:5]:
            (images / wnid.name / picture.name).symlink_to(picture)
    facts = _run(tmp_path / "held.json", "--rounds", "40", "--images", images, "--files", *files)
    assert facts["missed"] == []
    assert (facts["last"]["children"], facts["last"]["temporary"]) == (0, [])


@pytest.mark.slow
def test_exports_and_evaluations(tmp_path: Path) -> None:
    facts = _run(tmp_path / "held.json", "--rounds", "14")
    assert facts["missed"] == []
