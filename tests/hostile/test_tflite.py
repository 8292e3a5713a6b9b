"""TFLite files: damaged flatbuffers, bombs, and what is attached to them."""

from __future__ import annotations

import contextlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgezoo.core import registry
from edgezoo.core.errors import DataError, interpreting
from edgezoo.formats import tflite_flatbuffer
from edgezoo.runtimes import _edgetpu, _tflite_versions
from tests.conftest import Exported, Trained, run_cli


def _attach(path: Path, target: Path, files: dict[str, bytes]) -> Path:
    """A copy with other files in the zip at its end."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        begin = min(entry.header_offset for entry in archive.infolist())
        kept = {name: archive.read(name) for name in archive.namelist()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (kept | files).items():
            archive.writestr(name, content)
    target.write_bytes(data[:begin] + stream.getvalue())
    return target


def _contract(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read("edgezoo_contract.json"))
    assert isinstance(facts, dict)
    return facts


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_damaged_flatbuffer(
    seed: int, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What reads it in Python, and what looks into the tree: a result or an error of ours."""
    rng = random.Random(seed)
    data = bytearray(exported.path("tflite", "int8").read_bytes())
    for _ in range(rng.randrange(1, 8)):
        # The tables stand at the end, in front of the metadata.
        place = rng.randrange(max(0, len(data) - 80_000), len(data) - 8) // 4 * 4
        value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32)))
        data[place : place + 4] = value.to_bytes(4, "little")
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(data)
    with contextlib.suppress(DataError), interpreting(path):
        _tflite_versions.requirements(tflite_flatbuffer.read_model(path))


def test_parts_beyond_the_bytes(exported: Exported, tmp_path: Path) -> None:
    """A vector of tables that claims millions: refused before an object is made of each."""
    data = bytearray(exported.path("tflite", "int8").read_bytes())
    schema = tflite_flatbuffer.schema()
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    vector = graph._tab.Vector(graph._tab.Offset(4))  # tensors: the first field
    data[vector - 4 : vector] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "m.tflite").write_bytes(data)
    with pytest.raises(DataError, match="parts in"):
        tflite_flatbuffer.read_model(tmp_path / "m.tflite")


def test_zip_bomb_at_the_end(exported: Exported, tmp_path: Path) -> None:
    bomb = _attach(
        exported.path("tflite", "int8"), tmp_path / "m.tflite", {"labels.txt": bytes(80 << 20)}
    )
    assert bomb.stat().st_size < 2_000_000
    with pytest.raises(DataError, match="64 MiB"):
        registry.load_artifact(bomb)


def _tensors_nobody_can_hold(data: bytes) -> bytes:
    model = tflite_flatbuffer.parse(data)
    graph = model.subgraphs[0]
    for index in (*graph.inputs, *graph.operators[0].outputs):
        graph.tensors[index].shape = [1, 2**20, 2**20, 3]
        graph.tensors[index].shapeSignature = None
    return _packed(model)


def _operator_of_no_tensor(data: bytes) -> bytes:
    model = tflite_flatbuffer.parse(data)
    model.subgraphs[0].operators[3].inputs = [10**6, 10**6, 10**6]
    return _packed(model)


def _code_of_no_operation(data: bytes) -> bytes:
    model = tflite_flatbuffer.parse(data)
    model.subgraphs[0].operators[3].opcodeIndex = 10**6
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    "damage", [_tensors_nobody_can_hold, _operator_of_no_tensor, _code_of_no_operation]
)
def test_command_says_one_sentence(
    damage: Callable[[bytes], bytes], exported: Exported, tmp_path: Path
) -> None:
    """Whatever the runtime does on it."""
    path = tmp_path / "m.tflite"
    path.write_bytes(damage(exported.path("tflite", "float32").read_bytes()))
    assert "m.tflite" in run_cli("inspect", path).error(5)


def test_hostile_contract(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """Its labels reach the terminal without what a terminal acts on; invalid fields do not."""
    whole = exported.path("tflite", "int8")
    facts = _contract(whole)
    labels = "\n".join(["\x1b[2J\x1b]0;owned\x07 [bold]cat[/] <b>‮"] * 1000).encode()
    armed = _attach(whole, tmp_path / "m.tflite", {"labels.txt": labels})
    picture = next(trained.test.rglob("*.png"))
    ended = run_cli("classify", armed, picture, "--top", "1")
    assert ended.code == 0, ended.stderr
    assert r"\x1b[2J\x1b]0;owned\x07 [bold]cat[/] <b>\u202e" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    ended = run_cli("inspect", armed)
    assert ended.code == 0 and "\x1b" not in ended.stdout and "[bold]cat[/]" in ended.stdout
    for name, value in (("input_size", 10**6), ("crop_fraction", 0), ("layout", "x\x1b[31m")):
        content = json.dumps(facts | {name: value}).encode()
        path = _attach(whole, tmp_path / "n.tflite", {"edgezoo_contract.json": content})
        with pytest.raises(DataError, match=f"invalid {name}"):
            registry.load_artifact(path)


@settings(max_examples=100)
@given(content=st.binary(max_size=400))
def test_any_package_of_the_edge_tpu(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "package.tflite"
    path.write_bytes(bytes(8) + (4).to_bytes(4, "little") + _edgetpu._IDENTIFIER + content)
    with contextlib.suppress(DataError):
        _edgetpu.read_package(path)
