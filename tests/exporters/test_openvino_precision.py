"""Float32 of an OpenVINO file is float32 in a session that asks for nothing."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgezoo.core import registry
from edgezoo.core.protocols import ExportJob
from edgezoo.core.ran_on import COMPUTED_IN, RanOn
from edgezoo.evaluation.agreement import compare
from edgezoo.exporters import _openvino_precision
from edgezoo.formats import operators
from edgezoo.inspection.inspect_file import inspect
from edgezoo.pipeline.children import predict_files
from edgezoo.runtimes import openvino as openvino_runtime
from tests.conftest import Ended, Exported

# Answers of a session with a hint less those of a plain one, and the types of the layers there.
COMPARE = """
import sys
import numpy as np
import openvino as ov
core, pixels = ov.Core(), np.random.default_rng(0).integers(0, 256, (8, 1, 32, 32, 3))
answers = []
for settings in ({"INFERENCE_PRECISION_HINT": "f32"}, {}):
    model = core.compile_model(sys.argv[1], "CPU", settings)
    kind = np.dtype(model.input(0).get_element_type().to_dtype())
    answers.append(np.concatenate([model(image.astype(kind))[0] for image in pixels]))
print(np.abs(answers[0] - answers[1]).max())
layers = [op.get_rt_info() for op in model.get_runtime_model().get_ops()]
print(*sorted({layer["runtimePrecision"].astype(str) for layer in layers
               if layer["layerType"].astype(str) in ("Convolution", "FullyConnected")}))
"""
NAMES = """<?xml version="1.0"?>
<net name="a &lt;layer> here" version="11"><layers>
<layer id="0" name="a>b" type="Parameter" version="opset1"><data shape="1,2" /></layer>
<layer id="1" name='c"d' type="Relu" version="opset1">
  <rt_info>
    <attribute name="fused_names_0" value="x" />
  </rt_info>
  <input><port id="0" /></input>
