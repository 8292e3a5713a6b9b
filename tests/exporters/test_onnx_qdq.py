"""Symmetric QDQ: what accelerators take, and the same answers as the default form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.inference.predict import open_artifact, predict
from edgezoo.inspection import portability
from edgezoo.runtimes._onnx_layers import integer_layers
from tests.conftest import Ended, Exported, Trained, made_once, run_cli


@pytest.fixture(scope="module")
def symmetric(common: Path, trained: Trained) -> Path:
    """The files of two input types; the second is that of the target."""

    def make(folder: Path) -> None:
        for words in (("--int8", "--format", "onnx", "--qdq", "symmetric"),
                      ("--target", "tensorrt")):  # fmt: skip
            ended = run_cli("export", *trained.options, *words, "-o", folder, "--json")
            assert ended.code == 0, ended.stderr

    return made_once(common / "symmetric", make)


def _quantizers(path: Path) -> Iterator[tuple[onnx.NodeProto, NDArray[Any], NDArray[Any]]]:
    """Each QuantizeLinear and DequantizeLinear with its scale and zero point."""
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            yield node, stored[node.input[1]], stored[node.input[2]]


def test_int8_around_zero_and_no_quantized_bias(symmetric: Path) -> None:
    for path in symmetric.glob("*.onnx"):
        found = list(_quantizers(path))
        assert len(found) > 50
        for node, _, zero in found:
            assert zero.dtype == np.int8 and not zero.any(), node.name


def test_states_what_it_is_and_rounds_no_pixel(symmetric: Path) -> None:
    """Its first step is one pixel, so none is rounded."""
    (path,) = symmetric.glob("*_symmetric.onnx")
    _, scale, _ = next(found for found in _quantizers(path) if found[0].op_type[0] == "Q")
    contract = registry.load_artifact(path).required_contract()
    assert contract.quantization is not None
    assert contract.quantization.activations == "int8, symmetric"
    assert contract.input_dtype == "uint8"
    assert float(scale) == pytest.approx(1 / 127.5, rel=0.01), "of tf's normalization"
    found = portability.check(path)
    assert found is not None and found.verdict == "safe", "onnxruntime makes uint8 of it"
    assert {layer.activations_dtype for layer in integer_layers(onnx.load(str(path)))} == {"uint8"}


def _scores(path: Path, pixels: NDArray[np.uint8]) -> tuple[Artifact, NDArray[np.float32]]:
    artifact, session = open_artifact(path)
    with session:
        return artifact, predict(session, artifact.required_contract(), pixels)


def test_answers_as_the_default_form(symmetric: Path, exported: Exported, trained: Trained) -> None:
    from edgezoo.calibration import sources

    chosen, _ = sources.choose(str(trained.test), 32, 100, 2, 0)
    _, usual = _scores(exported.path("onnx", "int8"), chosen.pixels)
    answers = [_scores(path, chosen.pixels)[1] for path in sorted(symmetric.glob("*.onnx"))]
    assert len(answers) == 2
    np.testing.assert_array_equal(answers[0].argmax(1), answers[1].argmax(1))
    for found in answers:
        assert (found.argmax(1) == usual.argmax(1)).mean() >= 0.95


def test_tensorrt_takes_it_and_refuses_the_default(
    symmetric: Path, exported: Exported, cli: Any
) -> None:
    place = registry.target("tensorrt").place
    for path in symmetric.glob("*.onnx"):
        assert place(path).cpu_ops == () and place(path).mapped > 80
    reasons = {op.reason for op in place(exported.path("onnx", "int8")).cpu_ops}
    assert any("int32 bias" in reason for reason in reasons)
    assert any("uint8" in reason for reason in reasons)
    assert place(exported.path("onnx", "float32")).cpu_ops == ()
    told = cli("inspect", exported.path("onnx", "int8"), "--target", "tensorrt", "--json").json
    assert told["target"]["name"] == "tensorrt"


def test_refused_elsewhere(cli: Any) -> None:
    def export(*words: str) -> Ended:
        ended: Ended = cli("export", "mobilenet", "--weights", "random", "--dry-run", *words)
        return ended

    said = export("--int8", "--format", "tflite", "--qdq", "symmetric").error(3)
    assert "only ONNX files are QDQ" in said
    assert "no effect" in export("--qdq", "symmetric").error(2)
    assert "Did you mean symmetric" in export("--int8", "--qdq", "symetric").error(2)
    said = export("--target", "tensorrt", "--qdq", "asymmetric").error(3)
    assert "contradict" in said
    said = export("--target", "coral", "--qdq", "symmetric").error(3)
    assert "contradict" in said
