"""Pictures that EdgeZoo draws itself, on which a device shows how it decodes and resizes.

Two are PNG, so that nothing but the resize can differ: stripes, of which every filter makes
something else, and patches whose colours no swap of channels leaves alone. Two are JPEG:
procedural leaves, once upright and once turned by an EXIF tag.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from edgezoo.calibration import synthetic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TURN_RIGHT = 6  # EXIF: the camera was held upright, the picture must be turned clockwise
_QUALITY = 80


def pictures(size: int) -> dict[str, bytes]:
    """The golden pictures by file name.

    Args:
        size: the largest input size in pixels that they are for: they are more than twice as
            large, so that resizing must shrink them.

    Returns:
        PNG and JPEG files; the same bytes for the same size and version of Pillow.
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
    """Two colours in stripes of 2 to 9 pixels, in four directions: uint8 (height, width, 3)."""
    import numpy as np

    y, x = np.mgrid[:height, :width]
    rows, columns = 4, 6
    cell = (y * rows // height) * columns + x * columns // width
    along = np.choose(cell % 4, [x, y, x + y, 2 * x - y])
    light = along % (2 + cell % 8) * 2 < 2 + cell % 8
    return np.where(light[..., None], [250, 190, 40], [10, 60, 120]).astype(np.uint8)


def _patches(height: int, width: int) -> NDArray[np.uint8]:
    """Slopes of colour from 0 to 255 behind plain squares: uint8 (height, width, 3)."""
    import numpy as np

    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 0], -1)
    colours = np.array(
        [[255, 0, 0], [0, 0, 255], [255, 160, 0], [0, 90, 255], [255, 255, 255], [0, 0, 0]]
    )
    cell = y * 6 // height + x * 5 // width
    inside = (y * 6 % height > height // 2) & (x * 5 % width > width // 2)
    picture[inside] = colours[cell % len(colours)][inside]
    return picture.astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _jpeg(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    import numpy as np
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(stream, "JPEG", quality=_QUALITY, exif=exif)
    return stream.getvalue()
