"""The manifest: what it keeps, what it finds, what it does not believe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.results import manifest

Entry = dict[str, Any]


def _entry(stage: Path, name: str, text: str) -> Entry:
    stage.mkdir(exist_ok=True)
    (stage / name).write_text(text)
    file = {"path": name, "bytes": len(text), "sha256": file_sha256(stage / name)}
    return {"path": name, "note": text, "files": [file]}


def _publish(folder: Path, **files: str) -> Path:
    stage, path = folder / "stage", folder / "m.manifest.json"
    entries = [_entry(stage, f"{name}.onnx", text) for name, text in files.items()]
    manifest.publish_with_manifest(stage, path, entries, {"model": "mobilenet"})
    assert list(stage.iterdir()) == []
    return path


def _listed(path: Path) -> dict[str, str]:
    return {e["path"]: e["note"] for e in manifest.read(path)["artifacts"]}


def test_keeps_earlier_files(tmp_path: Path) -> None:
    _publish(tmp_path, a="1", b="1")
    path = _publish(tmp_path, b="2")
    assert _listed(path) == {"a.onnx": "1", "b.onnx": "2"}
    assert manifest.check(path).passed and not manifest.check(path).pending
    (tmp_path / "a.onnx").unlink()
    assert _listed(_publish(tmp_path, c="3")) == {"b.onnx": "2", "c.onnx": "3"}


@pytest.mark.parametrize("before", ["", "{", "[]", '{"artifacts": 3}', '{"artifacts": [1]}'])
def test_damaged_one_is_replaced(tmp_path: Path, before: str) -> None:
    (tmp_path / "m.manifest.json").write_text(before)
    with pytest.raises(DataError, match="not a manifest"):
        manifest.read(tmp_path / "m.manifest.json")
    assert _listed(_publish(tmp_path, a="1")) == {"a.onnx": "1"}


def test_finds_what_is_altered_or_gone(tmp_path: Path) -> None:
    path = _publish(tmp_path, a="1", b="2", c="3")
    (tmp_path / "a.onnx").write_text("0")
    (tmp_path / "b.onnx").unlink()
    found = manifest.check(path)
    assert not found.passed
    assert [file.state for file in found.files] == ["altered", "missing", "whole"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/file", "", ".."])
def test_names_nothing_outside_of_its_folder(name: str, tmp_path: Path) -> None:
    """A manifest may come from a stranger."""
    path = _publish(tmp_path, a="1")
    facts = json.loads(path.read_text())
    facts["artifacts"][0]["files"][0]["path"] = name
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="outside of its folder"):
        manifest.check(path)


def test_newer_schema(tmp_path: Path) -> None:
    path = _publish(tmp_path, a="1")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(DataError, match="schema 2"):
        manifest.read(path)
