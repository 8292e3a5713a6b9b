"""Synthetic images that show how a device decodes and resizes.

Two are PNG, so that only the resize can differ: stripes, which every filter changes in another way,
and patches with colours that every swap of channels changes. Two are JPEG: procedural leaves, once
upright and once rotated by an EXIF tag.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import synthetic

_TURN_RIGHT = 6  # EXIF: the image must be rotated clockwise
_QUALITY = 80


def images(size: int) -> dict[str, bytes]:
    """Return PNG and JPEG files by name; the same bytes for the same size and version of Pillow.

    Args:
        size: the largest input size in pixels; the images are more than twice as large, so that
            resizing shrinks them.
    """
    height = int(2.4 * size)
    width = height * 4 // 3
    leaves = next(synthetic.images(1, width, seed=1))[:height]
    return {
        "stripes.png": _png(_stripes(height, width)),
        "patches.png": _png(_patches(height=width, width=height)),
        "leaves.jpg": _jpeg(leaves, 1),
        "turned.jpg": _jpeg(leaves[:, ::-1], _TURN_RIGHT),
    }


def _stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Draw stripes of 2 to 9 pixels in two colours and four directions: (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    rows, columns = 4, 6
    cell = (y * rows // height) * columns + x * columns // width
    along = np.choose(cell % 4, [x, y, x + y, 2 * x - y])
    light = along % (2 + cell % 8) * 2 < 2 + cell % 8
    return np.where(light[..., None], [250, 190, 40], [10, 60, 120]).astype(np.uint8)


def _patches(height: int, width: int) -> NDArray[np.uint8]:
    """Draw gradients from 0 to 255 behind plain squares: (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 0], -1)
    colours = np.array(
        [[255, 0, 0], [0, 0, 255], [255, 160, 0], [0, 90, 255], [255, 255, 255], [0, 0, 0]]
    )
    cell = y * 6 // height + x * 5 // width
    inside = (y * 6 % height > height // 2) & (x * 5 % width > width // 2)
    image[inside] = colours[cell % len(colours)][inside]
    return image.astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _jpeg(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(stream, "JPEG", quality=_QUALITY, exif=exif)
    return stream.getvalue()
