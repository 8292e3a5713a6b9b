"""Scores an ONNX file that takes normalised floats, in a default session; for int8_accuracy.py.

It needs nothing of EdgeZoo and no Keras, so that it can run under an emulator: the answers of the
float network are those that ../shared/tools/score.py kept.

    python benchmarks/_onnx_by_hand.py FILE ALPHA SIZE
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

IMAGENET = Path(__file__).resolve().parents[2] / "shared" / "imagenet"
SHORT_SIDE = 1 / 0.875


def load(path: Path, size: int) -> np.ndarray:
    """Centre of a picture, RGB from -1 to 1, as the arbiter in ../shared/tools prepares it."""
    picture = Image.open(path).convert("RGB")
    least = round(size * SHORT_SIDE)
    scale = least / min(picture.size)
    width, height = (max(least, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.crop((left, top, left + size, top + size))
    return np.asarray(picture, np.float32)[None] / 127.5 - 1


def main(file: str, alpha: str, size: str) -> None:
    with (IMAGENET / "images.tsv").open() as stream:
        rows = [r for r in csv.DictReader(stream, delimiter="\t") if r["file"].startswith("val/")]
    floats = np.load(Path(tempfile.gettempdir()) / f"edgezoo-reference-{alpha}-{size}.npy")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    pictures = (load(IMAGENET / row["file"], int(size)) for row in rows)
    answers = np.array([session.run(None, {taken.name: p})[0][0].argmax() for p in pictures])
    right = np.mean(answers == [int(row["class_index"]) for row in rows])
    same = np.mean(answers == floats.argmax(1))
    facts = {"images": len(rows), "top1": round(right, 4), "agree": round(same, 4)}
    print(json.dumps(facts, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
