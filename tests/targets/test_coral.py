"""What is foretold for the Edge TPU is what Google's compiler did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError
from edgezoo.formats import tflite_flatbuffer
from edgezoo.inspection.inspect_file import inspect
from edgezoo.runtimes import _edgetpu
from edgezoo.targets import _network, coral
from edgezoo.targets._edgetpu_rules import RULES, refusal
from edgezoo.targets._network import Operation, Tensor
from tests.conftest import Ended, Exported
from tests.support.coral import CORAL, PAIRS, require

NETWORKS = [name for name in PAIRS if "mobilenet" in name or "deeplab" in name]


@pytest.fixture(autouse=True)
def _pairs(request: pytest.FixtureRequest) -> None:
    if "name" in request.fixturenames:
        require()


def _ops(path: Path) -> list[tuple[str, str]]:
    """Every operation of a file with the name of its first output."""
    model = tflite_flatbuffer.read_model(path)
    graph = model.subgraphs[0]
    return [
        (
            tflite_flatbuffer.op_name(model, op),
            tflite_flatbuffer.text(graph.tensors[op.outputs[0]].name),
        )
        for op in graph.operators
    ]


@pytest.mark.parametrize("name", PAIRS)
def test_cpu_operations_are_those_of_the_compiled_twin(name: str) -> None:
    plain = CORAL / f"{name}.tflite"
    compiled = _ops(CORAL / f"{name}_edgetpu.tflite")
    foretold = coral.place(plain)
    all_ops = _ops(plain)
    assert [all_ops[op.index] for op in foretold.cpu_ops] == [
        op for op in compiled if op[0] != "edgetpu-custom-op"
    ]
    assert foretold.subgraphs == sum(op == "edgetpu-custom-op" for op, _ in compiled)
    assert foretold.mapped + len(foretold.cpu_ops) == len(all_ops)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_estimate_is_near_what_the_compiler_stored(name: str) -> None:
    """Within 2 %: what is left is padding that depends on the compiler's tiling."""
    package = _edgetpu.read_package(CORAL / f"{name}_edgetpu.tflite")
    stored = package.cached_bytes + package.streamed_bytes
    assert coral.place(CORAL / f"{name}.tflite").parameter_bytes == pytest.approx(stored, rel=0.02)
    assert coral.place(CORAL / f"{name}.tflite").streamed_bytes == package.streamed_bytes == 0


@pytest.mark.parametrize("name", PAIRS)
def test_compiled_file_is_described(name: str, cli: Callable[..., Ended]) -> None:
    path = CORAL / f"{name}_edgetpu.tflite"
    facts = inspect(path)
    assert facts.compiled is not None and facts.compiled.target == "coral"
    assert facts.compiled.accelerator_ops == 1
    assert facts.minimum_runtime["edgetpu-runtime"] == ("13" if name == "split_concat" else "12")
    assert facts.ops["edgetpu-custom-op"] == 1
    assert facts.inputs[0].dtype == "uint8"
    with pytest.raises(RefusedError, match="already compiled for a Coral Edge TPU"):
        inspect(path, target="coral")
    with pytest.raises(RefusedError, match="runs nowhere else"):
        registry.runtime_for(path).open(registry.load_artifact(path))


def test_exported_int8_file_maps_wholly(exported: Exported) -> None:
    """Its uint8 border is two QUANTIZE, which the Edge TPU takes (as in Google's LSTM pair)."""
    facts = inspect(exported.path("tflite", "int8"), target="coral").target
    assert facts is not None
    assert (facts.name, facts.cpu_ops, facts.subgraphs) == ("coral", (), 1)
    assert facts.mapped == len(_ops(exported.path("tflite", "int8")))


def test_float_file_maps_nothing(exported: Exported) -> None:
    facts = inspect(exported.path("tflite", "float32"), target="coral").target
    assert facts is not None
    assert (facts.mapped, facts.subgraphs, facts.parameter_bytes) == (0, 0, 0)
    assert "float32" in facts.cpu_ops[0].reason


def _tensor(index: int, *shape: int, dtype: str = "int8", values: Any = None) -> Tensor:
    constant = None if values is None else np.array(values)
    return Tensor(index, f"t{index}", dtype, shape, constant, False, 0)


def _op(name: str, *inputs: Tensor | None, out: Tensor, **options: int) -> Operation:
    return Operation(0, name, inputs, (out,), SimpleNamespace(**options))


