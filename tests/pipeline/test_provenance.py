"""What a manifest says of where files come from, and whether they come out the same again."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from pathlib import Path

import click
import pytest

from edgezoo.cli._main import edgezoo
from edgezoo.cli._options import split
from edgezoo.cli.export import COMMAND
from edgezoo.core.errors import DataError
from edgezoo.core.spec import BuildArguments
from edgezoo.networks import arguments
from edgezoo.pipeline import provenance
from edgezoo.pipeline.reproduce import reproduce
from edgezoo.pipeline.request import ExportRequest
from edgezoo.pipeline.run import run
from tests.conftest import Exported, Trained, run_cli
from tests.support import fake_export

REQUESTS = {
    "plain": ExportRequest("mobilenet", BuildArguments(alpha=0.5), precisions=("float32",)),
    "int8": ExportRequest(
        "mobilenet", BuildArguments(alpha=0.25, input_size=96), ("onnx", "tflite"),
        ("float32", "int8"), "weights.h5", 3, "some pictures", 100, "fast", "per-tensor",
        "normalized", "nchw", "int8", verify=False, min_agreement=0.9,
    ),
    "features": ExportRequest(
        "vgg16", BuildArguments(include_top=False, pooling="avg"), precisions=("float16",)
    ),
    "own": ExportRequest(
        "flowers.keras", precisions=("int8",), preprocessing="tf", labels=Path("names.txt"),
        trust=True, max_drop_points=1.5, images=Path("val"), ground_truth=Path("truth.txt"),
    ),
    "densenet": ExportRequest(
        "densenet121", BuildArguments(blocks=(1, 2, 3, 4), classes=7, output_layer="pool1"),
        precisions=("float32",), weights="random", target="coral", embed_resize=True,
    ),
}  # fmt: skip


def _asked(line: str) -> ExportRequest:
    """What `edgezoo export` makes of a command line."""
    words = shlex.split(line)[2:]
    # With the group's own settings: click keeps a command's help option as it was asked for first.
    group = click.Context(edgezoo, **edgezoo.context_settings)
    context = COMMAND.make_context("export", words, parent=group)
    options = context.params
    (model,) = options.pop("models")
    for name in ("as_json", "debug", "dry_run", "quiet"):
        options.pop(name)
    assert options.pop("part") is None, "the folder that --split names is in the request"
    precisions = split(options.pop("precisions")) + (("int8",) if options.pop("int8") else ())
    options["include_top"] = not options.pop("no_top")
    options["formats"] = split(options["formats"])
    if options["blocks"]:
        options["blocks"] = tuple(map(int, options["blocks"].split(",")))
    chosen = arguments.taken_from(options)
    return ExportRequest(model, chosen, precisions=precisions, **options)


@pytest.mark.parametrize("name", REQUESTS)
def test_command_asks_for_the_same(name: str) -> None:
    request = REQUESTS[name]
    line = provenance.command(request)
    assert provenance.portable(_asked(line)) == provenance.portable(request), line


def test_command_names_no_place() -> None:
    request = ExportRequest("/home/me/n.keras", calibration="/home/me/photos", output=Path("/x"))
    assert provenance.command(request) == "edgezoo export n.keras --calibration photos"


def test_packages_are_those_that_take_part() -> None:
    found = provenance.maker().packages
    assert {"numpy", "onnx", "openvino", "keras", "protobuf", "h5py"} <= found.keys()
    assert not {"pytest", "ruff", "mypy"} & found.keys()


def test_manifest_says_where_files_come_from(exported: Exported, trained: Trained) -> None:
    facts = exported.manifest
    assert facts["weights"]["origin"] == "weights.h5, given by the user"
    assert facts["command"].startswith("edgezoo export mobilenet --input-size 32 --alpha 0.25 ")
    assert "--calibration calibration" in facts["command"]
    assert len(facts["edgezoo"]["code_sha256"]) == 64
    assert facts["versions"]["numpy"] and facts["platform"]["python"]
    assert len(facts["reproducible_within"]) == 1, "int8, and no random weights"
    assert str(trained.folder) not in json.dumps(facts)
    assert all(entry["request"] == facts["request"] for entry in facts["artifacts"])


def _manifest(folder: Path) -> Path:
    (path,) = folder.glob("*.manifest.json")
    return path


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    shutil.copytree(exported.folder, tmp_path / "copied")
    return _manifest(tmp_path / "copied")


def test_verify_checks_every_hash(copied: Path) -> None:
    facts = run_cli("verify", copied, "--json").json
    assert facts["passed"] and len(facts["manifests"][0]["files"]) == 12
    victim = next(copied.parent.glob("*.bin"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    next(copied.parent.glob("*int8.tflite")).unlink()
    ended = run_cli("verify", copied)
    assert ended.code == 5
    assert f"{victim.name} is altered" in ended.stderr and "is missing" in ended.stderr
    states = run_cli("verify", copied, "--json").json["manifests"][0]["files"]
    assert sorted(f["state"] for f in states if f["state"] != "whole") == ["altered", "missing"]


def test_inputs_are_asked_for(copied: Path, trained: Trained, tmp_path: Path) -> None:
    """What came of other weights would prove nothing; how it ends well: tests/contract."""
    asked = ("verify", "--reproduce", copied)  # from a folder that holds neither
    message = run_cli(*asked, cwd=tmp_path).error(5)
    assert "--calibration calibration" in message
    given: tuple[str | Path, ...] = ("--calibration", trained.calibration)
    message = run_cli(*asked, *given, cwd=tmp_path).error(5)
    assert "--weights weights.h5" in message
    shutil.copy(trained.weights, tmp_path / "other.h5")
    with (tmp_path / "other.h5").open("ab") as stream:
        stream.write(b"0")
    given = (*given, "--weights", tmp_path / "other.h5")
    assert "is not the file" in run_cli(*asked, *given, cwd=tmp_path).error(5)


def test_other_bytes_are_told(fakes: None, tmp_path: Path) -> None:
    """With what else is not as it was."""
    run(fake_export.request(tmp_path, 1))
    path = tmp_path / fake_export.MANIFEST
    found = reproduce(path, {})
    assert found.reproduced and found.differences == () and len(found.files) == 4
    told = json.loads(path.read_text())
    told["artifacts"][0]["files"][0]["sha256"] = "0" * 64
    told["versions"] |= {"onnx": "0.1", "gone": "1.0"}
    told["edgezoo"]["code_sha256"] = None
    path.write_text(json.dumps(told))
    found = reproduce(path, {})
    assert [file.same for file in found.files] == [False, True, True, True]
    assert "onnx was 0.1, is " in " ".join(found.differences)
    assert "gone was 1.0, is None" in found.differences
    assert found.differences[0].startswith("EdgeZoo's code_sha256 was unknown, is ")


def test_a_manifest_cannot_let_code_run(
    fakes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(fake_export.request(tmp_path, 1, trust=True))
    asked: list[ExportRequest] = []
    monkeypatch.setattr("edgezoo.pipeline.reproduce.resolve", asked.append)
    with contextlib.suppress(AttributeError):
        reproduce(tmp_path / fake_export.MANIFEST, {})
    assert [request.trust for request in asked] == [False]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"colour": 1}, "colour"), ({"arguments": {}}, "arguments"), ({"formats": 3}, "damaged")],
)
def test_damaged_request(
    change: dict[str, object], words: str, fakes: None, tmp_path: Path
) -> None:
    run(fake_export.request(tmp_path, 1))
    path = tmp_path / fake_export.MANIFEST
    told = json.loads(path.read_text())
    told["artifacts"][0]["request"] |= change
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match=words):
        reproduce(path, {})


def test_reproduce_takes_only_manifests(copied: Path) -> None:
    file = next(copied.parent.glob("*.onnx"))
    assert "needs a manifest" in run_cli("verify", "--reproduce", file).error(2)
    assert "apart" in run_cli("verify", file, copied).error(2)
    told = json.loads(copied.read_text())
    for entry in told["artifacts"]:
        del entry["request"]
    copied.write_text(json.dumps(told))
    assert "older EdgeZoo" in run_cli("verify", "--reproduce", copied).error(5)
