"""A device has numpy, Pillow and one runtime: importing EdgeZoo must not ask for more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

HEAVY = {"tensorflow", "keras", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert",
         "litert_quantizer", "tf2onnx", "scipy", "h5py", "rich", "requests", "sklearn",
         "flatbuffers", "tflite_micro", "ethosu", "torch", "matplotlib", "pandas", "plotly",
         "jinja2", "dask", "distributed"}  # fmt: skip
BASE = {"numpy", "PIL"}

_WALK = """
import importlib, json, pkgutil, sys
import edgezoo
names = ["edgezoo", *(m.name for m in pkgutil.walk_packages(edgezoo.__path__, "edgezoo."))]
names.remove("edgezoo.__main__")
for name in names:
    importlib.import_module(name)
print(json.dumps({"names": names, "loaded": sorted({m.split(".")[0] for m in sys.modules})}))
"""


def _python(code: str) -> dict[str, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    facts: dict[str, list[str]] = json.loads(ended.stdout)
    return facts


def test_no_module_imports_anything_heavy() -> None:
    facts = _python(_WALK)
    for package in ("exporters", "runtimes", "calibration", "cli", "pipeline", "models", "targets"):
        count = sum(name.startswith(f"edgezoo.{package}.") for name in facts["names"])
        assert count >= 3, f"{package} was not walked"
    assert HEAVY & set(facts["loaded"]) == set()
    assert "PIL" not in facts["loaded"]


@pytest.mark.parametrize(
    "code",
    [
        "import edgezoo",
        "from edgezoo.cli._main import main; assert main(['--help']) == 0",
        "from edgezoo.cli._main import main; assert main(['export', '--help']) == 0",
        "from edgezoo.cli._main import main; assert main(['show', 'vgg16', '--json']) == 0",
    ],
)
def test_first_steps_load_next_to_nothing(code: str) -> None:
    report = (
        "import json, sys; print('\\n' + json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    assert (HEAVY | BASE) & loaded == set()


def test_every_public_name_is_there() -> None:
    facts = _python(
        "import json, edgezoo; print(json.dumps({'missing': "
        "[n for n in edgezoo.__all__ if not hasattr(edgezoo, n)], 'all': edgezoo.__all__}))"
    )
    assert facts["missing"] == []
    assert {"export", "verify", "evaluate", "classify", "inspect", "build"} <= set(facts["all"])
