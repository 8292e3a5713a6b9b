"""The programs of a bundle agree with EdgeZoo, and the self-test names what is wrong."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgezoo.bundling import golden
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.protocols import TensorInfo
from edgezoo.core.spec import NORMALIZATIONS
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference import heads
from edgezoo.inference.conversion import dequantize, to_input
from tests.conftest import ROOT

SIZE = 48
DEVICE = ROOT / "edgezoo" / "bundling" / "device"
CONTRACT = InputContract(
    model="m", precision="int8", input_size=SIZE, preprocessing="tf",
    weights=WeightsRecord("random", ""), classes=10,
)  # fmt: skip


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"device_{name}", DEVICE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


classify, selftest = _load("classify"), _load("selftest")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("golden")
    for name, data in golden.images(SIZE).items():
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


def _detail(info: TensorInfo) -> dict[str, Any]:
    """A tensor as an interpreter describes it."""
    quantization = (info.scale or 0.0, info.zero_point or 0)
    return {"dtype": np.dtype(info.dtype).type, "quantization": quantization}


# As EdgeZoo does it


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("shape", [(300, 200), (41, 97), (20, 20), (7, 500)])
def test_pixels(mode: str, shape: tuple[int, int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    path = tmp_path / "image.tif"
    Image.fromarray(values).convert(mode).save(path)
    given = classify.load_pixels(path, CONTRACT.to_json())
    assert np.array_equal(given, load_pixels(path, SIZE))


@pytest.mark.parametrize("shape", [(300, 200), (41, 97), (7, 500), (20, 30), (30, 20)])
@pytest.mark.parametrize("channels", [None, 1])
@pytest.mark.parametrize("mode", [None, "stretch", "fit"])
def test_pixels_of_other_contracts(
    mode: Any, channels: Any, shape: tuple[int, int], tmp_path: Path
) -> None:
    """A rectangle of 20 x 30: images of that size are left alone, by both."""
    contract = replace(
        CONTRACT, input_size=20, input_width=30, channels=channels, resize_mode=mode,
        crop_fraction=0.8 if mode is None else 1.0,
    )  # fmt: skip
    values = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(values).save(path)
    given = classify.load_pixels(path, contract.to_json())
    wanted = load_pixels(path, contract.frame, contract.resize)
    assert given.shape == (20, 30, channels or 3) and np.array_equal(given, wanted)
    if shape == (20, 30) and channels is None:
        assert np.array_equal(given, values)
    if mode == "fit" and shape == (7, 500):  # 30 wide and hardly high: black above and below
        assert not given[:9].any() and not given[11:].any() and given.any()


@pytest.mark.parametrize("head", ["logits", "sigmoid", "sigmoid-logits"])
@pytest.mark.parametrize("count", [1, 10])
def test_heads(head: Any, count: int) -> None:
    contract = replace(
        CONTRACT, head=head, classes=2 if count == 1 else count, output_shape=(count,)
    )
    if (head, count) == ("logits", 1):
        return  # a softmax over one value is refused before
    raw = np.random.default_rng(0).normal(size=count).astype(np.float32)
    info = TensorInfo("out", (1, count), "float32")
    given = classify.probabilities(raw, contract.to_json(), _detail(info))
    wanted = heads.probabilities(raw[None], contract)[0]
    np.testing.assert_allclose(given, wanted, atol=1e-7)
    assert len(given) == contract.classes


@pytest.mark.parametrize(("turned", "turns"), [(1, 0), (3, 2), (6, -1)])
@pytest.mark.parametrize("name", ["8.png", "8.tif", "16.png", "16.tif", "big-endian.tif"])
def test_grey(name: str, turned: int, turns: int, tmp_path: Path) -> None:
    """As 8 bits of the same image, upright: Pillow cuts 16 bits off, and leaves TIFFs turned."""
    values = np.random.default_rng(0).integers(0, 65536, (97, 60)).astype(np.uint16)
    upper = (values >> 8).astype(np.uint8)
    path, upright, exif = tmp_path / name, tmp_path / "upright.png", Image.Exif()
    exif[0x0112] = turned
    image = Image.fromarray(upper if name.startswith("8") else values)
    if name == "big-endian.tif":
        image = Image.frombytes("I;16B", (60, 97), values.astype(">u2").tobytes())
    image.save(path, exif=exif)
    Image.fromarray(np.rot90(upper, turns)).save(upright)
    given = classify.load_pixels(path, CONTRACT.to_json())
    assert np.array_equal(given, load_pixels(path, SIZE))
    assert np.array_equal(given, load_pixels(upright, SIZE))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_a_pixel_are_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (60, 60)).save(path)
    with pytest.raises(
        ValueError, match=r"image\.tif is not a readable image: the range of its 32-bit"
    ):
        classify.load_pixels(path, CONTRACT.to_json())


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("preprocessing", NORMALIZATIONS)
@pytest.mark.parametrize("kind", ["pixels", "normalized"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_input(dtype: str, kind: Any, preprocessing: str, layout: Any) -> None:
    contract = replace(CONTRACT, input_kind=kind, preprocessing=preprocessing, layout=layout)
    quantized = (0.0173, 117 if dtype == "uint8" else -11) if dtype != "float32" else (None, None)
    tensor = TensorInfo("in", (1, SIZE, SIZE, 3), dtype, *quantized)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    given = classify.to_input(pixels, contract.to_json(), _detail(tensor))
    wanted = to_input(pixels[None], contract, tensor)
    assert given.dtype == wanted.dtype and np.array_equal(given, wanted)


def test_background_class_is_left_out() -> None:
    info = TensorInfo("out", (1, 11), "uint8", 1 / 256, 3)
    raw = np.arange(11, dtype=np.uint8)
    given = classify.probabilities(raw, CONTRACT.to_json(), _detail(info))
    assert np.array_equal(given, dequantize(raw, info)[1:])


# Golden images


def test_images_shrink_and_are_the_same_each_time() -> None:
    first = golden.images(SIZE)
    assert golden.images(SIZE) == first
    for data in first.values():
        with Image.open(io.BytesIO(data)) as opened:
            assert min(opened.size) > 2 * SIZE, "every filter gives the same where nothing shrinks"
    assert sum(map(len, golden.images(331).values())) < 900_000


# Faults

Prepare = Callable[[Path, dict[str, Any]], NDArray[Any]]


def _image(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


def _own(resize: Callable[[Image.Image], Image.Image]) -> Prepare:
    """A program that decodes as it should and resizes in its own way."""
    return lambda path, contract: np.asarray(resize(_image(path)), np.uint8)[None]


def _cropped(image: Image.Image, resample: Image.Resampling) -> Image.Image:
    shorter = CONTRACT.to_json()["resize"]["shorter_side"]
    scale = shorter / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    return image.resize((width, height), resample).crop((left, top, left + SIZE, top + SIZE))


def _right(path: Path, contract: dict[str, Any]) -> NDArray[Any]:
    values: NDArray[Any] = classify.load_pixels(path, contract)[None]
    return values


def _not_turned(path: Path, contract: dict[str, Any]) -> NDArray[Any]:
    with Image.open(path) as opened:
        return np.asarray(_cropped(opened.convert("RGB"), Image.Resampling.BILINEAR))[None]


def _less(program: Prepare) -> Prepare:
    """The same for an int8 model: pixel - 128."""
    return lambda path, contract: (program(path, contract).astype(np.int16) - 128).astype(np.int8)


def _with(value: float) -> Prepare:
    """The right float values but for one."""

    def program(path: Path, contract: dict[str, Any]) -> NDArray[Any]:
        values = _right(path, contract).astype(np.float32)
        values[0, 3, 4, 1] = value
        return values

    return program


def _one_off(path: Path, contract: dict[str, Any]) -> NDArray[Any]:
    """What a decoder gives that rounds otherwise."""
    noise = np.random.default_rng(0).integers(-1, 2, (1, SIZE, SIZE, 3))
    return np.clip(_right(path, contract) + noise, 0, 255)


FILTERS = Image.Resampling
PROGRAMS: dict[str, tuple[Prepare, str, set[str], str]] = {
    # what the program does: the program, input type, faults, a word that must be said
    "all right": (_right, "uint8", set(), ""),
    "BGR": (lambda p, c: _right(p, c)[..., ::-1], "uint8", {"colours"}, "BGR"),
    "BGR, float": (
        lambda p, c: _right(p, c)[..., ::-1].astype(np.float32), "float32", {"colours"}, "BGR",
    ),
    "0 to 1": (
        lambda p, c: (_right(p, c) / 255).astype(np.float32), "float32", {"scale"}, "to 255",
    ),
    "-1 to 1": (
        lambda p, c: (_right(p, c) / 127.5 - 1).astype(np.float32), "float32", {"scale"}, "to 255",
    ),
    "0 to 1, cut off": (
        lambda p, c: (_right(p, c) / 255).astype(np.uint8), "uint8", {"scale"}, "to 255",
    ),
    "minus 128, wrapped": (
        lambda p, c: _right(p, c) - np.uint8(128), "uint8", {"scale"}, "to 255",
    ),
    "BGR, 0 to 1": (
        lambda p, c: (_right(p, c)[..., ::-1] / 255).astype(np.float32), "float32",
        {"colours", "scale"}, "BGR",
    ),
    "squeezed": (
        _own(lambda i: i.resize((SIZE, SIZE), FILTERS.BILINEAR)), "uint8", {"resize"}, "squeezed",
    ),
    "nearest": (
        _own(lambda i: _cropped(i, FILTERS.NEAREST)), "uint8", {"resize"}, "nearest pixel",
    ),
    "bicubic": (_own(lambda i: _cropped(i, FILTERS.BICUBIC)), "uint8", {"resize"}, "bicubic"),
    "no margin": (
        _own(lambda i: ImageOps.fit(i, (SIZE, SIZE), FILTERS.BILINEAR)), "uint8", {"resize"},
        "margin",
    ),
    "not turned": (_not_turned, "uint8", {"resize"}, "EXIF"),
    "BGR, nearest": (
        _own(lambda i: Image.fromarray(np.asarray(_cropped(i, FILTERS.NEAREST))[..., ::-1])),
        "uint8", {"colours", "resize"}, "nearest pixel",
    ),
    "not a number": (_with(np.nan), "float32", {"scale"}, "not numbers"),
    "infinite": (_with(np.inf), "float32", {"scale"}, "not numbers"),
    "int8, all right": (_less(_right), "int8", set(), ""),
    "int8, one level off": (_less(_one_off), "int8", set(), ""),
    "int8, BGR": (_less(lambda p, c: _right(p, c)[..., ::-1]), "int8", {"colours"}, "BGR"),
    "int8, not less 128": (
        lambda p, c: _right(p, c).view(np.int8), "int8", {"scale"}, "-128 to 127",
    ),
    "int8, squeezed, nearest": (
        _less(_own(lambda i: i.resize((SIZE, SIZE), FILTERS.NEAREST))), "int8", {"resize"},
        "squeezed to a square, nearest pixel",
    ),
    "no batch": (lambda p, c: _right(p, c)[0], "uint8", {"layout"}, "(48, 48, 3)"),
    "channels first": (
        lambda p, c: np.moveaxis(_right(p, c), -1, 1), "uint8", {"layout"}, "(1, 3, 48, 48)",
    ),
    "another type": (lambda p, c: _right(p, c).astype(np.float32), "uint8", {"type"}, "float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROGRAMS)
def test_fault_is_named(case: str, images: list[Path]) -> None:
    program, dtype, kinds, word = PROGRAMS[case]
    contract = CONTRACT.to_json()
    faults = []
    for image in images:
        right = _less(_right) if dtype == "int8" else _right
        wanted = right(image, contract).astype(dtype)
        others = lambda image=image: selftest.other_resizes(image, contract)  # noqa: E731
        faults += selftest.compare_input(program(image, contract), wanted, others)
    assert {fault["kind"] for fault in faults} == kinds
    assert not word or any(word in fault["message"] for fault in faults), faults


def test_decoder_that_rounds_otherwise_is_no_fault(images: list[Path]) -> None:
    contract = CONTRACT.to_json()
    wanted = _right(images[0], contract)
    noise = np.random.default_rng(0).integers(-1, 2, wanted.shape)
    got = np.clip(wanted.astype(int) + noise, 0, 255).astype(np.uint8)
    assert selftest.compare_input(got, wanted, dict) == []


@pytest.mark.parametrize(
    ("steps", "exact", "passed"),
    [(0, True, True), (1, True, False), (1, False, True), (16, False, True), (40, False, False)],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_outputs_of_int8_files(dtype: str, steps: int, exact: bool, passed: bool) -> None:
    """A float output gives the same steps, of 1/256."""
    step = 1 if dtype == "uint8" else 1 / 256
    wanted = (np.full(10, 100) * step).astype(dtype)
    raw = wanted.copy()
    raw[3] += steps * step
    facts = selftest.compare_output(raw, wanted, selftest.allowed("int8", wanted.dtype, exact))
    assert facts == {"equal": steps == 0, "max_difference": steps * step, "passed": passed}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("difference", "passed"), [(0.0005, True), (0.002, False)])
def test_outputs_of_float_files(difference: float, passed: bool, exact: bool) -> None:
    wanted = np.full(10, 0.1, np.float32)
    raw = wanted + np.float32(difference)
    limit = selftest.allowed("float32", wanted.dtype, exact)
    assert selftest.compare_output(raw, wanted, limit)["passed"] == passed
