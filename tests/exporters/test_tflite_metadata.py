"""TFLite metadata: there in every file, small, the same each time, and left by Arm's compiler.

What MediaPipe makes of it: tests/clients.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.exporters import _tflite_metadata
from edgezoo.formats import tflite_flatbuffer
from tests.conftest import PRECISIONS, Exported, run_cli


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_file_has_it_once_and_labels_once(exported: Exported, precision: str) -> None:
    path = exported.path("tflite", precision)
    model = tflite_flatbuffer.read_model(path)
    names = [tflite_flatbuffer.text(entry.name) for entry in model.metadata]
    assert names.count(_tflite_metadata.NAME) == 1
    found = tflite_flatbuffer.read_metadata(model, _tflite_metadata.NAME)
    contract = registry.load_artifact(path).required_contract()
    assert found is not None and found[4:8] == b"M001" and len(found) < 1500
    assert found == _tflite_metadata.metadata(model, contract), "the same bytes each time"
    for text in (b"labels.txt", contract.summary.encode()):
        assert text in found
    whole = path.read_bytes()
    assert whole.count(b"great_white_shark") == 1, "labels stand once"
    with zipfile.ZipFile(path) as attached:
        kinds = {info.compress_type for info in attached.infolist()}
        assert kinds == {zipfile.ZIP_STORED}, "MediaPipe reads no other"


def test_metadata_is_read_back_as_hints(exported: Exported) -> None:
    """As from a file of another tool: of an int8 file (pixel - 128) / 127.5, the pixel itself."""
    for precision, offset in (("int8", -128 / 127.5), ("float32", 0.0)):
        path = exported.path("tflite", precision)
        found = registry.runtime_for(path).hints(path)
        how = found.normalization
        assert how is not None and found.source == "TFLite metadata"
        assert how.offset == pytest.approx((offset,) * 3, abs=1e-4)
        assert found.labels == registry.load_artifact(path).required_contract().labels
        assert found.activations == ("softmax",)
    for format in ("onnx", "openvino"):
        path = exported.path(format, "int8")
        assert registry.runtime_for(path).hints(path).activations == ("softmax",)


@pytest.mark.parametrize(
    ("kind", "preprocessing", "dtype", "means"),
    [
        ("pixels", "tf", "float32", [0.0]),
        ("pixels", "caffe", "float32", [0.0]),
        ("pixels", "tf", "uint8", [128.0]),
        ("normalized", "tf", "float32", [127.5]),
        ("normalized", "torch", "float32", [123.675, 116.28, 103.53]),
        ("normalized", "caffe", "float32", None),
    ],
)
def test_normalization_is_what_a_client_must_do(
    exported: Exported, kind: str, preprocessing: str, dtype: str, means: list[float] | None
) -> None:
    precision = "int8" if dtype == "uint8" else "float32"
    model = tflite_flatbuffer.read_model(exported.path("tflite", precision))
    contract = InputContract("m", "float32", 32, preprocessing, WeightsRecord("random", ""), 10,
                             input_kind=kind, input_dtype=dtype)  # type: ignore[arg-type]  # fmt: skip
    found = _tflite_metadata.metadata(model, contract)
    if means is None:
        assert all(struct.pack("<f", mean) not in found for mean in (103.939, 116.779))
    else:
        packed = struct.pack(f"<I{len(means)}f", len(means), *means)
        assert packed[:4] in found
        values = [struct.unpack_from("<f", found, at)[0] for at in range(0, len(found) - 3, 4)]
        for mean in means:
            assert any(abs(value - mean) < 1e-3 for value in values), mean


def test_vela_keeps_it(exported: Exported, tmp_path: Path) -> None:
    path = exported.path("tflite", "int8")
    ended = run_cli("compile", path, "--target", "ethos-u55-128", "-o", tmp_path, "--json")
    assert ended.code == 0, ended.stderr
    compiled = Path(ended.json["path"])
    model = tflite_flatbuffer.read_model(compiled)
    assert tflite_flatbuffer.read_metadata(model, _tflite_metadata.NAME)
    with zipfile.ZipFile(compiled) as attached:
        assert len(attached.read("labels.txt").decode().splitlines()) == 1000
