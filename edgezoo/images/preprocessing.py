"""From an image file to the input of a network, with numpy and Pillow only.

Calibration, evaluation and devices use this one implementation. For the models of the zoo it is the
usual protocol of ImageNet evaluation: RGB, shorter side resized to round(size / crop fraction),
centre crop. Mode, crop fraction and filter are facts of the model (`edgezoo.core.spec.Resize`).
Pillow's filters average over all source pixels when they shrink an image; OpenCV's usual ones do
not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from edgezoo.core import lfs
from edgezoo.core.errors import DataError, words_of
from edgezoo.core.files import open_regular
from edgezoo.core.heartbeat import alive
from edgezoo.core.spec import USUAL_RESIZE, Frame, Normalization, Resize
from edgezoo.images.folders import LeftOut, named, walk
from edgezoo.images.shards import Member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

ImageFile = TypeVar("ImageFile", Path, Member, Path | Member)
# Of a decoded and of a resized image: 0.5 GB of RGB. Photographs have up to 150 million.
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
_MAGIC_BYTES = 64
_UNREADABLE = "is not a readable image: "
# Brands of files in the container of MPEG-4, by the package that reads them.
_BRANDS = {"heic": "HEIC", "heix": "HEIC", "hevc": "HEIC", "hevx": "HEIC", "heim": "HEIC"}
_BRANDS |= {"heis": "HEIC", "mif1": "HEIC", "msf1": "HEIC", "avif": "AVIF", "avis": "AVIF"}


def require_readable(
    unreadable: int,
    tried: int,
    folder: Path,
    skipped: Sequence[LeftOut] = (),
    are: str = "are not readable images",
) -> None:
    """Check that few enough image files of a folder were skipped.

    Args:
        unreadable, tried: how many were skipped, and of how many.
        folder: of the images.
        skipped: names and reasons, where they are known.
        are: why they were skipped.

    Raises:
        DataError: more than `MAX_UNREADABLE` of them could not be read.
    """
    if unreadable > MAX_UNREADABLE * tried:
        names = f": {named(skipped)}" if skipped else ""
        raise DataError(
            f"{unreadable} of {tried} files in {folder} {are}{names}.",
            "Up to a tenth is skipped; check the folder.",
        )


def load_pixels(
    image: Path | Member | IO[bytes],
    size: int | Frame,
    resize: Resize = USUAL_RESIZE,
    margin: tuple[int, int] = (0, 0),
) -> NDArray[np.uint8]:
    """Decode, rotate (EXIF), resize and crop one image.

    The first frame of an animation counts; transparent pixels keep their colour; 16-bit grey is
    reduced to its upper 8 bits. Colours become grey by ITU-R 601. An image that has the right
    height and width already is not resized or cropped.

    Args:
        image: an image file, a member of a tar file, or an open binary stream.
        size: of the result; a number for a square of RGB pixels.
        resize: mode, filter and crop fraction.
        margin: rows and columns to keep on each side: what a crop cuts off, or, where it cuts
            nothing off there, the last row or column again.

    Returns:
        uint8 pixels, shape (height, width, channels) and twice the margin, values 0 to 255; RGB,
        or grey.

    Raises:
        DataError: the file is not an image of the kinds in `IMAGE_SUFFIXES`, is damaged, or has
            more than `MOST_PIXELS`.
    """
    import numpy as np
    from PIL import Image

    alive()
    frame = Frame.of(size)
    try:
        decoded = _decode(image)
    except Exception as error:  # decoders raise many classes for damaged files
        raise DataError(f"{image} {_UNREADABLE}{words_of(error)}.") from error
    if frame.channels == 1:
        decoded = decoded.convert("L")
    width, height = decoded.size
    if (height, width) != (frame.height, frame.width):
        scaled = resize.scaled(width, height, frame)
        if scaled[0] * scaled[1] > MOST_PIXELS:
            raise DataError(f"{image} {_UNREADABLE}{width} x {height} is too narrow.")
        decoded = decoded.resize(scaled, Image.Resampling[resize.filter.upper()])
        # Beyond its edges an image is black, which is how "fit" fills the rest.
        left, top = (scaled[0] - frame.width) // 2, (scaled[1] - frame.height) // 2
        down, across = margin if resize.mode == "crop" else (0, 0)
        margin = (margin[0] - down, margin[1] - across)
        box = (left - across, top - down, left + frame.width + across, top + frame.height + down)
        decoded = decoded.crop(box)
    pixels = np.asarray(decoded, np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], frame.channels)
    if margin == (0, 0):
        return pixels
    sides = ((margin[0],) * 2, (margin[1],) * 2, (0, 0))
    return np.pad(pixels, sides, "edge")


def _decode(image: Path | Member | IO[bytes]) -> Image.Image:
    """Return the first image in a file, upright, as RGB."""
    from PIL import Image, ImageOps

    if isinstance(image, Path):
        with open_regular(image) as stream:
            return _decode(stream)
    source = image.open() if isinstance(image, Member) else image
    # Only formats of this list are decoded: Pillow would try all of its decoders, and run
    # PostScript's interpreter on untrusted files.
    source.seek(0)  # Pillow ignores the position of a stream too
    kind = _kind(source.read(_MAGIC_BYTES))
    source.seek(0)
    with Image.open(source, formats=[kind]) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
        turned = opened.getexif().get(_ORIENTATION, 1) != 1
        # exif_transpose always copies; the in-place variant needs Pillow 9.5.
        upright: Image.Image = ImageOps.exif_transpose(opened) if turned else opened
        if upright.mode.startswith("I;16") or (upright.mode, kind) == ("I", "PNG"):
            return _upper_bits(upright).convert("RGB")
        if upright.mode in ("I", "F"):
            raise ValueError("its 32 bits per pixel have no known range")
        rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
        rgb.load()
    return rgb


def _upper_bits(image: Image.Image) -> Image.Image:
    """Reduce 16-bit grey to 8 bits; Pillow's own conversion clips at 255."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.asarray(image.convert("I")) >> 8).astype(np.uint8))