X, Y = _tensor(0, 1, 8, 8, 4), _tensor(1, 1, 8, 8, 4)
WEIGHTS, BIAS = _tensor(2, 4, 1, 1, 4, values=[1]), _tensor(3, 4, dtype="int32", values=[1])
FLAT, LINE = _tensor(4, 1, 16), _tensor(5, 1, 10)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (_op("CONV_2D", X, WEIGHTS, BIAS, out=Y), None),
        (_op("CONV_2D", X, WEIGHTS, BIAS, out=Y, dilationWFactor=2, dilationHFactor=2), None),
        (_op("CONV_2D", X, WEIGHTS, BIAS, out=Y, dilationWFactor=2), "different dilations"),
        (_op("CONV_2D", X, X, BIAS, out=Y), "must be constant"),
        (_op("HARD_SWISH", X, out=Y), "not an operation of"),
        (_op("DEQUANTIZE", X, out=Y), "not an operation of"),
        (_op("ADD", X, _tensor(6, 1, 8, 8, 4, dtype="float32"), out=Y), "8 bits"),
        (_op("ADD", X, X, out=_tensor(6, 1, -1, 8, 4)), "not fixed"),
        (_op("ADD", X, X, out=_tensor(6, 2, 8, 8, 4)), "3 dimensions"),
        (_op("MAX_POOL_2D", X, out=Y, fusedActivationFunction=1), "fused"),
        (_op("CONCATENATION", X, X, out=_tensor(6, 1, 8, 8, 8)), None),
        (_op("CONCATENATION", X, _tensor(6, 1, values=[0]), out=Y), None),
        (_op("CONCATENATION", X, _tensor(6, 1, values=[3]), out=Y), "not all zeros"),
        (_op("FULLY_CONNECTED", FLAT, WEIGHTS, BIAS, out=LINE), None),
        (_op("FULLY_CONNECTED", X, WEIGHTS, BIAS, out=Y), "more than one dimension"),
        (_op("MEAN", X, _tensor(6, 2, values=[1, 2]), out=LINE), None),
        (_op("MEAN", X, _tensor(6, 1, values=[3]), out=Y), "dimensions other than x and y"),
        (_op("PAD", X, _tensor(6, 4, 2, values=[[0, 0], [1, 1], [1, 1], [0, 0]]), out=Y), None),
        (_op("PAD", X, _tensor(6, 4, 2, values=[[0, 0], [0, 0], [0, 0], [0, 4]]), out=Y), "pads"),
        (_op("SOFTMAX", LINE, out=LINE), None),
        (_op("SOFTMAX", X, out=Y), "more than one dimension"),
        (_op("SOFTMAX", _tensor(6, 1, 16001), out=_tensor(7, 1, 16001)), "16000"),
        (_op("SPLIT", _tensor(6, values=3, dtype="int32"), X, out=Y), None),
        (_op("SPLIT", _tensor(6, values=0, dtype="int32"), X, out=Y), "batch"),
        (_op("STRIDED_SLICE", X, None, None, _tensor(6, 4, values=[1, 2, 2, 1]), out=Y), "stride"),
        (_op("SQUEEZE", _tensor(6, 1, 1, 1, 10), out=LINE), None),
        (_op("SQUEEZE", _tensor(6, 1, 5, 1, 10), out=Y), "between others"),
        (_op("RESIZE_BILINEAR", X, out=Y), "an unpublished bound"),
    ],
    ids=lambda value: value.name if isinstance(value, Operation) else value,
)
def test_rules(op: Operation, words: str | None) -> None:
    reason = refusal(op)
    assert (reason is None) if words is None else (words in (reason or ""))


def test_every_rule_answers_in_words() -> None:
    for name, rule in RULES.items():
        assert name == name.upper() and callable(rule)


def _chain(*names: str) -> list[Operation]:
    """Operations one after the other; lower case ones work on floats."""
    tensors = [
        _tensor(i, 1, 8, 8, 4, dtype="float32" if i == 0 and names[0] == "QUANTIZE" else "int8")
        for i in range(len(names) + 1)
    ]
    return [
        Operation(i, name, (tensors[i],), (tensors[i + 1],), SimpleNamespace())
        for i, name in enumerate(names)
    ]


def _placed(monkeypatch: pytest.MonkeyPatch, operations: list[Operation]) -> list[int]:
    monkeypatch.setattr(_network, "read", lambda path: operations)
    placement = coral.place(Path("unused"))
    assert placement.mapped == len(operations) - len(placement.cpu_ops)
    return [op.index for op in placement.cpu_ops]


def test_what_follows_the_cut_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _placed(monkeypatch, _chain("RELU", "HARD_SWISH", "RELU", "ADD")) == [1, 2, 3]


def test_subgraph_may_start_behind_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A float border: QUANTIZE and DEQUANTIZE on the CPU, all between on the Edge TPU."""
    chain = _chain("QUANTIZE", "RELU", "ADD", "DEQUANTIZE")
    assert _placed(monkeypatch, chain) == [0, 3]


def test_branch_beside_the_cut_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not depend on the operation on the CPU belongs to the subgraph, wherever it is."""
    start, *rest = _chain("RELU", "HARD_SWISH", "RELU")
    beside = Operation(3, "RELU", start.outputs, (_tensor(9, 1, 8, 8, 4),), SimpleNamespace())
    assert _placed(monkeypatch, [start, *rest, beside]) == [1, 2]


def test_parameters_that_do_not_fit_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = _tensor(2, 1024, 1, 1, 9000, values=np.ones(1, np.int8))
    layer = Operation(0, "CONV_2D", (X, weights, BIAS), (Y,), SimpleNamespace())
    monkeypatch.setattr(_network, "read", lambda path: [layer])
    placement = coral.place(Path("unused"))
    assert placement.parameter_bytes == 1024 * 9000 + 26 * 4
    room = (8 << 20) - X.bytes - Y.bytes
    assert placement.streamed_bytes == placement.parameter_bytes - room


def test_damaged_package_is_no_crash(tmp_path: Path) -> None:
    damaged = tmp_path / "x.tflite"
    damaged.write_bytes(b"\0\0\0\0DWN1" + b"\xff" * 40)
    from edgezoo.core.errors import DataError

    with pytest.raises(DataError, match="damaged"):
        _edgetpu.read_package(damaged)
