"""One suite for every exporter: a new file in exporters/ is tested on arrival."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgezoo.core import registry
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.files import file_sha256
from edgezoo.core.protocols import ExportJob
from edgezoo.core.spec import INPUT_KINDS, IO_TYPES, PRECISIONS
from edgezoo.inference.predict import open_artifact
from edgezoo.inspection.inspect_file import inspect
from tests.conftest import Exported, Trained, run_cli

EXPORTERS = registry.exporters()
each_exporter = pytest.mark.parametrize("name", EXPORTERS)
each_file = pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name, e in EXPORTERS.items() for precision in e.precisions],
)


def _jobs(name: str) -> list[ExportJob]:
    combinations = itertools.product(PRECISIONS, INPUT_KINDS, (None, *IO_TYPES))
    return [ExportJob(name, precision, kind, io) for precision, kind, io in combinations]


@each_exporter
def test_declares_itself(name: str) -> None:
    exporter = EXPORTERS[name]
    assert exporter.name == name == name.lower()
    assert exporter.suffix.startswith(".")
    assert exporter.packages and all(isinstance(p, str) for p in exporter.packages)
    assert set(exporter.precisions) <= set(PRECISIONS) and exporter.precisions
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"\n{exporter.extra} = [" in extras, "the extra that the error message names is there"


@each_exporter
def test_some_runtime_opens_what_it_writes(name: str) -> None:
    runtime = registry.runtime_for(Path(f"file{EXPORTERS[name].suffix}"))
    assert runtime.format == name


@each_exporter
def test_refuses_in_words(name: str) -> None:
    spec = registry.model("mobilenet")
    reasons = [EXPORTERS[name].refusal(spec, job) for job in _jobs(name)]
    for reason in reasons:
        assert reason is None or (isinstance(reason, str) and len(reason.split()) > 4)
    assert any(reasons), "--io with a float precision at least"


@each_exporter
def test_takes_the_defaults_of_every_precision(name: str) -> None:
    for spec, precision in itertools.product(
        registry.models().values(), EXPORTERS[name].precisions
    ):
        assert EXPORTERS[name].refusal(spec, ExportJob(name, precision)) is None


@each_exporter
def test_names_the_intermediates_it_starts_from(name: str) -> None:
    contract = InputContract(
        "mobilenet", "float32", 32, "tf", WeightsRecord("random", ""), classes=1000
    )
    for precision in EXPORTERS[name].precisions:
        intermediates = EXPORTERS[name].intermediates(contract, ExportJob(name, precision))
        assert intermediates
        kind = {"float32": "float", "float16": "fp16", "int8": "prepared"}[precision]
        assert {name.split(".")[0] for name in intermediates} == {kind}


@each_file
def test_verified(exported: Exported, name: str, precision: str) -> None:
    entry = exported.entry(name, precision)
    check = entry["verification"]
    assert check["verdict"] == "passed"
    assert check["failures"] == []
    assert check["images"] >= 32
    if precision == "float32":
        assert check["agreement_top1"] == 1
        assert check["sqnr_db"] is None or check["sqnr_db"] > 90


@each_file
def test_entry_describes_the_files(exported: Exported, name: str, precision: str) -> None:
    entry = exported.entry(name, precision)
    assert entry["model"] == "mobilenet"
    assert (entry["alpha"], entry["input_size"]) == (0.25, 32)
    assert entry["trained"] is True
    assert entry["bytes"] == sum(file["bytes"] for file in entry["files"])
    for file in entry["files"]:
        path = exported.folder / Path(file["path"]).name
        assert path.stat().st_size == file["bytes"]
        assert file_sha256(path) == file["sha256"]
    if len(entry["files"]) == 1:
        assert entry["sha256"] == entry["files"][0]["sha256"]


@each_file
def test_contract_inside_equals_the_manifest(exported: Exported, name: str, precision: str) -> None:
    inside = registry.load_artifact(exported.path(name, precision)).required_contract()
    noted = next(
        entry
        for entry in exported.manifest["artifacts"]
        if (entry["format"], entry["precision"]) == (name, precision)
    )
    facts = json.loads(json.dumps(inside.to_json()))
    labels = facts.pop("labels")
    assert facts == noted["contract"]
    assert len(labels) == 1000 and labels[0] == "tench"
    assert noted["path"] == exported.path(name, precision).name, "relative: the folder can move"


@each_file
def test_contract_says_what_the_file_takes(exported: Exported, name: str, precision: str) -> None:
    """Static batch-1 NHWC, uint8 pixels for int8 and float pixels otherwise."""
    artifact, session = open_artifact(exported.path(name, precision))
    contract = artifact.required_contract()
    with session:
        (taken,), (given,) = session.inputs, session.outputs
    assert taken.shape == (1, 32, 32, 3) == contract.shape
    assert given.shape == (1, 1000)
    assert taken.dtype == contract.input_dtype == ("uint8" if precision == "int8" else "float32")
    assert given.dtype == contract.output_dtype
    assert contract.precision == precision
    assert contract.input_kind == "pixels"
    assert exported.entry(name, precision)["input"] == {
        "shape": [1, 32, 32, 3], "dtype": taken.dtype, "layout": "NHWC", "kind": "pixels"
    }  # fmt: skip


@each_file
def test_contract_records_where_it_comes_from(
    exported: Exported, trained: Trained, name: str, precision: str
) -> None:
    contract = registry.load_artifact(exported.path(name, precision)).required_contract()
    assert contract.weights.source == "file"
    assert contract.weights.sha256 == file_sha256(trained.weights)
    assert {"numpy", "onnx"} <= contract.versions.keys()
    if precision != "int8":
        assert contract.calibration is None
        return
    metadata = contract.calibration
    assert metadata is not None
    assert (metadata.source, metadata.count) == ("folder", 128)
    assert metadata.classes == 10
    assert len(metadata.list_sha256) == 64


@each_file
def test_ops(exported: Exported, name: str, precision: str) -> None:
    facts = inspect(exported.path(name, precision))
    assert sum(facts.ops.values()) > 20
    assert facts.quantized is (precision == "int8")
    assert facts.ops.get("Transpose", 0) <= 2
    if precision == "int8":
        allowed = {"Softmax", "SoftMax"} if name != "tflite" else set()
        assert set(facts.float_ops) <= allowed


def test_tflite_int8_computes_in_integers_throughout(exported: Exported) -> None:
    """Every activation and weight is 8 bits, every bias 32: what a microcontroller needs."""
    from edgezoo.formats import tflite_flatbuffer

    model = tflite_flatbuffer.read_model(exported.path("tflite", "int8"))
    (graph,) = model.subgraphs
    used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    dtypes = {tflite_flatbuffer.tensor_dtype(graph.tensors[i]) for i in used}
    assert dtypes <= {"int8", "uint8", "int32"}
    kernels = [
        graph.tensors[int(op.inputs[1])]
        for op in graph.operators
        if tflite_flatbuffer.op_name(model, op) in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert len(kernels) == 28
    assert all(len(kernel.quantization.scale) > 1 for kernel in kernels), "per channel"


@pytest.mark.parametrize("precision", EXPORTERS["tflite"].precisions)
def test_tflite_says_each_operation_twice_alike(exported: Exported, precision: str) -> None:
    """OpenCV and OpenVINO read the older field alone, in which 0 is ADD."""
    from edgezoo.formats import tflite_flatbuffer

    model = tflite_flatbuffer.read_model(exported.path("tflite", precision))
    for code in model.operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)


def test_tflite_claims_no_oldest_runtime_of_other_operations(exported: Exported) -> None:
    """The converter's claim is about float operations; integer ones came with later runtimes."""
    from edgezoo.formats import tflite_flatbuffer

    claims = {
        precision: tflite_flatbuffer.read_metadata(
            tflite_flatbuffer.read_model(exported.path("tflite", precision)), "min_runtime_version"
        )
        for precision in ("float32", "int8")
    }
    assert claims["float32"] and claims["int8"] is None


