"""Fingerprints of the images that an int8 file was calibrated on, stored in the file.

An accuracy that is measured on these images proves nothing, so evaluations look for them. A
fingerprint is the first bytes of a SHA-256: of the image file, so that renaming hides nothing, or
of the pixels of an array. With five bytes, 500 images take 3.4 kB; the chance that one of 50,000
other images matches one of them is 1 in 40,000.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from edgezoo.core.arrays import Pixels
from edgezoo.core.calibration_metadata import CalibrationMetadata, Fingerprints
from edgezoo.core.errors import DataError, interpreting
from edgezoo.core.files import file_sha256
from edgezoo.core.spec import USUAL_RESIZE, Frame, Resize
from edgezoo.images.preprocessing import load_pixels
from edgezoo.images.shards import Member

BYTES = 5


def of_file(path: Path | Member) -> bytes:
    """Return the fingerprint of an image file."""
    return bytes.fromhex(file_sha256(path))[:BYTES]


def of_pixels(pixels: Pixels) -> bytes:
    """Return the fingerprint of decoded pixels: uint8 RGB, shape (size, size, 3)."""
    return hashlib.sha256(pixels.tobytes()).digest()[:BYTES]


def pack(prints: Iterable[bytes], of: Literal["file", "pixels"]) -> Fingerprints:
    """Join fingerprints for the metadata; sorted, so that they do not reveal an order."""
    joined = b"".join(sorted(set(prints)))
    return Fingerprints(of, BYTES, base64.b64encode(joined).decode())


def overlapping(
    metadata: CalibrationMetadata,
    paths: Iterable[Path | Member],
    size: int | Frame,
    resize: Resize = USUAL_RESIZE,
) -> list[Path | Member] | None:
    """Return the image files that an artifact was calibrated on.

    None where the metadata has no fingerprints, as in files of earlier versions.

    Args:
        metadata: of the artifact's contract.
        paths: image files, or members of tar files.
        size, resize: of the contract, for fingerprints of pixels.
    """
    found = metadata.fingerprints
    if metadata.source == "synthetic" or found is None:
        return [] if metadata.source == "synthetic" else None
    known = _known(found)

    def fingerprint(path: Path | Member) -> bytes | None:
        try:
            by_pixels = found.of == "pixels"
            whole = of_pixels(load_pixels(path, size, resize)) if by_pixels else of_file(path)
            return whole[: found.bytes]
        except (OSError, DataError):
            return None  # reported by the code that goes on to use the image

    return [path for path in paths if fingerprint(path) in known]


def overlapping_pixels(metadata: CalibrationMetadata, prints: Iterable[bytes]) -> int | None:
    """Count the images, by fingerprints of their pixels, that an artifact was calibrated on.

    None where the metadata has no fingerprints, or those of image files.
    """
    found = metadata.fingerprints
    if metadata.source == "synthetic":
        return 0
    if found is None or found.of != "pixels":
        return None
    known = _known(found)
    return sum(fingerprint[: found.bytes] in known for fingerprint in prints)


def _known(found: Fingerprints) -> set[bytes]:
    with interpreting("The metadata of the calibration in the file"):
        data = base64.b64decode(found.sha256)
    return {data[i : i + found.bytes] for i in range(0, len(data), found.bytes)}
