"""A fingerprint of what a picture shows, which scaling and recompression leave nearly alone.

The difference hash (Neal Krawetz, "Kind of Like That", 2013): the picture in grey, shrunk to
`_SIDE` rows of `_SIDE + 1` values; a bit says whether a value is darker than its right neighbour.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.images.samples.listing import Sample

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 16
# Bits of 256. benchmarks/sample_likeness.py measures it, docs/decisions/0062 says why.
TOLERANCE = 40


def of_picture(picture: Image) -> str:
    """The fingerprint of a decoded picture: 64 hexadecimal digits."""
    import numpy as np
    from PIL.Image import Resampling

    grey = picture.convert("RGB").convert("L")
    small = grey.resize((_SIDE + 1, _SIDE), Resampling.LANCZOS)
    values = np.asarray(small)
    return np.packbits(values[:, :-1] < values[:, 1:]).tobytes().hex()


def distance(a: str, b: str) -> int:
    """How many bits differ."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def why_another(path: Path, sample: Sample) -> str | None:
    """Why an image file is not the one of the list; None where it may be."""
    import PIL.Image

    try:
        with PIL.Image.open(path, formats=["JPEG"]) as picture:
            if picture.size != (sample.width, sample.height):
                return (
                    f"it has {picture.width} x {picture.height} pixels, not "
                    f"{sample.width} x {sample.height}"
                )
            bits = distance(of_picture(picture), sample.likeness)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        return f"it is not a whole image ({type(error).__name__})"
    if bits > TOLERANCE:
        return f"it shows something else ({bits} of 256 bits of its likeness differ)"
    return None
