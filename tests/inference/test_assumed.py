"""Files without a contract: their input and output are stated, read or refused, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.input_options import InputOptions
from edgezoo.core.protocols import TensorInfo
from edgezoo.core.spec import NORMALIZATIONS, Normalization, named
from edgezoo.inference import heads, input_range
from edgezoo.inference.predict import open_as_stated, predict, require_classes
from tests.support.tiny_onnx import SIDE, save

PIXELS = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
KERNEL = np.random.default_rng(0).normal(size=(3, 4))


def _sums(pixels: NDArray[Any], scale: float = 1 / 255, kernel: Any = KERNEL) -> NDArray[Any]:
    means = (pixels.astype(np.float64) * scale).mean((1, 2))
    return np.asarray(means @ np.asarray(kernel, np.float32))


def _softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _ask(path: Path, pixels: Any = PIXELS, **options: Any) -> tuple[NDArray[np.float32], str]:
    given = InputOptions(**{"preprocessing": "unit", **options})
    artifact, session = open_as_stated(path, given)
    with session:
        require_classes(artifact)
        contract = artifact.required_contract()
        assert contract.resize.mode == "stretch" and any("stretch" in n for n in artifact.notes)
        return predict(session, contract, pixels), " ".join(artifact.notes)


@pytest.mark.parametrize("output", [None, (4,), (1, 1, 1, 4), (1, 4, 1, 1)])
def test_shapes_of_classes(output: tuple[int, ...] | None, tmp_path: Path) -> None:
    got, _ = _ask(save(tmp_path / "m.onnx", output=output))
    np.testing.assert_allclose(got, _softmax(_sums(PIXELS)), atol=1e-6)


def test_logits_get_a_softmax_and_it_is_said(tmp_path: Path) -> None:
    got, notes = _ask(save(tmp_path / "m.onnx", end=None))
    np.testing.assert_allclose(got, _softmax(_sums(PIXELS)), atol=1e-6)
    assert "taken as logits" in notes
    with pytest.raises(RefusedError, match="contradicts"):
        _ask(tmp_path / "m.onnx", head="softmax")


def test_one_sigmoid_has_two_sides(tmp_path: Path) -> None:
    kernel, labels = KERNEL[:, :1], tmp_path / "two.txt"
    one = save(tmp_path / "m.onnx", end="Sigmoid", values=1, weights=kernel)
    right = 1 / (1 + np.exp(-_sums(PIXELS, kernel=kernel)))
    got, _ = _ask(one)
    np.testing.assert_allclose(got, np.concatenate([1 - right, right], 1), atol=1e-6)
    # Without the sigmoid it may be any number, unless two labels or an option say otherwise.
    bare = save(tmp_path / "bare.onnx", end=None, values=1, weights=kernel)
    with pytest.raises(RefusedError, match="sigmoid-logits"):
        _ask(bare)
    labels.write_text("no\nyes\n")
    for more in ({"labels": labels}, {"head": "sigmoid-logits"}):
        got, _ = _ask(bare, **more)
        np.testing.assert_allclose(got[:, 1:], right, atol=1e-6)
    with pytest.raises(RefusedError, match="1 for every image"):
        _ask(save(tmp_path / "one.onnx", end="Softmax", values=1, weights=kernel))


def test_several_sigmoids_do_not_exclude_one_another(tmp_path: Path) -> None:
    got, notes = _ask(save(tmp_path / "m.onnx", end="Sigmoid"))
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-_sums(PIXELS))), atol=1e-6)
    assert "do not exclude" in notes


def test_features_are_no_classes(tmp_path: Path) -> None:
    features = save(tmp_path / "m.onnx", end="Relu")
    with pytest.raises(RefusedError, match=r"features \(4\), an embedding"):
        _ask(features)
    got, _ = _ask(features, head="logits")  # said to be classes all the same
    np.testing.assert_allclose(got, _softmax(np.maximum(_sums(PIXELS), 0)), atol=1e-6)


def test_several_inputs_or_outputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"2 inputs \(image, image1\)"):
        _ask(save(tmp_path / "in.onnx", inputs=2))
    two = save(tmp_path / "out.onnx", outputs=2)
    with pytest.raises(RefusedError, match=r"2 outputs: out \[1, 4\], out1"):
        _ask(two)
    got, _ = _ask(two, output_name="out1")
    np.testing.assert_allclose(got, _softmax(_sums(PIXELS)), atol=1e-6)
    with pytest.raises(UsageError, match="no output 'x'"):
        _ask(two, output_name="x")


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 1, SIDE, 12), 1), ((1, SIDE, 12, 1), 1), ((1, 3, SIDE, 12), 3), ((1, SIDE, 12, 3), 3)],
)
def test_grey_rectangular_and_nchw(shape: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", shape=shape)
    artifact, session = open_as_stated(path, InputOptions("unit"))
    contract = artifact.required_contract()
    assert contract.frame.shape == (SIDE, 12, channels)
    pixels = np.random.default_rng(2).integers(0, 256, (2, *contract.frame.shape), np.uint8)
    kernel = np.random.default_rng(0).normal(size=(channels, 4))
    with session:
        got = predict(session, contract, pixels)
    np.testing.assert_allclose(got, _softmax(_sums(pixels, kernel=kernel)), atol=1e-6)


def test_colour_modes_do_not_fit_grey(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes grey images"):
        _ask(save(tmp_path / "m.onnx", shape=(1, SIDE, SIDE, 1)), preprocessing="torch")


def test_open_sizes_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", shape=("n", "h", "w", 3), output=None)
    with pytest.raises(UsageError, match="any size"):
        _ask(path)
    artifact, session = open_as_stated(path, InputOptions("unit", input_size="8x12"))
    session.close()
    assert artifact.required_contract().frame.shape == (8, 12, 3)
    with pytest.raises(UsageError, match="8 x 8 pixels"):
        _ask(save(tmp_path / "fixed.onnx"), input_size=9)


def test_uint8_without_quantization_is_the_pixel(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", dtype="UINT8", before=1 / 255)
    for options in ({"preprocessing": None}, {"preprocessing": "none"}):
        got, _ = _ask(path, **options)
        np.testing.assert_allclose(got, _softmax(_sums(PIXELS)), atol=1e-6)
    with pytest.raises(RefusedError, match="normalises inside"):
        _ask(path, preprocessing="tf")


def test_metadata_of_other_tools_is_of_lower_rank(tmp_path: Path) -> None:
    facts = {
        "model_info mean_values": "127.5 127.5 127.5",
        "model_info scale_values": "127.5",
        "model_info reverse_input_channels": "YES",
        "model_info labels": "a_b c d e",
    }
    path = save(tmp_path / "m.onnx", metadata=facts)
    artifact, session = open_as_stated(path, InputOptions())
    session.close()
    contract = artifact.required_contract()
    assert contract.preprocessing == "tf" and contract.labels == ("a b", "c", "d", "e")
    _, notes = _ask(path)
    assert "says tf, which the options replace by unit" in notes
    image = {"Image.NominalPixelRange": "Normalized_0_1", "Image.BitmapPixelFormat": "Bgr8"}
    artifact, session = open_as_stated(
        save(tmp_path / "i.onnx", metadata={**image, "names": "{0: 'x', 1: 'y', 2: 'z', 3: 'w'}"}),
        InputOptions(),
    )
    session.close()
    contract = artifact.required_contract()
    assert contract.custom_normalization == Normalization(
        "custom", (1 / 255,) * 3, (0.0,) * 3, "BGR"
    )
    assert contract.labels == ("x", "y", "z", "w")


def test_what_is_not_known_is_asked_for(tmp_path: Path) -> None:
    artifact = save(tmp_path / "m.onnx")
    with pytest.raises(DataError, match="--preprocessing"):
        open_as_stated(artifact)
    with pytest.raises(DataError, match="not one image"):
        _ask(_two_dimensional(tmp_path))


def _two_dimensional(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Softmax", ["x"], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([node], "g", sides[:1], sides[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        str(folder / "flat.onnx"),
    )
    return folder / "flat.onnx"


# The range of a quantized input


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "modes"),
    [
        ("int8", 1 / 255, -128, ["unit"]),
        ("uint8", 1 / 255, 0, ["unit"]),
        ("uint8", 0.0078125, 128, ["tf"]),
        ("int8", 2 / 255, 0, ["tf"]),
        ("uint8", 1.0, 0, ["raw"]),
        ("int8", 1.0, -128, ["raw"]),
        ("uint8", 4.76 / 255, 113, ["torch"]),
        ("int8", 274.74 / 255, -13, ["caffe"]),
        ("uint8", 0.5, 0, []),
    ],
)
def test_known_ranges(dtype: str, scale: float, zero: int, modes: list[str]) -> None:
    tensor = TensorInfo("in", (1, 8, 8, 3), dtype, scale, zero)
    assert [how.mode for how in input_range.fitting(tensor, 3)] == modes


def test_clipped_share() -> None:
    tensor = TensorInfo("in", (1, 8, 8, 3), "uint8", 1 / 255, 0)
    assert input_range.clipped(NORMALIZATIONS["unit"], tensor) == 0
    assert input_range.clipped(NORMALIZATIONS["tf"], tensor) == pytest.approx(0.5, abs=0.01)
    assert input_range.clipped(NORMALIZATIONS["raw"], tensor) == pytest.approx(254 / 256)
    assert input_range.clipped(NORMALIZATIONS["tf"], TensorInfo("in", (1,), "float32")) == 0


# Options


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"scale": 1 / 127.5, "offset": -1.0}, "tf"),
        ({"scale": (1 / 255,)}, "unit"),
        ({"offset": 0.0}, "raw"),
        ({"offset": (-103.939, -116.779, -123.68), "bgr": True}, "caffe"),
        ({"scale": 1 / 255, "bgr": True}, "custom"),
        ({"scale": 0.01}, "custom"),
        ({"preprocessing": "none"}, "raw"),
        ({"preprocessing": "tf", "bgr": True}, "custom"),
    ],
)
def test_numbers_that_have_a_name(options: Any, mode: str) -> None:
    how = InputOptions(**options).normalization()
    assert how is not None and how.mode == mode and named(how) == how


@pytest.mark.parametrize(
    "options",
    [
        {"preprocessing": "tf", "scale": 1.0},
        {"scale": 0.0},
        {"scale": (1.0, 2.0)},
        {"scale": float("nan")},
        {"bgr": True},
        {"resize": "squash"},
        {"resize": "fit", "crop_fraction": 0.9},
        {"crop_fraction": 2.0},
        {"input_size": "0x3"},
        {"head": "softmx"},
    ],
)
def test_options_that_say_nothing(options: Any) -> None:
    with pytest.raises(UsageError):
        InputOptions(**options)


def test_softmax_and_sigmoid_of_large_values() -> None:
    values = np.array([[1000.0, -1000.0, 0.0]], np.float32)
    assert heads.softmax(values).tolist() == [[1.0, 0.0, 0.0]]
    assert heads.sigmoid(values).tolist() == [[1.0, 0.0, 0.5]]