def _kind(head: bytes) -> str:
    """Return Pillow's name of a file's format, by its first bytes."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic) and (name != "WEBP" or head[8:12] == b"WEBP"):
            return name
    if head[4:8] == b"ftyp" and (brand := head[8:12].decode("latin-1")) in _BRANDS:
        return _high_efficiency(_BRANDS[brand])
    if not head:
        raise ValueError("it is empty")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError("it is a page of text, not an image")
    lfs.refuse_pointer(head)
    known = {*_MAGIC.values(), *_BRANDS.values()}
    raise ValueError(f"it is none of {', '.join(sorted(known))}")


def _high_efficiency(kind: str) -> str:
    """Return Pillow's name of HEIC or AVIF, and let pillow-heif add what Pillow lacks."""
    from PIL import Image, features

    if kind == "AVIF" and features.check("avif"):
        return "AVIF"
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError(f"{kind} needs pillow-heif: pip install pillow-heif") from error
    if kind == "AVIF":
        pillow_heif.register_avif_opener()
        return "AVIF"
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener()
    return "HEIF"


def normalize(pixels: NDArray[np.uint8], how: Normalization) -> NDArray[np.float32]:
    """Compute `preprocess_input` of the model's family in numpy.

    Pixels are RGB, shape (..., 3), or grey, shape (..., 1); the result is float32, channels in the
    network's own order.
    """
    import numpy as np

    source = pixels[..., ::-1] if how.channel_order == "BGR" else pixels
    scale, offset = np.asarray(how.scale, np.float32), np.asarray(how.offset, np.float32)
    return np.asarray(source.astype(np.float32) * scale + offset, np.float32)


def find_images(folder: Path) -> list[Path]:
    """Return all image files below a folder, by their suffix, sorted; see `folders.walk`."""
    return list(walk(folder).images)


def why_unreadable(
    images: Iterable[ImageFile], root: Path, size: int | Frame, resize: Resize = USUAL_RESIZE
) -> tuple[LeftOut, ...]:
    """Return the reasons why images could not be read, by reading them again."""
    found = []
    for image in images:
        inner = image.inner if isinstance(image, Member) else image.relative_to(root).as_posix()
        try:
            load_pixels(image, size, resize)
            reason = "could not be read before"
        except DataError as error:
            _, _, words = error.message.partition(_UNREADABLE)
            reason = words.rstrip(".") or error.message
        found.append(LeftOut(inner, reason))
    return tuple(found)


def load_many(
    paths: Iterable[ImageFile],
    size: int | Frame,
    resize: Resize = USUAL_RESIZE,
    margin: tuple[int, int] = (0, 0),
) -> Iterator[tuple[ImageFile, NDArray[np.uint8] | None]]:
    """Yield each image with its pixels, or with None if it cannot be read."""
    for path in paths:
        try:
            yield path, load_pixels(path, size, resize, margin)
        except DataError:
            yield path, None


def recipe_hash(size: int | Frame, resize: Resize = USUAL_RESIZE) -> str:
    """Return a short hash of how images become pixels, which results depend on."""
    frame = Frame.of(size)
    side = min(frame.height, frame.width)
    facts: dict[str, object] = {"size": side, "resize": resize.shorter_side(side)}
    facts |= {"filter": resize.filter, "crop": "centre", "library": "Pillow", "exif": "applied"}
    # Only what differs from a square of RGB that is cropped: recorded hashes stay the same.
    if resize.mode != "crop":
        facts["crop"] = resize.mode
    if frame != Frame.of(side):
        facts["frame"] = frame.shape
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
