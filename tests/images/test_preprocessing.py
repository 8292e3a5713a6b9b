"""From a file to pixels to what a network takes, against formulas written out here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.core.errors import DataError
from edgezoo.core.spec import NORMALIZATIONS, USUAL_RESIZE, Resize
from edgezoo.images.preprocessing import find_images, load_many, load_pixels, normalize, recipe_hash

GENERATOR = np.random.default_rng(0)


def _picture(width: int, height: int) -> Image.Image:
    """Smooth colours with an edge, so that a shifted crop or another filter shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 / width, y * 255 / height, ((x // 7 + y // 5) % 2) * 255]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def _by_protocol(
    picture: Image.Image, size: int, how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Shorter side to round(size / 0.875), centre crop."""
    width, height = picture.size
    shorter = round(size / 0.875)
    scale = shorter / min(width, height)
    wide, high = max(shorter, round(width * scale)), max(shorter, round(height * scale))
    resized = np.asarray(picture.resize((wide, high), how))
    left, top = (wide - size) // 2, (high - size) // 2
    return resized[top : top + size, left : left + size]


def _stream(picture: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (375, 500), (64, 64), (40, 200), (257, 256), (900, 31)]
)
@pytest.mark.parametrize("size", [32, 160, 224])
def test_protocol(width: int, height: int, size: int) -> None:
    picture = _picture(width, height)
    pixels = load_pixels(_stream(picture), size)
    assert pixels.dtype == np.uint8 and pixels.shape == (size, size, 3)
    np.testing.assert_array_equal(pixels, _by_protocol(picture, size))


def test_bicubic_is_another_protocol() -> None:
    """As for EfficientNet-Lite: the contract's filter reaches Pillow."""
    picture = _picture(300, 257)
    pixels = load_pixels(_stream(picture), 224, Resize(filter="bicubic"))
    np.testing.assert_array_equal(pixels, _by_protocol(picture, 224, Image.Resampling.BICUBIC))
    assert (pixels != load_pixels(_stream(picture), 224)).any()


def test_resize_targets() -> None:
    assert [USUAL_RESIZE.shorter_side(s) for s in (32, 160, 224, 299, 331)] == [
        37,
        183,
        256,
        342,
        378,
    ]


@pytest.mark.imagenet
def test_protocol_of_the_arbiter(shared: Path) -> None:
    """The very lines of shared/tools/score.py, on photographs."""
    source = (shared / "tools" / "score.py").read_text()
    begin = source.index("def load(p):")
    code = source[begin : source.index("\nX = ", begin)]
    scope: dict[str, Any] = {"Image": Image, "np": np, "size": 160}
    exec(code, scope)
    for path in sorted((shared / "imagenet" / "val").rglob("*.jpg"))[::65]:
        np.testing.assert_array_equal(load_pixels(path, 160), scope["load"](path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "LA", "I;16"])
def test_other_modes(mode: str) -> None:
    picture = _picture(60, 50)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 4)
    else:
        picture = picture.convert(mode)
    kind = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    pixels = load_pixels(_stream(picture, kind), 32)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    if mode in ("L", "LA", "1"):
        assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    if mode in ("RGBA", "P", "CMYK"):
        np.testing.assert_array_equal(pixels, _by_protocol(picture.convert("RGB"), 32))


def test_exif_turns_the_picture_upright() -> None:
    picture = _picture(80, 50)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: shown upright it is 50 wide, 80 high
    turned = load_pixels(_stream(picture, exif=exif), 32)
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(turned, _by_protocol(upright, 32))
    assert not np.array_equal(turned, _by_protocol(picture, 32))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_unreadable(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        load_pixels(file, 32)


def test_truncated_jpeg(tmp_path: Path) -> None:
    whole = _stream(_picture(200, 200), "JPEG").getvalue()
    file = tmp_path / "half.jpg"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        load_pixels(file, 32)


def test_load_many_marks_what_cannot_be_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    _picture(40, 40).save(good)
    bad.write_bytes(b"x")
    found = list(load_many([good, bad], 32))
    assert [path for path, _ in found] == [good, bad]
    assert found[0][1] is not None and found[1][1] is None


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/.hidden.png", "notes.txt", "d.webp", "e.jpeg.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == sorted(names) == ["a/c.png", "b.JPG", "d.webp"]


def test_recipe_hash_tells_protocols_apart() -> None:
    assert recipe_hash(160) == recipe_hash(160) != recipe_hash(192)
    assert recipe_hash(160) != recipe_hash(160, Resize(crop_fraction=1.0))
    assert recipe_hash(160) != recipe_hash(160, Resize(filter="bicubic"))


# keras.applications.imagenet_utils.preprocess_input, written out


def _tf(x: np.ndarray) -> np.ndarray:
    return x / 127.5 - 1


def _caffe(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[..., ::-1] - np.array([103.939, 116.779, 123.68]))


def _torch(x: np.ndarray) -> np.ndarray:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return np.asarray((x / 255 - mean) / deviation)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / 255.0


def _raw(x: np.ndarray) -> np.ndarray:
    return x


@pytest.mark.parametrize(
    ("mode", "formula"),
    [("tf", _tf), ("caffe", _caffe), ("torch", _torch), ("unit", _unit), ("raw", _raw)],
)
def test_normalize_is_keras(mode: str, formula: object) -> None:
    assert callable(formula)
    pixels = GENERATOR.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    got = normalize(pixels, NORMALIZATIONS[mode])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, formula(pixels.astype(np.float64)), rtol=1e-5, atol=2e-5)


def test_every_mode_has_a_formula() -> None:
    assert NORMALIZATIONS.keys() == {"tf", "caffe", "torch", "unit", "raw"}
    assert [mode for mode, how in NORMALIZATIONS.items() if how.uniform] == ["tf"]
