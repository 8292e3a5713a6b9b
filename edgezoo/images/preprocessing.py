"""From an image file to what a network takes, with numpy and Pillow alone.

One implementation serves calibration, evaluation and the device. The protocol is the usual
one of ImageNet evaluation: RGB, shorter side resized to round(size / crop fraction) (Pillow's
filters, which average when they shrink), then the centre is cut out. Crop fraction and filter
are facts of the model (`edgezoo.core.spec.Resize`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from edgezoo.core.errors import DataError, words_of
from edgezoo.core.heartbeat import alive
from edgezoo.core.spec import USUAL_RESIZE, Normalization, Resize
from edgezoo.images.shards import Member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

Picture = TypeVar("Picture", Path, Member, Path | Member)
# Of a decoded picture, and of a resized one: 0.5 GB of RGB. Photographs have up to 150 million.
MOST_PIXELS = 178_956_970
MAX_UNREADABLE = 0.10  # share of a folder's files
_ORIENTATION = 0x0112  # EXIF's tag
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_MAGIC_BYTES = 12
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


def require_readable(unreadable: int, tried: int, folder: Path) -> None:
    """Check that few enough image files of a folder were skipped.

    Raises:
        DataError: more than `MAX_UNREADABLE` of them could not be read.
    """
    if unreadable > MAX_UNREADABLE * tried:
        raise DataError(
            f"{unreadable} of {tried} files in {folder} are not readable images.",
            "Up to a tenth is skipped; check the folder.",
        )


def load_pixels(
    image: Path | Member | IO[bytes], size: int, resize: Resize = USUAL_RESIZE
) -> NDArray[np.uint8]:
    """Decode, turn upright (EXIF), resize and crop one image.

    Of an animation the first picture counts; what is transparent keeps its colour; 16 bits of grey
    become the upper 8.

    Args:
        image: an image file, one in a tar file, or an open binary stream.
        size: height and width of the result in pixels.
        resize: the filter, and the share of the shorter side that the crop keeps.

    Returns:
        uint8 RGB pixels, shape (size, size, 3), values 0 to 255.

    Raises:
        DataError: the file is not an image of the kinds in `IMAGE_SUFFIXES`, it is damaged, or it
            would take more than `MOST_PIXELS`.
    """
    import numpy as np
    from PIL import Image

    alive()
    try:
        picture = _decoded(image)
    except Exception as error:  # decoders raise whatever a damaged file leads to
        raise DataError(f"{image} is not a readable image: {words_of(error)}.") from error
    width, height = picture.size
    target = resize.shorter_side(size)
    scale = target / min(width, height)
    scaled = (max(target, round(width * scale)), max(target, round(height * scale)))
    if scaled[0] * scaled[1] > MOST_PIXELS:
        raise DataError(f"{image} is not a readable image: {width} x {height} is too narrow.")
    picture = picture.resize(scaled, Image.Resampling[resize.filter.upper()])
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)), np.uint8)


def _decoded(image: Path | Member | IO[bytes]) -> Image.Image:
    """The first picture in a file, upright, as RGB."""
    from PIL import Image, ImageOps

    if isinstance(image, Path):
        with image.open("rb") as stream:
            return _decoded(stream)
    source = image.open() if isinstance(image, Member) else image
    # Pillow would try all that it knows, PostScript's interpreter among them.
    source.seek(0)  # where a stream stands does not matter to Pillow either
    kind = _kind(source.read(_MAGIC_BYTES))
    source.seek(0)
    with Image.open(source, formats=[kind]) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
        turned = opened.getexif().get(_ORIENTATION, 1) != 1
        # It copies, also where nothing is to be turned; doing it in place needs Pillow 9.5.
        upright: Image.Image = ImageOps.exif_transpose(opened) if turned else opened
        if upright.mode.startswith("I;16") or (upright.mode, kind) == ("I", "PNG"):
            return _upper_bits(upright).convert("RGB")
        if upright.mode in ("I", "F"):
            raise ValueError("its 32 bits a pixel have no known range")
        picture = upright if upright.mode == "RGB" else upright.convert("RGB")
        picture.load()
    return picture


def _upper_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16 bits of grey in 8: Pillow would cut it off at 255."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.asarray(picture.convert("I")) >> 8).astype(np.uint8))


def _kind(head: bytes) -> str:
    """Pillow's name of the format that a file begins as."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic) and (name != "WEBP" or head[8:12] == b"WEBP"):
            return name
    raise ValueError(f"it is none of {', '.join(sorted(set(_MAGIC.values())))}")


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


def recipe_hash(size: int, resize: Resize = USUAL_RESIZE) -> str:
    """A short hash of the resize-and-crop protocol, to tell figures of different ones apart."""
    facts = {
        "size": size,
        "resize": resize.shorter_side(size),
        "filter": resize.filter,
        "crop": "centre",
        "library": "Pillow",
        "exif": "applied",
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
