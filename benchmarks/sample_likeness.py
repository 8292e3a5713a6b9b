"""The list of the sample images, and how well its perceptual hashes distinguish images.

Reads the copies in ../shared, which are scaled to a shorter side of at most 256 pixels, and writes
edgezoo/images/samples/imagenet.tsv: name, width, height and hash of each original. The distance
between the hashes of an original and its copy is estimated with copies of copies, which are
smaller and recompressed. Writes results/sample-likeness.json; exits 1 if the tolerance is too
close to either side.

    python benchmarks/sample_likeness.py
"""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import _common as common
import numpy as np
from PIL import Image

from edgezoo.images.samples import likeness
from edgezoo.images.samples.listing import COLLECTION

# Scale and JPEG quality of copies of copies. The originals have a shorter side of about 375
# pixels, the copies 256: a factor of 0.68.
COPIES = ((1.0, 75), (0.68, 90), (0.68, 60), (0.5, 75))
APART = 1.5  # minimum distance of two different images, in tolerances


def listed() -> list[dict[str, str]]:
    with (common.SHARED / "imagenet" / "images.tsv").open(newline="") as stream:
        table = csv.DictReader(stream, delimiter="\t")
        rows = [row for row in table if row["source_repo"].startswith("EliSchwartz/")]
    return sorted(rows, key=lambda row: row["wnid"])


def copy(image: Image.Image, scale: float, quality: int) -> Image.Image:
    width, height = (max(1, round(side * scale)) for side in image.size)
    stream = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def nearest_others(prints: list[str]) -> list[int]:
    """Return for each hash the distance to the nearest of the others."""
    bits = np.array([np.unpackbits(np.frombuffer(bytes.fromhex(p), np.uint8)) for p in prints])
    signs = bits.astype(np.float32) * 2 - 1
    apart = ((bits.shape[1] - signs @ signs.T) / 2).round().astype(int)
    np.fill_diagonal(apart, bits.shape[1])
    return [int(value) for value in apart.min(1)]


def main() -> int:
    common.require_shared()
    lines, prints = [], []
    moved: dict[tuple[float, int], list[int]] = {kind: [] for kind in COPIES}
    for row in listed():
        with Image.open(common.SHARED / "imagenet" / row["file"]) as opened:
            image = opened.convert("RGB")
        prints.append(likeness.of_image(image))
        width, height = row["original_size"].split("x")
        lines.append(f"{row['source_path']}\t{width}\t{height}\t{prints[-1]}\n")
        for scale, quality in COPIES:
            again = likeness.of_image(copy(image, scale, quality))
            moved[scale, quality].append(likeness.distance(prints[-1], again))
    COLLECTION.path.write_text("".join(lines), encoding="utf-8")
    nearest = nearest_others(prints)
    facts: dict[str, Any] = {
        "pictures": len(prints),
        "bits": 4 * len(prints[0]),
        "tolerance": likeness.TOLERANCE,
        "copies": [
            {
                "scale": scale,
                "quality": quality,
                "median": int(np.median(values)),
                "p99": int(np.percentile(values, 99)),
                "largest": max(values),
            }
            for (scale, quality), values in moved.items()
        ],
        "strangers": {"smallest": min(nearest), "median": int(np.median(nearest))},
    }
    facts["missed"] = missed = [
        f"copies at scale {entry['scale']} differ by up to {entry['largest']} bits"
        for entry in facts["copies"]
        if entry["largest"] > likeness.TOLERANCE
    ]
    if min(nearest) < APART * likeness.TOLERANCE:
        missed.append(f"two images differ by {min(nearest)} bits only")
    common.save("sample-likeness", facts)
    print(json.dumps({key: facts[key] for key in ("copies", "strangers", "missed")}, indent=1))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
