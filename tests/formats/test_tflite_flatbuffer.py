"""Types of TFLite tensors, and the two fields of an operator code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgezoo.core.errors import RefusedError
from edgezoo.core.input_options import InputOptions
from edgezoo.formats import tflite_flatbuffer
from edgezoo.inspection.inspect_file import inspect
from edgezoo.pipeline import explain_file
from edgezoo.runtimes import litert
from tests.conftest import Ended, Exported
from tests.docs.test_schemas import check

DEQUANTIZE, QUANTIZE = 6, 114
FEW_BITS = {"int4": (4, -8, 7), "uint4": (4, 0, 15), "int2": (2, -2, 1)}


def _write_as_it_is(model: Any, path: Path) -> Path:
    """Without the repair of `write_model`, as other writers do."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _code(model: Any, number: int) -> Any:
    (code,) = [code for code in model.operatorCodes if code.builtinCode == number]
    return code


def test_both_fields_of_an_operator_code_say_the_same(exported: Exported, tmp_path: Path) -> None:
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float16"))
    _code(model, DEQUANTIZE).deprecatedBuiltinCode = 0
    model.operatorCodes[0].builtinCode = 0  # as before TFLite 2.4
    newer = tflite_flatbuffer.schema().OperatorCodeT()
    newer.builtinCode, newer.deprecatedBuiltinCode = 150, 0
    model.operatorCodes.append(newer)
    tflite_flatbuffer.write_model(model, tmp_path / "again.tflite")
    again = tflite_flatbuffer.read_model(tmp_path / "again.tflite").operatorCodes
    assert again[0].builtinCode == again[0].deprecatedBuiltinCode > 0
    assert {(c.builtinCode, c.deprecatedBuiltinCode) for c in again} >= {(6, 6), (150, 127)}


@pytest.mark.parametrize(
    ("fields", "other"),
    [((6, 0), "ADD"), ((6, 3), "CONV_2D"), ((3, 6), "CONV_2D"), ((6, 6), None), ((0, 6), None)],
)
def test_contradicting_fields(
    exported: Exported, fields: tuple[int, int], other: str | None
) -> None:
    """Files with the older field alone, (0, 6), are read by every reader."""
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float16"))
    code = _code(model, DEQUANTIZE)
    code.builtinCode, code.deprecatedBuiltinCode = fields
    found = tflite_flatbuffer.contradicting_codes(model)
    assert found == ({"DEQUANTIZE": other} if other else {})


def test_inspect_names_contradicting_fields(
    exported: Exported, tmp_path: Path, cli: Callable[..., Ended]
) -> None:
    model = tflite_flatbuffer.read_model(exported.path("tflite", "float16"))
    _code(model, DEQUANTIZE).deprecatedBuiltinCode = 0
    path = _write_as_it_is(model, tmp_path / "foreign.tflite")
    ended = cli("inspect", path, "--json")
    check("inspect", ended.json)
    (fault,) = ended.json["faults"]
    assert fault["fault"] == "operator codes" and "DEQUANTIZE (as ADD)" in fault["evidence"]
    for release, loads in (("2.3.0", False), ("2.4.0", True)):
        loading = inspect(path, runtime=f"tflite-runtime=={release}").runtime
        assert loading is not None and loading.loads is loads
    assert "OpenCV and OpenVINO refuse" in cli("inspect", path).stderr
    assert not inspect(exported.path("tflite", "float16")).faults


def test_explain_names_contradicting_fields(exported: Exported, tmp_path: Path) -> None:
    path = exported.path("tflite", "int8")
    assert explain_file.identify(path, None, InputOptions()).faults == ()
    model = tflite_flatbuffer.read_model(path)
    _code(model, QUANTIZE).deprecatedBuiltinCode = 0
    foreign = _write_as_it_is(model, tmp_path / "foreign.tflite")
    (fault,) = explain_file.identify(foreign, None, InputOptions()).faults
    assert "QUANTIZE (as ADD)" in fault.evidence
    message = _refused(exported.path("tflite", "float16"))
    assert "weights in float16 and activations in float" in message


