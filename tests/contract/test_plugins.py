"""One new thing is one new file: a format, a runtime, a target and a model, added to a copy.

The format, the runtime and the target are the examples of the how-to pages, as they are printed
there. Nothing else in the copy is changed, and the commands know all four.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, environment

FAMILY = '''
"""A network of two layers that Keras does not have."""

from edgezoo.core.spec import ModelSpec, WeightsFile


def Postage(include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None,
            classes=1000, classifier_activation="softmax", name="postage"):
    import keras

    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    x = keras.layers.ReLU(6.0, name="stem_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(image, x, name=name)


SPECS = (
    ModelSpec(
        name="postage",
        family="postage",
        keras_name="Postage",
        module=__name__,
        preprocessing="torch",
        default_input_size=32,
        min_input_size=8,
        parameters=9_224,
        multiply_adds=63_296,
        depth=2,
        size_mb=0.1,
        top1=0.001,
        top5=0.005,
        paper="https://example.org/postage",
        weights=WeightsFile(name="postage.h5", url="https://example.org/postage.h5", md5=None),
        weights_licence="none",
    ),
)
'''
NEW = {"exporters/ort.py", "runtimes/ort.py", "targets/npu.py", "models/postage.py"}
# A package that no other plug-in loads.
CODEC = {"toy_codec/__init__.py": "", "toy_codec-1.2.dist-info/METADATA": "Version: 1.2\n"}
Run = Callable[..., str]


def _example(page: str) -> str:
    text = (ROOT / "docs" / page).read_text()
    return str(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[0])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EdgeZoo with one more file of each kind; the exporter loads one more package."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "edgezoo"
    shutil.copytree(ROOT / "edgezoo", package, ignore=shutil.ignore_patterns("__pycache__"))
    exporter = _example("adding-a-format.md")
    assert '"onnxruntime")' in exporter
    exporter = exporter.replace('"onnxruntime")', '"onnxruntime", "toy_codec")')
    (package / "exporters" / "ort.py").write_text(exporter)
    (package / "runtimes" / "ort.py").write_text(_example("adding-a-runtime.md"))
    (package / "targets" / "npu.py").write_text(_example("adding-a-target.md"))
    (package / "models" / "postage.py").write_text(FAMILY)
    for name, text in CODEC.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(copy: Path) -> Run:
    """Runs `python …` in the copy and returns its output, or its message where it fails."""

    def python(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=copy,
            check=False,
            env=environment(PYTHONPATH=str(copy)),
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return python


@pytest.fixture(scope="module")
def edgezoo(run: Run) -> Callable[..., dict[str, Any]]:
    """Runs a command and returns its JSON."""

    def command(*arguments: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(run("-m", "edgezoo", *arguments, "--json"))
        return facts

    return command


@pytest.fixture(scope="module")
def made(edgezoo: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All files of the new model by format and precision."""
    asked = ("postage", "--weights", "random", "--precision", "float32,int8", "-o", "out")
    found = edgezoo("export", *asked, "--calibration-count", "8")
    return {f"{file['format']} {file['precision']}": file for file in found["artifacts"]}


def test_the_copy_has_four_new_files_and_no_other_change(copy: Path) -> None:
    def sources(package: Path) -> dict[str, bytes]:
        found = subprocess.run(
            ["find", "-L", ".", "-name", "*.py"],
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
        )
        return {name[2:]: (package / name).read_bytes() for name in found.stdout.split()}

    before, after = sources(ROOT / "edgezoo"), sources(copy / "edgezoo")
    assert {name for name in after if after[name] != before.get(name)} == NEW
    assert before.keys() <= after.keys()


def test_commands_know_the_new_names(edgezoo: Callable[..., dict[str, Any]], run: Run) -> None:
    assert [found["model"] for found in edgezoo("list", "postage")["models"]] == ["postage"]
    shown = edgezoo("show", "postage")
    assert shown["parameters"] == 9_224 and "ort" in shown["formats"]
    doctor = edgezoo("doctor")
    for kind in ("exporters", "runtimes"):
        assert "ort" in {found["name"] for found in doctor[kind]}
    assert ".ort" in run("-m", "edgezoo", "inspect", "toy_codec/__init__.py", code=2)
    refused = run("-m", "edgezoo", "export", "mobilenet", "--target", "npv", code=2)
    assert "Did you mean npu?" in refused


def test_new_files_go_through_the_whole_pipeline(
    made: dict[str, dict[str, Any]], edgezoo: Callable[..., dict[str, Any]]
) -> None:
    formats = ("onnx", "openvino", "tflite")
    both = {f"{format} {precision}" for format in formats for precision in ("float32", "int8")}
    assert made.keys() == {*both, "ort float32"}
    assert {file["verification"]["verdict"] for file in made.values()} == {"passed"}
    path = made["ort float32"]["path"]
    inspected = edgezoo("inspect", path)
    assert (inspected["format"], inspected["contract"]["model"]) == ("ort", "postage")
    placed = edgezoo("inspect", made["tflite int8"]["path"], "--target", "npu")["target"]
    assert placed["mapped"] == 2 and placed["name"] == "npu"


def test_a_new_exporters_package_is_a_dependency_of_files(
    made: dict[str, dict[str, Any]], copy: Path, run: Run
) -> None:
    """In the contract, in the manifest and in the key of the export cache."""
    contract = json.loads(
        run(
            "-c",
            "import json, sys; from edgezoo.core import registry; "
            "contract = registry.load_artifact(sys.argv[1]).contract; "
            "print(json.dumps(contract.versions))",
            made["ort float32"]["path"],
        )
    )
    assert contract["toy-codec"] == "1.2" and "edgezoo" in contract
    (manifest,) = (copy / "out").glob("*.manifest.json")
    assert json.loads(manifest.read_text())["versions"]["toy-codec"] == "1.2"

    def key() -> str:
        return run(
            "-c",
            "from edgezoo.pipeline import plan, provenance, request as r; "
            "request = r.ExportRequest('postage', weights='random'); "
            "print(provenance.request_key(plan.resolve(request)))",
        )

    before = key()
    assert key() == before
    metadata = copy / "toy_codec-1.2.dist-info" / "METADATA"
    metadata.write_text("Version: 1.3\n")
    try:
        assert key() != before
    finally:
        metadata.write_text(CODEC["toy_codec-1.2.dist-info/METADATA"])
