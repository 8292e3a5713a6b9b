"""From an image file to what a network takes, with numpy and Pillow alone.

One implementation serves calibration, evaluation and the device. The protocol is the usual
one of ImageNet evaluation: RGB, shorter side resized to round(size / crop fraction) (Pillow's
filters, which average when they shrink), then the centre is cut out. Crop fraction and filter
are facts of the model (`edgezoo.spec.Resize`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from edgezoo.errors import DataError
from edgezoo.shards import Member
from edgezoo.spec import USUAL_RESIZE, Normalization, Resize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Picture = TypeVar("Picture", Path, Member, Path | Member)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


def load_pixels(
    image: Path | Member | IO[bytes], size: int, resize: Resize = USUAL_RESIZE
) -> NDArray[np.uint8]:
    """Decode, turn upright (EXIF), resize and crop one image.

    Args:
        image: an image file, one in a tar file, or an open binary stream.
        size: height and width of the result in pixels.
        resize: the filter, and the share of the shorter side that the crop keeps.

    Returns:
        uint8 RGB pixels, shape (size, size, 3), values 0 to 255.

    Raises:
        DataError: the file is not an image that Pillow can decode.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        source = image.open() if isinstance(image, Member) else image
        with Image.open(source) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            picture = opened if opened.mode == "RGB" else opened.convert("RGB")
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{image} is not a readable image: {error}.") from error
    width, height = picture.size
    target = resize.shorter_side(size)
    scale = target / min(width, height)
    scaled = (max(target, round(width * scale)), max(target, round(height * scale)))
    picture = picture.resize(scaled, Image.Resampling[resize.filter.upper()])
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)), np.uint8)


def normalize(pixels: NDArray[np.uint8], how: Normalization) -> NDArray[np.float32]:
    """What `preprocess_input` of the model's family computes, in numpy.

    Args:
        pixels: RGB, shape (..., 3), values 0 to 255.
        how: the family's numbers.

    Returns:
        float32 of the same shape, channels in the network's own order.
    """
    import numpy as np

    source = pixels[..., ::-1] if how.channel_order == "BGR" else pixels
    scale, offset = np.asarray(how.scale, np.float32), np.asarray(how.offset, np.float32)
    return np.asarray(source.astype(np.float32) * scale + offset, np.float32)


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, by their ending, in sorted order; hidden ones left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def load_many(
    paths: Iterable[Picture], size: int, resize: Resize = USUAL_RESIZE
) -> Iterator[tuple[Picture, NDArray[np.uint8] | None]]:
    """Pixels of each image in turn; None for one that cannot be read, so that callers count it."""
    for path in paths:
        try:
            yield path, load_pixels(path, size, resize)
        except DataError:
            yield path, None


def file_sha256(path: Path | Member) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def recipe_hash(size: int, resize: Resize = USUAL_RESIZE) -> str:
    """A short hash of the resize-and-crop protocol, to tell figures of different ones apart."""
    facts = {"size": size, "resize": resize.shorter_side(size), "filter": resize.filter,
             "crop": "centre", "library": "Pillow", "exif": "applied"}  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