def _refused(path: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        explain_file.identify(path, None, InputOptions())
    return caught.value.message


@pytest.mark.parametrize("dtype", FEW_BITS)
def test_numbers_of_few_bits(dtype: str) -> None:
    """Packed as TensorFlow does: the first number in the lowest bits, signs extended."""
    api = tflite_flatbuffer.schema()
    bits, low, high = FEW_BITS[dtype]
    values = np.arange(low, high + 1, dtype=np.int16)[:-1]  # one number less than fills the bytes
    model, tensor = api.ModelT(), api.TensorT()
    model.buffers, tensor.buffer = [api.BufferT()], 0
    tensor.type, tensor.shape = getattr(api.TensorType, dtype.upper()), [len(values)]
    tflite_flatbuffer.set_constant(model, tensor, values)
    stored = model.buffers[0].data
    assert len(stored) == -(-len(values) * bits // 8)
    assert stored[0] & (2**bits - 1) == low & (2**bits - 1)
    found = tflite_flatbuffer.constant(model, tensor)
    assert found is not None and found.tolist() == values.tolist()
    assert found.dtype == (np.uint8 if low == 0 else np.int8)


def test_other_types_of_constants() -> None:
    api = tflite_flatbuffer.schema()
    model, tensor = api.ModelT(), api.TensorT()
    model.buffers, tensor.buffer, tensor.shape = [api.BufferT()], 0, [2]
    model.buffers[0].data = np.frombuffer(np.asarray([1.5, -2], np.float32).tobytes(), np.uint16)[
        1::2
    ]
    model.buffers[0].data = model.buffers[0].data.copy().view(np.uint8)
    tensor.type = api.TensorType.BFLOAT16
    found = tflite_flatbuffer.constant(model, tensor)
    assert found is not None and found.tolist() == [1.5, -2]
    tensor.type, tensor.name = api.TensorType.FLOAT8_E5M2, "kernel"
    with pytest.raises(RefusedError, match="kernel has values of type float8_e5m2"):
        tflite_flatbuffer.constant(model, tensor)


@pytest.fixture
def four_bits(exported: Exported, tmp_path: Path) -> Path:
    """The int8 file with the kernels of its convolutions in 4 bits."""
    model = tflite_flatbuffer.read_model(exported.path("tflite", "int8"))
    graph = model.subgraphs[0]
    for op in graph.operators:
        if tflite_flatbuffer.op_name(model, op) == "CONV_2D":
            kernel = graph.tensors[op.inputs[1]]
            levels = tflite_flatbuffer.constant(model, kernel)
            assert levels is not None
            kernel.type = tflite_flatbuffer.schema().TensorType.INT4
            tflite_flatbuffer.set_constant(model, kernel, levels // 16)
            kernel.quantization.scale = [16 * float(scale) for scale in kernel.quantization.scale]
    tflite_flatbuffer.write_model(model, tmp_path / "four_bits.tflite")
    return tmp_path / "four_bits.tflite"


def test_weights_of_4_bits(four_bits: Path, cli: Callable[..., Ended]) -> None:
    ended = cli("inspect", four_bits, "--json")
    assert ended.code == 0, ended.stderr
    found = {(entry["weights"], entry["activations"]) for entry in ended.json["weighted"]}
    assert found == {("int4", "int8"), ("int8", "int8")}
    assert ended.json["quantized"] and ended.json["minimum_runtime"]["tflite"] == "2.11.0"
    litert.open_on_cpu(four_bits).close()  # the runtime takes what was packed here


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u85-512"])
def test_vela_is_not_given_what_it_dies_of(
    four_bits: Path, tmp_path: Path, cli: Callable[..., Ended], target: str
) -> None:
    for command in ("inspect", "compile"):
        message = cli(command, four_bits, "--target", target).error(3)
        assert "CONV_2D (operation" in message and "has int4 weights" in message


@pytest.mark.parametrize(
    ("target", "words"), [("coral", "takes weights of 8 bits"), ("tflite-micro", None)]
)
def test_targets_and_weights_of_4_bits(four_bits: Path, target: str, words: str | None) -> None:
    placed = inspect(four_bits, target=target).target
    assert placed is not None
    reasons = {op.reason for op in placed.cpu_ops if op.op == "CONV_2D"}
    assert bool(reasons) is (words is not None)
    assert words is None or words in next(iter(reasons))


@pytest.mark.parametrize(
    ("precision", "weights", "activations"),
    [("float32",) * 3, ("float16", "float16", "float32"), ("int8", "int8", "int8")],
)
def test_types_are_named(
    exported: Exported, precision: str, weights: str, activations: str
) -> None:
    (found,) = inspect(exported.path("tflite", precision)).weighted
    assert (found.weights, found.activations) == (weights, activations)
    assert found.count == 28
