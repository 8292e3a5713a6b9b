"""A perceptual hash, which scaling and recompression change little.

The difference hash (Neal Krawetz, "Kind of Like That", 2013): the image in grey, shrunk to
`_SIDE` rows of `_SIDE + 1` values; each bit says whether a value is darker than its right
neighbour.
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


def of_image(image: Image) -> str:
    """Return the hash of a decoded image: 64 hexadecimal digits."""
    import numpy as np
    from PIL.Image import Resampling

    grey = image.convert("RGB").convert("L")
    small = grey.resize((_SIDE + 1, _SIDE), Resampling.LANCZOS)
    values = np.asarray(small)
    return np.packbits(values[:, :-1] < values[:, 1:]).tobytes().hex()


def distance(a: str, b: str) -> int:
    """Return the number of differing bits."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def why_another(path: Path, sample: Sample) -> str | None:
    """Return why an image file is not the listed one; None if it may be."""
    import PIL.Image

    try:
        with PIL.Image.open(path, formats=["JPEG"]) as image:
            if image.size != (sample.width, sample.height):
                return (
                    f"it has {image.width} x {image.height} pixels, not "
                    f"{sample.width} x {sample.height}"
                )
            bits = distance(of_image(image), sample.likeness)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        return f"it is not a complete image ({type(error).__name__})"
    if bits > TOLERANCE:
        return f"it shows something else ({bits} of 256 bits of its likeness differ)"
    return None
