"""Other types and ranges of the input and output of a file: the answers stay the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from tests.conftest import FORMATS, Trained, made_once, run_cli

# options, formats, dtype of an int8 file's input, part of its name
CASES = {
    "float32": (("--int8", "--io", "float32"), "all", "float32", "int8_float32"),
    "int8": (("--int8", "--io", "int8"), "tflite", "int8", "int8_int8"),
    "normalized": (("--input", "normalized", "--int8", "--precision", "float32"), "all", "float32",
                   "normalized_int8"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(trained: Trained, common: Path) -> Path:
    """One output folder for all cases."""

    def make(folder: Path) -> None:
        for name, (options, formats, _, _) in CASES.items():
            ended = run_cli("export", *trained.options, *options, "--format", formats, "-o",
                            folder / "files", "--json")  # fmt: skip
            assert ended.code == 0, ended.stderr
            (folder / f"{name}.json").write_text(ended.stdout)

    return made_once(common / "io_types", make)


def _entries(folder: Path, name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())["artifacts"]
    return entries


@pytest.mark.parametrize("name", CASES)
def test_io_types(folder: Path, name: str) -> None:
    _, formats, dtype, part = CASES[name]
    entries = [entry for entry in _entries(folder, name) if entry["precision"] == "int8"]
    assert len(entries) == (3 if formats == "all" else 1)
    for entry in entries:
        path = folder / "files" / Path(entry["path"]).name
        assert part in path.name
        artifact = registry.load_artifact(path)
        with registry.runtime_for(path).open(artifact) as session:
            assert session.inputs[0].dtype == dtype == entry["input"]["dtype"]
            assert session.outputs[0].dtype == artifact.required_contract().output_dtype
        assert entry["input"]["kind"] == ("normalized" if name == "normalized" else "pixels")


@pytest.mark.parametrize("name", CASES)
def test_answers_stay(folder: Path, trained: Trained, name: str) -> None:
    paths = [folder / "files" / Path(entry["path"]).name for entry in _entries(folder, name)]
    ended = run_cli("evaluate", *paths, "--images", trained.test, "--json")
    assert ended.code == 0, ended.stderr
    for result in ended.json["results"]:
        assert abs(trained.top1 - result["top1"]) <= 0.02, result["artifact"]
        assert result["images"] == 400


def test_runs_into_one_folder_share_a_manifest(folder: Path) -> None:
    manifests = sorted((folder / "files").glob("*.manifest.json"))
    assert [m.name for m in manifests] == [
        "mobilenet_0.25_32.manifest.json",
        "mobilenet_0.25_32_normalized.manifest.json",
    ]
    listed = {entry["path"] for entry in json.loads(manifests[0].read_text())["artifacts"]}
    assert listed == {f"mobilenet_0.25_32_int8_float32{s}" for s in FORMATS.values()} | {
        "mobilenet_0.25_32_int8_int8.tflite"
    }
