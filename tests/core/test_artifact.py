"""The contract inside a file, the manifest beside it, and pixels on their way in and out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.calibration_metadata import CalibrationMetadata
from edgezoo.core.errors import DataError
from edgezoo.core.files import write_text_atomically
from edgezoo.core.labels import read_labels
from edgezoo.core.protocols import TensorInfo
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.images.preprocessing import normalize
from edgezoo.inference.conversion import dequantize, to_input

CONTRACT = InputContract(
    "mobilenet",
    "int8",
    160,
    "tf",
    WeightsRecord("file", "abc", "mine.h5"),
    classes=3,
    alpha=0.5,
    depth_multiplier=1,
    input_dtype="uint8",
    labels=("a", "b c", "ü"),
    calibration=CalibrationMetadata("folder", 100),
    versions={"numpy": "2"},
)


def test_round_trip() -> None:
    text = json.dumps(CONTRACT.to_json())
    assert InputContract.from_json(json.loads(text)) == CONTRACT


def test_json_describes_everything() -> None:
    facts = json.loads(json.dumps(CONTRACT.to_json()))
    assert facts["schema"] == 1
    assert facts["resize"] == {"shorter_side": 183, "filter": "bilinear", "crop": "centre"}
    assert facts["normalization"]["scale"] == pytest.approx([1 / 127.5] * 3)
    assert facts["normalization"]["offset"] == [-1, -1, -1]
    assert (facts["layout"], facts["color_order"], facts["batch"]) == ("NHWC", "RGB", 1)


def test_unknown_fields_of_the_same_schema_are_passed_over() -> None:
    assert InputContract.from_json({**CONTRACT.to_json(), "colour_of_the_box": "red"}) == CONTRACT


@pytest.mark.parametrize("schema", [2, "1", None])
def test_newer_schema(schema: object) -> None:
    with pytest.raises(DataError, match="schema") as caught:
        InputContract.from_json({**CONTRACT.to_json(), "schema": schema})
    assert "Upgrade" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessing": "imagenet"},
        {"weights": {"from": "somewhere"}},
        {"weights": None},
        {"weights": "imagenet"},
        {"calibration": {"source": "folder"}},
        {"quantization": {"quantizer": "litert-quantizer"}},
    ],
)
def test_damaged_contract(change: dict[str, object]) -> None:
    with pytest.raises(DataError):
        InputContract.from_json({**CONTRACT.to_json(), **change})


def test_contract_without_its_fields() -> None:
    for name in ("model", "input_size", "classes", "weights"):
        facts = CONTRACT.to_json()
        del facts[name]
        with pytest.raises(DataError, match=name):
            InputContract.from_json(facts)


def test_write_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "there" / "m.json"
    with pytest.raises(DataError, match=r"m\.json"):
        write_text_atomically(path, "x")
    write_text_atomically(tmp_path / "m.json", "ü")
    assert (tmp_path / "m.json").read_text(encoding="utf-8") == "ü"
    assert os.listdir(tmp_path) == ["m.json"]


# Border types

PIXELS = np.array([0, 1, 127, 128, 254, 255] * 2, np.uint8).reshape(1, 2, 2, 3)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int8"])
def test_pixels_in(dtype: str) -> None:
    got = to_input(PIXELS, CONTRACT, TensorInfo("image", (1, 2, 2, 3), dtype))
    assert got.dtype == dtype
    assert (got.astype(int) + (128 if dtype == "int8" else 0) == PIXELS).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_normalized_in(dtype: str) -> None:
    """By the tensor's own scale and zero point, whatever they are."""
    contract = replace(CONTRACT, input_kind="normalized")
    zero = 128 if dtype == "uint8" else 0
    info = TensorInfo("image", (1, 2, 2, 3), dtype, 1 / 127.5, zero)
    real = (to_input(PIXELS, contract, info).astype(float) - zero) / 127.5
    np.testing.assert_allclose(real, PIXELS / 127.5 - 1, atol=0.51 / 127.5 + 1 / 127.5)
    with pytest.raises(DataError, match="quantization"):
        to_input(PIXELS, contract, TensorInfo("image", (1, 2, 2, 3), dtype))


def test_normalized_float_in_any_order() -> None:
    contract = replace(CONTRACT, input_kind="normalized", preprocessing="caffe", layout="NCHW")
    got = to_input(PIXELS, contract, TensorInfo("image", (1, 3, 2, 2), "float32"))
    assert got.shape == (1, 3, 2, 2)
    wanted = normalize(PIXELS, NORMALIZATIONS["caffe"])
    np.testing.assert_array_equal(np.moveaxis(got, 1, -1), wanted)
    assert got[0, 0, 0, 0] == pytest.approx(PIXELS[0, 0, 0, 2] - 103.939, abs=1e-4)


def test_unknown_input_type() -> None:
    with pytest.raises(DataError, match="int64"):
        to_input(PIXELS, CONTRACT, TensorInfo("image", (1, 2, 2, 3), "int64"))


def test_dequantize() -> None:
    raw = np.array([[0, 1, 255]], np.uint8)
    np.testing.assert_allclose(
        dequantize(raw, TensorInfo("p", (1, 3), "uint8", 1 / 256, 0)), raw / 256
    )
    signed = (raw.astype(int) - 128).astype(np.int8)
    np.testing.assert_allclose(
        dequantize(signed, TensorInfo("p", (1, 3), "int8", 1 / 256, -128)), raw / 256
    )
    floats = np.array([[0.25, 0.75]], np.float32)
    np.testing.assert_array_equal(dequantize(floats, TensorInfo("p", (1, 2), "float32")), floats)


def test_read_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("background\ntench \n\ngrüner Fisch\n", encoding="utf-8")
    assert read_labels(file) == ("background", "tench", "grüner Fisch")
    file.write_bytes(b"\xff\xfe\x00")
    for bad in (file, tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="labels file"):
            read_labels(bad)
