"""Images of every kind, and those that are made to harm."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgezoo.core.errors import DataError
from edgezoo.images.preprocessing import load_pixels

SIDE = 40
RAMP = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)


def _photo() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _png(width: int, height: int, lines: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks
    )


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}), ("JPEG", "L", {}), ("JPEG", "CMYK", {}), ("PNG", "P", {}),
        ("PNG", "RGBA", {}), ("PNG", "LA", {}), ("PNG", "1", {}), ("BMP", "RGB", {}),
        ("GIF", "P", {}), ("WEBP", "RGB", {"lossless": True}), ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    ],
)  # fmt: skip
def test_kinds(form: str, mode: str, options: dict[str, Any]) -> None:
    """All come close to the same image."""
    grey = mode in ("L", "LA", "1")
    wanted = np.asarray(_photo().convert("L").convert("RGB") if grey else _photo(), np.int16)
    pixels = load_pixels(io.BytesIO(_saved(_photo().convert(mode), form, **options)), 32)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    if mode != "1":
        whole = load_pixels(io.BytesIO(_saved(Image.fromarray(wanted.astype(np.uint8)), "PNG")), 32)
        assert np.abs(pixels.astype(np.int16) - whole).mean() < 12


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("TIFF", {})])
def test_sixteen_bits_of_grey(form: str, options: dict[str, Any]) -> None:
    """The upper 8 count; Pillow alone would make nearly all of it white."""
    pixels = load_pixels(io.BytesIO(_saved(Image.fromarray(RAMP), form, **options)), SIDE)
    eight = Image.fromarray((RAMP >> 8).astype(np.uint8))
    assert np.array_equal(pixels, load_pixels(io.BytesIO(_saved(eight, "PNG")), SIDE))
    assert 100 < pixels.mean() < 150


def test_first_image_of_an_animation_and_the_right_way_up() -> None:
    red, blue = (Image.new("RGB", (SIDE, SIDE), c) for c in ("red", "blue"))
    data = _saved(red, "GIF", save_all=True, append_images=[blue])
    assert load_pixels(io.BytesIO(data), 8)[0, 0].tolist() == [255, 0, 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = Image.new("RGB", (SIDE, SIDE), "blue")
    halves.paste(red.crop((0, 0, SIDE // 2, SIDE)), (0, 0))
    turned = load_pixels(io.BytesIO(_saved(halves, "PNG", exif=exif)), 8)
    assert turned[0, 4, 0] > 200 and turned[7, 4, 2] > 200, "left became top"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_png(20_000, 20_000), "pixels"),
        (_png(2**31 - 1, 2**31 - 1), "readable"),
        (_saved(Image.new("L", (1, 60_000)), "PNG"), "too narrow"),
        (_png(0, 10), "readable"),
        (_saved(_photo(), "JPEG")[:400], "readable"),
        (_saved(Image.new("F", (9, 9)), "TIFF"), "no known range"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", "none of AVIF, BMP"),
        (b"RIFF\0\0\0\0WAVEfmt ", "none of AVIF, BMP"),
        (b"", "it is empty"),
    ],
    ids=["pixels", "extreme", "narrow", "zero", "cut", "float", "postscript", "sound", "empty"],
)
def test_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        load_pixels(path, 224)
    assert "p.jpg" in caught.value.message


FORMS = {form: _saved(_photo(), form) for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(form=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 2**32))
def test_damage_is_pixels_or_an_error(form: str, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(FORMS[form])
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(data) if rng.random() < 0.5 else min(64, len(data)))
        data[place : place + rng.choice((1, 2, 4))] = rng.randbytes(rng.choice((1, 2, 4)))
    with contextlib.suppress(DataError):
        assert load_pixels(io.BytesIO(bytes(data)), 16).shape == (16, 16, 3)
