"""Networks that give features, and files that take NCHW: made, verified, and never mistaken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import edgezoo
from edgezoo.calibration import synthetic
from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.inference.predict import predict
from tests.conftest import FORMATS, Exported, Trained, made_once, run_cli

LAYER = "conv_pw_3_relu"
# options of `edgezoo export`, output shape, part of all names
CASES: dict[str, tuple[tuple[str, ...], tuple[int, ...], str]] = {
    "pooled": (("--no-top", "--pooling", "avg", "--precision", "float32,float16,int8"), (256,),
               "mobilenet_0.25_notop_avg_32_"),
    "cut": (("--output-layer", LAYER, "--precision", "float32,int8", "--effort", "fast"),
            (8, 8, 32), f"mobilenet_0.25_{LAYER}_32_"),
    "nchw": (("--input-layout", "nchw", "--format", "onnx,openvino", "--precision",
              "float32,int8"), (1000,), "mobilenet_0.25_32_"),
}  # fmt: skip
FEATURES = ("pooled", "cut")


@pytest.fixture(scope="module")
def made(trained: Trained, common: Path) -> dict[str, list[dict[str, Any]]]:
    """Entries of `export --json`, by case; takes about 30 CPU seconds."""

    def make(folder: Path) -> None:
        for name, (options, _, _) in CASES.items():
            ended = run_cli("export", *trained.options, *options, "-o", folder / name, "--json")
            assert ended.code == 0, ended.stderr
            (folder / f"{name}.json").write_text(ended.stdout)

    folder = made_once(common / "features", make)
    found = {}
    for name in CASES:
        facts = json.loads((folder / f"{name}.json").read_text())
        found[name] = [
            {**entry, "path": str(folder / name / Path(entry["path"]).name)}
            for entry in facts["artifacts"]
        ]
    return found


def _path(entries: list[dict[str, Any]], format: str, precision: str) -> Path:
    (path,) = (e["path"] for e in entries if (e["format"], e["precision"]) == (format, precision))
    return Path(path)


def _answers(path: Path) -> np.ndarray:
    """What a file gives for some drawn pictures."""
    artifact, session = edgezoo.open_artifact(path)
    with session:
        pixels = np.stack(list(synthetic.pictures(8, 32, 5)))
        return predict(session, artifact.required_contract(), pixels)


@pytest.mark.parametrize("name", CASES)
def test_contract_tells_what_comes_out(made: dict[str, list[dict[str, Any]]], name: str) -> None:
    _, shape, stem = CASES[name]
    assert len(made[name]) == {"pooled": 9, "cut": 6, "nchw": 4}[name]
    for entry in made[name]:
        path = Path(entry["path"])
        assert path.name.startswith(stem) and ("nchw" in path.name) == (name == "nchw")
        contract = registry.load_artifact(path).required_contract()
        assert contract.output_shape == shape
        if name in FEATURES:
            assert (contract.output_kind, contract.classes, contract.labels) == ("features", 0, ())
        else:
            assert (contract.output_kind, contract.classes) == ("probabilities", 1000)
        assert _answers(path).shape == (8, *shape)


@pytest.mark.parametrize("name", FEATURES)
def test_verified_by_noise_and_angle(made: dict[str, list[dict[str, Any]]], name: str) -> None:
    least = {"float32": (80, 0.99999), "float16": (35, 0.999), "int8": (15, 0.97)}
    for entry in made[name]:
        check, (decibels, cosine) = entry["verification"], least[entry["precision"]]
        assert check["verdict"] == "passed" and check["agreement_top1"] is None
        assert check["sqnr_db"] > decibels and check["cosine"] > cosine, entry["path"]


@pytest.mark.parametrize("name", FEATURES)
def test_int8_computes_in_integers(made: dict[str, list[dict[str, Any]]], name: str) -> None:
    path = _path(made[name], "tflite", "int8")
    facts = edgezoo.inspect(path)
    assert facts.float_ops == ()
    assert facts.outputs[0].dtype == "uint8"


def test_features_of_formats_agree(made: dict[str, list[dict[str, Any]]]) -> None:
    """In values and in the order of their axes, which are not of one size."""
    for name in FEATURES:
        first, *others = (_answers(_path(made[name], format, "float32")) for format in FORMATS)
        assert np.std(first) > 0.1
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-3)


def test_features_as_a_stranger_finds_them(made: dict[str, list[dict[str, Any]]]) -> None:
    """In a plain session of the runtime, under the name `features`."""
    path = _path(made["cut"], "onnx", "int8")
    session = onnxruntime.InferenceSession(str(path))
    (output,) = session.get_outputs()
    assert (output.name, output.shape, output.type) == ("features", [1, 8, 8, 32], "tensor(float)")
    pixels = np.stack(list(synthetic.pictures(8, 32, 5)))
    (given,) = session.run(["features"], {session.get_inputs()[0].name: pixels[:1]})
    np.testing.assert_array_equal(given, _answers(path)[:1])


def test_verified_again_from_the_contract(made: dict[str, list[dict[str, Any]]],
                                          trained: Trained) -> None:  # fmt: skip
    """The network is built anew from what the files say of it."""
    paths = [entry["path"] for entry in made["cut"] if entry["precision"] == "float32"]
    ended = run_cli("verify", *paths, "--weights", trained.weights, "--count", "8", "--json")
    assert ended.code == 0, ended.stderr
    assert [result["verdict"] for result in ended.json["results"]] == ["passed"] * 3
    assert all(result["sqnr_db"] > 80 for result in ended.json["results"])
    assert all(pair["agreement_top1"] is None for pair in ended.json["pairs"])
    assert all(pair["cosine"] > 0.99999 for pair in ended.json["pairs"])
    with pytest.raises(UsageError, match="speaks of classes"):
        edgezoo.verify(paths, min_agreement=0.9)


@pytest.mark.parametrize("command", ["classify", "evaluate", "bundle", "explain"])
def test_commands_on_classes_refuse(
    made: dict[str, list[dict[str, Any]]], command: str, tmp_path: Path
) -> None:
    path = _path(made["cut"], "tflite", "int8")
    calls: dict[str, Callable[[], Any]] = {
        "classify": lambda: edgezoo.classify(path, [tmp_path / "none.jpg"]),
        "evaluate": lambda: edgezoo.evaluate([path], tmp_path),
        "bundle": lambda: edgezoo.bundle([path], tmp_path / "bundle"),
        "explain": lambda: edgezoo.explain(path),
    }
    with pytest.raises(RefusedError, match=r"produces features \(8 x 8 x 32\) instead of classes"):
        calls[command]()


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_nchw_answers_as_nhwc(
    made: dict[str, list[dict[str, Any]]], exported: Exported, format: str, precision: str
) -> None:
    path = _path(made["nchw"], format, precision)
    artifact, session = edgezoo.open_artifact(path)
    with session:
        contract = artifact.required_contract()
        assert contract.layout == "NCHW"
        assert session.inputs[0].shape == contract.shape == (1, 3, 32, 32)
        assert session.inputs[0].dtype == ("uint8" if precision == "int8" else "float32")
    np.testing.assert_allclose(
        _answers(path), _answers(exported.path(format, precision)), atol=1e-5
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_nchw_is_not_turned_around(
    made: dict[str, list[dict[str, Any]]], exported: Exported, precision: str
) -> None:
    """Its pixels go into the first convolution as they come."""
    counts = [
        sum(node.op_type == "Transpose" for node in onnx.load(str(path)).graph.node)
        for path in (_path(made["nchw"], "onnx", precision), exported.path("onnx", precision))
    ]
    assert counts[0] == counts[1] - 1
