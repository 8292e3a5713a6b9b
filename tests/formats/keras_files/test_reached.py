"""SavedModels: whatever leads to an operation that takes a path is found, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import DataError
from edgezoo.formats.keras_files import reading, saved_model

SAVER = ("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename")


def _graph(tensorflow: int = 2) -> Any:
    """A network as TensorFlow saves it: one signature, and a saver that nothing else leads to."""
    model = saved_model._message_class()()
    graph = model.meta_graphs.add()
    for name, op, inputs in (
        ("x", "Placeholder", ()),
        ("answer", "StatefulPartitionedCall", ("x",)),
        ("filename", "Placeholder", ()),
        ("save", "StatefulPartitionedCall", ("filename",)),
        ("restore", "NoOp", ("^restored",)),
        ("restored", "AssignVariableOp", ("values",)),
        ("values", "RestoreV2", ("path", "names")),
        ("path", "Identity", ("filename:0",)),
        ("names", "Const", ()),
    ):
        graph.graph.nodes.add(name=name, op=op, inputs=inputs)
    _attribute(graph.graph.nodes[1], "f").function.name = "classify"
    _attribute(graph.graph.nodes[3], "f").function.name = "saving"
    _function(graph, "classify", "Softmax")
    _function(graph, "saving", *SAVER)
    signature = graph.signatures.add(key="serving_default").value
    signature.inputs.add(key="x").value.name = "x:0"
    signature.outputs.add(key="y").value.name = "answer:0"
    graph.saver.filename, graph.saver.save, graph.saver.restore = "filename:0", "save:0", "restore"
    if tensorflow == 2:
        graph.objects.nodes.add()
        graph.objects.functions.add(key="classify")
    return model


def _attribute(holder: Any, key: str) -> Any:
    return holder.attributes.add(key=key).value


def _function(graph: Any, name: str, *ops: str) -> Any:
    function = graph.graph.library.functions.add()
    function.signature.name = name
    for op in ops:
        function.nodes.add(name=op.lower(), op=op)
    return function


def _called(graph: Any) -> Any:
    return graph.graph.library.functions[0]


def _data(graph: Any) -> None:
    graph.graph.nodes[1].inputs.append("save:0")


def _control(graph: Any) -> None:
    graph.graph.nodes[0].inputs.append("^save")


def _call(graph: Any) -> None:
    _attribute(_called(graph).nodes[0], "f").function.name = "saving"


def _branches(graph: Any) -> None:
    _attribute(_called(graph).nodes[0], "branches").list.functions.add(name="saving")


def _attribute_of_a_function(graph: Any) -> None:
    inner = _attribute(_called(graph).nodes[0], "f").function
    inner.name = "classify"
    _attribute(inner, "g").list.functions.add(name="saving")


def _by_name(graph: Any) -> None:
    _function(graph, "Relu", "SaveV2")
    _called(graph).nodes.add(name="r", op="Relu")


def _through_a_second(graph: Any) -> None:
    _function(graph, "classify", "MergeV2Checkpoints")


def _replacement(graph: Any) -> None:
    for function in graph.graph.library.functions:
        _attribute(function, "api_implements").text = b"lstm"


def _gradient(graph: Any) -> None:
    graph.graph.library.gradients.add(function="classify", gradient="saving")


def _object(graph: Any) -> None:
    graph.objects.functions.add(key="saving")


def _another_signature(graph: Any) -> None:
    started = graph.signatures.add(key="__saved_model_init_op").value
    started.outputs.add(key="op").value.name = "save"


def _startup(graph: Any) -> None:
    graph.collections.add(key="legacy_init_op").value.nodes.values.append("save")


LEADING: list[Callable[[Any], None]] = [
    _data, _control, _call, _branches, _attribute_of_a_function, _by_name, _through_a_second,
    _replacement, _gradient, _object, _another_signature, _startup,
]  # fmt: skip


def _read(model: Any, folder: Path) -> tuple[str, ...]:
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return saved_model.read(folder).code


@pytest.mark.parametrize("tensorflow", [1, 2])
def test_a_saver_that_nothing_runs_passes(tensorflow: int, tmp_path: Path) -> None:
    assert _read(_graph(tensorflow), tmp_path) == ()


@pytest.mark.parametrize("lead", LEADING, ids=lambda lead: lead.__name__)
def test_what_leads_to_a_path_is_found(lead: Callable[[Any], None], tmp_path: Path) -> None:
    model = _graph()
    lead(model.meta_graphs[0])
    assert any("in what it runs" in text for text in _read(model, tmp_path))
    with pytest.raises(DataError, match="could run code"):
        reading.usable(tmp_path)


def test_restoring_of_tensorflow_1_takes_the_loaders_path_alone(tmp_path: Path) -> None:
    """Its loader runs the file's own operations."""
    model = _graph(1)
    graph = model.meta_graphs[0]
    graph.graph.nodes[7].op = "Const"  # where the path comes from
    assert _read(model, tmp_path) == ("the operation RestoreV2 in what it runs",)
    model = _graph(1)
    model.meta_graphs[0].saver.restore = "save"
    assert "the operation SaveV2 in what it runs" in _read(model, tmp_path)


@pytest.mark.parametrize("op", ["WriteFile", "ReadFile", "PyFunc", "RestoreSlice", "Print"])
def test_unknown_operations_are_refused_wherever_they_are(op: str, tmp_path: Path) -> None:
    model = _graph()
    _function(model.meta_graphs[0], "apart", op)
    assert _read(model, tmp_path) == (f"the operation {op}",)
