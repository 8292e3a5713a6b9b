"""Every function of the Python API, called as a user calls it: scalars, text paths, attributes."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgezoo
from edgezoo import api
from edgezoo.core.errors import UsageError
from edgezoo.measurement.protocol import Settings
from tests.conftest import ROOT, Exported, Trained, environment
from tests.support.fake_records import grid, write_store

QUICK = Settings(min_rounds=6, block_runs=2, block_seconds=0.001, min_runs=1, min_seconds=0.0,
                 warm_up_seconds=0.01, warm_up_cap_seconds=0.1)  # fmt: skip


def test_each_function_is_called_here() -> None:
    """Of a new function, too; those that load Keras are called in the test of a script below."""
    called = Path(__file__).read_text()
    assert [name for name in api.__all__ if f"edgezoo.{name}(" not in called] == []


def test_each_keyword_is_spelled_out() -> None:
    for name in api.__all__:
        signature = inspect.signature(getattr(edgezoo, name))
        for parameter in signature.parameters.values():
            assert parameter.kind is not parameter.VAR_KEYWORD, (name, parameter)
            assert parameter.annotation is not parameter.empty, (name, parameter)
        assert signature.return_annotation not in ("dict[str, Any]", "Any"), name


@pytest.mark.parametrize("name", api.__all__)
def test_unknown_keyword(name: str) -> None:
    function: Callable[..., object] = getattr(edgezoo, name)
    with pytest.raises(UsageError, match=rf"^{name}\(\) has no argument 'pixles'"):
        function("mobilenet", pixles=1)


def test_did_you_mean() -> None:
    with pytest.raises(UsageError, match=r"no argument 'alfa'\. Did you mean alpha"):
        edgezoo.export("mobilenet", alfa=0.5)  # type: ignore[call-arg]


def test_the_zoo() -> None:
    assert "mobilenet" in edgezoo.list_models()
    assert edgezoo.show("mobilenet").default_input_size == 224


def test_one_file(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """A path as text or as Path, one image or several."""
    file = exported.path("tflite", "int8")
    image = next(trained.test.rglob("*.png"))
    answer = edgezoo.classify(str(file), image, top=2)
    assert len(answer.results[0].classes) == 2
    assert edgezoo.classify(file, [image, str(image)]).results[1].image == image
    scores = edgezoo.evaluate(file, str(trained.test), limit=20, max_drop_points=100.0,
                              reference=exported.path("onnx", "float32"))  # fmt: skip
    assert scores.results[0].images == 20 and scores.max_drop_points == 100.0
    with pytest.raises(UsageError, match="carries its own"):
        edgezoo.find_preprocessing(file, trained.test)
    assert edgezoo.inspect(file).quantized
    artifact, session = edgezoo.open_artifact(file, threads=1)
    with session:
        assert artifact.required_contract().classes == session.outputs[0].shape[-1]
    everywhere = edgezoo.verify_everywhere(file, readers="litert-reference", count=4)
    assert everywhere.passed and everywhere.images == 4
    float_file = str(exported.path("tflite", "float32"))
    found = edgezoo.explain(file, images=str(trained.test), count=8, float_file=float_file)
    assert found.images == 8
    made = edgezoo.bundle(file, str(tmp_path / "bundle.zip"))
    assert made.path == tmp_path / "bundle.zip"


def test_targets(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    assert edgezoo.compile(file, "ethos-u55-128", output=str(tmp_path)).npu_ops > 0
    assert edgezoo.estimate(str(file), "ethos-u55-128").inference_ms > 0


def test_measurements(exported: Exported, tmp_path: Path) -> None:
    measured = edgezoo.benchmark(
        exported.path("tflite", "int8"), threads=1, device="cpu", self_check=False, settings=QUICK
    )
    assert measured.results[0].latency_ms.median > 0
    store = write_store(tmp_path / "store", grid(4))
    assert [Path(path).name for path in edgezoo.report(str(store), kind="csv").reports] == [
        "report.csv"
    ]
    # This machine may be busy.
    choice = edgezoo.recommend(store, max_latency_ms=1000.0, max_drop_points=50.0, allow_poor=True)
    assert choice.choice is not None


def test_this_machine() -> None:
    assert edgezoo.doctor().machine.cores > 0


def test_pixels_and_predictions() -> None:
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    assert edgezoo.preprocess_input("mobilenet", pixels).min() == -1
    assert edgezoo.decode_predictions(None, np.eye(1000)[:1], top=1)[0][0][1] == "tench"


SCRIPT = """
import json, sys
import edgezoo
weights, data, output, photos = sys.argv[1:]
network = edgezoo.build("mobilenet", alpha=0.25, input_shape=(32, 32, 3), weights=weights)
made = edgezoo.export("mobilenet", alpha=0.25, input_size=32, weights=weights, precision="int8",
                      format="tflite", calibration=photos, calibration_count=16, output=output)
checked = edgezoo.verify(made.artifacts[0].path, weights=weights, count=8)
tuned = edgezoo.finetune("mobilenet", data, alpha=0.25, input_size=32, weights=weights, epochs=1,
                         unfreeze_blocks=0, output=output + "/tuned.keras")
print(json.dumps([network.count_params(), made.to_json(), checked.passed, tuned.to_json()]))
"""


def test_with_keras(trained: Trained, tmp_path: Path) -> None:
    """In a process of its own: the tests' own does not load TensorFlow."""
    wnids = sorted(path.name for path in trained.calibration.iterdir())[:2]
    for wnid in wnids:
        shutil.copytree(trained.calibration / wnid, tmp_path / "data" / wnid)
    (tmp_path / "user.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, tmp_path / "user.py", trained.weights, tmp_path / "data",
         tmp_path / "out", trained.calibration],
        capture_output=True, text=True, check=False, env=environment(KERAS_BACKEND="tensorflow"),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    parameters, made, passed, tuned = json.loads(ended.stdout.splitlines()[-1])
    assert parameters > 200_000 and made["artifacts"][0]["precision"] == "int8"
    assert isinstance(passed, bool) and Path(tuned["path"]).name == "tuned.keras"


def test_misspelt_keyword_is_a_type_error(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(
        "import edgezoo\n"
        'made = edgezoo.export("mobilenet", alpha=0.5, precision="int8")\n'
        "print(made.artifacts[0].verification.agreement_top1)\n"
        'edgezoo.export("mobilenet", alpa=0.5)\n'
        'edgezoo.evaluate("m.tflite", "val", max_drop=1)\n'
        "made.artifacts[0].sha265\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(script)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=environment(MYPYPATH=str(ROOT)),
    )  # fmt: skip
    own = [line for line in ended.stdout.splitlines() if line.startswith("user.py")]
    errors = [line for line in own if ": error: " in line]
    assert [line.split(":")[1] for line in errors] == ["4", "5", "6"], ended.stdout
    assert '"alpa"' in errors[0] and '"max_drop"' in errors[1] and '"sha265"' in errors[2]
