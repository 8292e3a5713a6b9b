"""What an int8 file remembers of the images that it was calibrated on.

An accuracy that is measured on them proves nothing, so each image leaves the first bytes of a
SHA-256 in the file's metadata: of the image file, so that another name hides nothing, or of the
pixels where an array was given. Five bytes an image keep 500 images within 3.4 kB; one of 50,000
other images is then taken for one of those by chance in one evaluation of 40,000.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgezoo.core.errors import DataError, interpreting
from edgezoo.core.files import file_sha256
from edgezoo.core.spec import USUAL_RESIZE, Resize
from edgezoo.images.preprocessing import load_pixels
from edgezoo.images.shards import Member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BYTES = 5


def of_file(path: Path | Member) -> bytes:
    """Fingerprint of an image file's bytes."""
    return bytes.fromhex(file_sha256(path))[:BYTES]


def of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Fingerprint of decoded pixels: uint8 RGB, shape (size, size, 3)."""
    return hashlib.sha256(pixels.tobytes()).digest()[:BYTES]


def pack(prints: Iterable[bytes], of: Literal["file", "pixels"]) -> dict[str, Any]:
    """A JSON object for the metadata; sorted, so that it tells no order."""
    joined = b"".join(sorted(set(prints)))
    return {"of": of, "bytes": BYTES, "sha256": base64.b64encode(joined).decode()}


def overlapping(
    metadata: dict[str, Any],
    paths: Iterable[Path | Member],
    size: int,
    resize: Resize = USUAL_RESIZE,
) -> list[Path | Member] | None:
    """Which image files calibrated an artifact.

    Args:
        metadata: `contract.calibration` of the artifact.
        paths: image files, or members of tar files.
        size, resize: of the contract, for metadatas that were made of pixels.

    Returns:
        None where the metadata cannot tell, as in files of earlier versions.
    """
    if metadata.get("source") == "synthetic":
        return []
    found = _known(metadata)
    if found is None:
        return None
    known, step, kind = found

    def fingerprint(path: Path | Member) -> bytes | None:
        try:
            if kind == "pixels":
                return of_pixels(load_pixels(path, size, resize))[:step]
            return of_file(path)[:step]
        except (OSError, DataError):
            return None  # whoever scores it will say so

    return [path for path in paths if fingerprint(path) in known]


def overlapping_pixels(metadata: dict[str, Any], prints: Iterable[bytes]) -> int | None:
    """How many decoded pictures, by their fingerprints (`of_pixels`), calibrated an artifact.

    None where the metadata cannot tell: that of image files knows no pixels.
    """
    if metadata.get("source") == "synthetic":
        return 0
    found = _known(metadata)
    if found is None or found[2] != "pixels":
        return None
    known, step, _ = found
    return sum(fingerprint[:step] in known for fingerprint in prints)


def _known(metadata: dict[str, Any]) -> tuple[set[bytes], int, str] | None:
    """Fingerprints, the length of each, and what they are of; None in earlier versions' files."""
    facts = metadata.get("fingerprints")
    if facts is None:
        return None
    with interpreting("The metadata of the calibration in the file"):
        data, step, kind = base64.b64decode(facts["sha256"]), int(facts["bytes"]), str(facts["of"])
        return {data[i : i + step] for i in range(0, len(data), step)}, step, kind