</layer>
</layers><rt_info><edgezoo_contract value="{&quot;a&quot;: 1}" /></rt_info></net>
"""


def _has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compared(path: Path) -> tuple[float, str]:
    command = [sys.executable, "-c", COMPARE, str(path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    difference, types = ended.stdout.splitlines()
    return float(difference), types


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_plain_session_computes_in_float32(exported: Exported, precision: str) -> None:
    assert _compared(exported.path("openvino", precision)) == (0.0, "f32")


def test_every_layer_is_marked_in_float_files_alone(exported: Exported) -> None:
    for precision, wanted in (("float32", True), ("float16", True), ("int8", False)):
        layers = ET.parse(exported.path("openvino", precision)).getroot().findall(".//layer")
        marks = [layer.findall("rt_info/attribute[@name='precise']") for layer in layers]
        assert len(layers) > 50 and {len(found) for found in marks} == {int(wanted)}


def test_float16_stays_small(exported: Exported) -> None:
    sizes = [exported.entry("openvino", p)["files"][1]["bytes"] for p in ("float16", "float32")]
    assert sizes[0] < 0.51 * sizes[1]


def test_marks_go_into_the_text_of_any_names(tmp_path: Path) -> None:
    path = tmp_path / "names.xml"
    path.write_text(NAMES)
    _openvino_precision.ask_for_float32(path)
    root = ET.parse(path).getroot()
    assert root.get("name") == "a <layer> here"
    parameter, relu = root.findall("layers/layer")
    assert [entry.get("name") for entry in parameter.findall("rt_info/attribute")] == ["precise"]
    (info,) = relu.findall("rt_info")
    assert {entry.get("name") for entry in info} == {"precise", "fused_names_0"}
    assert len(root.findall("rt_info/attribute")) == 0


@pytest.mark.parametrize(
    ("asked", "marked"), [(None, [True, True, False]), ("f32", [True] * 3), ("auto", [False] * 3)]
)
def test_what_is_marked(asked: str | None, marked: list[bool]) -> None:
    found = [
        _openvino_precision.asks_for_float32(
            ExportJob("openvino", precision, inference_precision=asked)  # type: ignore[arg-type]
        )
        for precision in ("float32", "float16", "int8")
    ]
    assert found == marked


def test_left_to_the_session(cli: Callable[..., Ended], output: Path, tmp_path: Path) -> None:
    """The choice is told, and so is what really ran; where it is bfloat16 no bound is claimed."""
    ended = cli("export", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights",
                "random", "--format", "openvino", "--openvino-precision", "auto", "-o", output,
                "--verify-images", "4")  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert "leave the precision to the session" in ended.stderr
    (path,) = output.glob("*_float32_auto.xml")
    assert "precise" not in path.read_text()
    ran = "bf16" if _has_bfloat16() else "f32"
    assert ("bounds of float32 were not checked" in ended.stderr) == (ran == "bf16")
    with registry.runtime_for(path).open(registry.load_artifact(path)) as session:
        assert session.ran_on.details == {COMPUTED_IN: ran}
    pixels, answers = tmp_path / "pixels.npy", tmp_path / "answers.npy"
    np.save(pixels, np.zeros((2, 32, 32, 3), np.uint8))
    (place,) = predict_files((path,), pixels, (answers,))
    assert place.in_bfloat16 == (ran == "bf16") and not place.asked_by_session


def test_sessions_tell_what_ran(exported: Exported) -> None:
    for precision, ran in (("float32", "f32"), ("float16", "f32")):
        path = exported.path("openvino", precision)
        with registry.runtime_for(path).open(registry.load_artifact(path)) as session:
            assert session.ran_on.details == {COMPUTED_IN: ran}
            assert not session.ran_on.in_bfloat16
    assert RanOn(details={COMPUTED_IN: "bf16, u8"}).in_bfloat16


def test_bounds_of_a_precision_that_did_not_run() -> None:
    reference = np.random.default_rng(0).random((8, 10), np.float32)
    coarse = reference + np.float32(0.01) * np.eye(8, 10, dtype=np.float32)
    assert not compare(reference, coarse, "float32").passed
    found = compare(reference, coarse, "float32", in_bfloat16=True)
    assert found.passed and "bounds of float32 were not checked" in found.warnings[0]
    assert not compare(reference, -reference, "float32", 0.5, in_bfloat16=True).passed


@pytest.mark.parametrize("kind", ["dense", "pool", "padded"])
def test_marks_that_the_plugin_would_lose(kind: str, tmp_path: Path) -> None:
    """A dense head behind a squeeze, and pooling, keep them; padding loses them, and is noticed."""
    import openvino as ov
    from openvino import opset13 as ops

    drawn = np.random.default_rng(0)
    image = ops.parameter([1, 8, 8, 8], np.float32)
    axes = ops.constant(np.array([2, 3], np.int64))
    weights = ops.constant(drawn.normal(size=(16, 8)).astype(np.float32))
    if kind == "dense":
        squeezed = ops.squeeze(ops.reduce_mean(image, axes, True), axes)
        bias = ops.constant(drawn.normal(size=(1, 16)).astype(np.float32))
        last = ops.add(ops.matmul(squeezed, weights, False, True), bias)
    elif kind == "pool":
        pooled = ops.max_pool(image, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
        kernel = ops.constant(drawn.normal(size=(16, 8, 1, 1)).astype(np.float32))
        last = ops.convolution(pooled, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    else:
        pads = ops.constant(np.array([0, 0, 1, 1], np.int64))
        padded = ops.pad(image, pads, pads, "constant", np.float32(0))
        kernel = ops.constant(drawn.normal(size=(16, 8, 3, 3)).astype(np.float32))
        last = ops.convolution(padded, kernel, [2, 2], [0, 0], [0, 0], [1, 1])
    model, path = ov.Model([last], [image]), tmp_path / "m.xml"
    _openvino_precision.keep_marks(model)
    ov.save_model(model, path, compress_to_fp16=False)
    _openvino_precision.ask_for_float32(path)
    compiled, ran_on = openvino_runtime.compile_model(openvino_runtime.read_model(path), path)
    assert ran_on.asked_by_session == (kind == "padded" and _has_bfloat16())
    types = {str(op.get_rt_info()["runtimePrecision"].astype(str))
             for op in compiled.get_runtime_model().get_ops()}  # fmt: skip
    assert "bf16" not in types


def test_without_effect(cli: Callable[..., Ended]) -> None:
    options = ("mobilenet", "--weights", "random", "--input-size", "32", "--dry-run")
    message = cli("export", *options, "--format", "onnx", "--openvino-precision", "f32").error(2)
    assert "--openvino-precision f32 has no effect" in message
    assert "f32" in cli("export", *options, "--openvino-precision", "f23").error(2)


def test_operations_with_weights_are_counted(exported: Exported) -> None:
    """So that a release of OpenVINO with other names of layers is noticed."""
    ops = inspect(exported.path("openvino", "float32")).ops
    assert sum(ops.get(name, 0) for name in operators.OPENVINO) == 28
