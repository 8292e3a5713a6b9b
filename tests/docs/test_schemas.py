"""What the commands print with --json is what docs/schemas say, and nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from edgezoo.cli._main import edgezoo
from edgezoo.core import registry, typed_json
from edgezoo.core.paths import mark_cache
from tests.conftest import Ended, Exported, Trained, Tuned
from tests.support.devices import Machine

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))
Cli = Callable[..., Ended]


def _strict(schema: Any) -> Any:
    """The same schema, closed: a key that no schema describes is an error here."""
    if isinstance(schema, list):
        return [_strict(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema and "required" in schema:
        closed["additionalProperties"] = False
    return closed


def _read(name: str) -> dict[str, Any]:
    facts = json.loads((SCHEMAS / f"{name}.json").read_text())
    assert isinstance(facts, dict)
    return facts


def check(name: str, value: Any) -> None:
    """Validate a value, with every schema closed."""
    resources = [referencing.Resource.from_contents(_strict(_read(n))) for n in NAMES]
    registry = referencing.Registry().with_resources((r.id(), r) for r in resources)
    schema = _strict(_read(name))
    jsonschema.Draft202012Validator(schema, registry=registry).validate(value)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid(name: str) -> None:
    schema = _read(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:edgezoo:schema:{name}:1"
    assert schema["title"]


def test_unknown_key_is_found() -> None:
    error = {"message": "No.", "hint": "", "exit_code": 2}
    check("error", {"error": error})
    with pytest.raises(jsonschema.ValidationError):
        check("error", {"error": {**error, "more": 1}})


def test_every_command_has_a_schema() -> None:
    assert set(edgezoo.list_commands(click.Context(edgezoo))) <= set(NAMES)


def test_every_schema_is_explained() -> None:
    text = (SCHEMAS.parent / "json.md").read_text()
    assert [name for name in NAMES if f"(schemas/{name}.json)" not in text] == []


def test_list(cli: Cli) -> None:
    check("list", cli("list", "--json").json)


@pytest.mark.parametrize("model", ["mobilenet", "vgg16", "mobilenetv3small", "efficientnet_lite0"])
def test_show(cli: Cli, model: str) -> None:
    check("show", cli("show", model, "--json").json)


def test_doctor(cli: Cli) -> None:
    check("doctor", cli("doctor", "--json").json)


def test_error(cli: Cli) -> None:
    ended = cli("show", "no-such-model", "--json")
    check("error", ended.json)
    assert ended.json["error"]["exit_code"] == ended.code


def test_dry_run(cli: Cli) -> None:
    arguments = ("export", "mobilenet", "resnet50", "--int8", "--weights", "random", "--dry-run")
    check("export", cli(*arguments, "--json").json)


def test_export_and_manifest(exported: Exported) -> None:
    check("export", exported.facts)
    check("manifest", exported.manifest)


def test_export_of_two_models_without_verification(cli: Cli, tmp_path: Path) -> None:
    from edgezoo.cli.export import _merge
    from edgezoo.pipeline.export_result import ExportResult

    arguments = (
        *("export", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights", "random"),
        *("--format", "tflite", "--no-verify", "--json"),
    )
    facts = cli(*arguments, "-o", tmp_path).json
    check("export", facts)
    result = typed_json.decode(ExportResult, facts)
    check("export", _merge([result, result]).to_json())
    check("manifest", json.loads(Path(facts["manifest"]).read_text()))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_inspect(cli: Cli, exported: Exported, format: str, precision: str) -> None:
    facts = cli("inspect", exported.path(format, precision), "--json").json
    check("inspect", facts)
    assert len(facts["contract"]["labels"]) == facts["contract"]["classes"]


def test_classify(cli: Cli, exported: Exported, picture: Path) -> None:
    check("classify", cli("classify", exported.path("tflite", "int8"), picture, "--json").json)


def test_evaluate(cli: Cli, exported: Exported, trained: Trained) -> None:
    chosen, reference = (exported.path("tflite", precision) for precision in ("int8", "float32"))
    scored = ("evaluate", chosen, "--images", trained.test, "--limit", "20", "--json")
    check("evaluate", cli(*scored).json)
    check("evaluate", cli(*scored, "--reference", reference).json)


def test_bundle(cli: Cli, exported: Exported, tmp_path: Path) -> None:
    arguments = ("bundle", exported.path("tflite", "int8"), "-o", tmp_path / "b.zip", "--json")
    check("bundle", cli(*arguments).json)
    check("bundle", cli(*arguments, "--c-array").json)


def test_on_a_device(cli: Cli, exported: Exported, picture: Path, machine: Machine) -> None:
    there = ("--json", "--on", machine.url())
    file = exported.path("tflite", "int8")
    check("classify", cli("classify", file, picture, *there, PATH=machine.path).json)
    check("doctor", cli("doctor", *there, PATH=machine.path).json)


def test_coral_in_doctor(tmp_path: Path) -> None:
    from edgezoo.inspection.diagnosis import diagnose

    folder = tmp_path / "sys/bus/usb/devices/1-1"
    folder.mkdir(parents=True)
    for name, text in {"idVendor": "1a6e", "idProduct": "089a"}.items():
        (folder / name).write_text(text)
    result = diagnose(root=tmp_path)
    assert len(result.coral) == 1
    check("doctor", typed_json.encode(result))


def test_finetune(tuned: Tuned) -> None:
    check("finetune", tuned.facts)
    contract = registry.load_artifact(tuned.network).required_contract()
    check("contract", json.loads(json.dumps(contract.to_json())))


def test_verify(cli: Cli, exported: Exported, trained: Trained) -> None:
    files = [exported.path(format, "int8") for format in ("tflite", "onnx")]
    options = ("--weights", trained.weights, "--images", trained.test, "--count", "8", "--json")
    check("verify", cli("verify", *files, *options).json)


def test_verify_of_manifests(cli: Cli, exported: Exported) -> None:
    (manifest,) = exported.folder.glob("*.manifest.json")
    facts = cli("verify", manifest, "--json").json
    check("verify", facts)
    again = {"path": "m", "sha256": "0" * 64, "again": None, "same": False}
    told = {"reproduced": False, "files": [again], "differences": ["numpy"]}
    facts["manifests"][0]["reproduction"] = told
    check("verify", facts)


def test_cache(cli: Cli, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEZOO_CACHE", str(tmp_path))
        mark_cache()
    (tmp_path / "exports").mkdir()
    for action in ("info", "clear"):
        check("cache", cli("cache", action, "--json", EDGEZOO_CACHE=str(tmp_path)).json)


def test_report_of_manifests(cli: Cli, exported: Exported, tmp_path: Path) -> None:
    (manifest,) = exported.folder.glob("*.manifest.json")
    check("report", cli("report", manifest, "-o", tmp_path, "--json").json)


def test_explain(cli: Cli, exported: Exported, trained: Trained) -> None:
    reference = exported.path("tflite", "float32")
    options = ("--float", reference, "--count", "4", "--json")
    for format, images in (("openvino", "synthetic"), ("tflite", trained.test)):
        facts = cli("explain", exported.path(format, "int8"), "--images", images, *options).json
        check("explain", facts)
        assert (facts["lost_top1"] is None) == (images == "synthetic")
