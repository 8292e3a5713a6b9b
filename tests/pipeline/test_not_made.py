"""A format that fails on a network is left out; the others are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import ExportJob
from edgezoo.pipeline.run import require_passed, run
from tests.support import fake_export


class Broken(fake_export.FakeExporter):
    """Has no float16 of this network."""

    name, suffix = "broken", ".broken"

    def export(self, source, job: ExportJob, calibration, stem: Path):
        if job.precision == "float16":
            raise ValueError("shape (3,) does not match (4,)")
        return super().export(source, job, calibration, stem)


@pytest.fixture
def broken(fakes: None) -> None:
    registry.exporters()["broken"] = Broken()  # type: ignore[assignment]


def test_one_file_fails(broken: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "1MB")
    request = replace(fake_export.request(tmp_path / "out", 1), formats=("fake", "broken"))
    request = replace(request, precisions=("float16", "float32"))
    monkeypatch.setattr(Broken, "suffix", ".fake2")
    monkeypatch.setattr(fake_export.FakeRuntime, "suffixes", (".fake", ".fake2"))
    result = run(request)
    made = sorted((entry.format, str(entry.precision)) for entry in result.artifacts)
    assert [precision for _, precision in made] == ["float16", "float32", "float32"]
    (lost,) = result.not_made
    assert (lost.format, lost.precision) == ("broken", "float16")
    assert "shape (3,) does not match (4,)" in lost.reason and "layer" in lost.hint
    manifest = json.loads(result.manifest.read_text())
    assert len(manifest["artifacts"]) == 3
    with pytest.raises(RefusedError, match="broken float16"):
        require_passed(result)
    assert not run(request).cached, "what is not whole is not kept"


def test_nothing_is_left(broken: None, tmp_path: Path) -> None:
    request = replace(fake_export.request(tmp_path / "out", 1), formats=("broken",))
    with pytest.raises(RefusedError, match="No file of mobilenet can be made") as refused:
        run(replace(request, precisions=("float16",)))
    assert refused.value.hint
    assert not list(tmp_path.glob("out/*.broken"))