def test_int8_convolutions_of_onnx_and_openvino_are_pair_safe(exported: Exported) -> None:
    """Two neighbouring products of uint8 and int8 fit 16 bits, so that no CPU saturates them."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(exported.path("onnx", "int8")))
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    sources = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type.startswith("Deq")}
    checked = 0
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        kernel = arrays[sources[node.input[1]]].astype(np.int64)
        if kernel.shape[1] == 1:  # depthwise
            continue
        weights = np.moveaxis(kernel, 1, -1)
        if weights.shape[-1] % 2 == 0:
            pairs = weights.reshape(-1, 2)
            most = np.maximum(pairs, 0).sum(1).max()
            least = np.minimum(pairs, 0).sum(1).min()
            assert 255 * most <= 32767 and 255 * least >= -32768, node.name
            checked += 1
    assert checked >= 13


@pytest.fixture(scope="module")
def again(exported: Exported, trained: Trained) -> dict[str, bool]:
    """Which files come out the same, with another order of sets and dicts, threads and core."""
    (manifest,) = exported.folder.glob("*.manifest.json")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        ended = run_cli(
            "verify", "--reproduce", manifest, "--weights", trained.weights, "--calibration",
            trained.calibration, "--json", PYTHONHASHSEED="12345", OMP_NUM_THREADS="1",
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, cores)
    (found,) = ended.json["manifests"]
    assert found["reproduction"]["differences"] == []
    assert ended.code == (0 if found["reproduction"]["reproduced"] else 6)
    return {file["path"]: file["same"] for file in found["reproduction"]["files"]}


@each_file
def test_deterministic(
    exported: Exported, again: dict[str, bool], name: str, precision: str
) -> None:
    for file in exported.entry(name, precision)["files"]:
        assert again[Path(file["path"]).name]


@each_exporter
def test_importing_it_is_light(name: str) -> None:
    module = type(EXPORTERS[name]).__module__
    assert module.startswith("edgezoo.exporters.")
    assert module in sys.modules
    assert "tensorflow" not in sys.modules, "no test may import it here"
