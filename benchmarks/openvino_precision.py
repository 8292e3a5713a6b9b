"""What OpenVINO's default session makes of EdgeZoo's files, on a CPU with or without bfloat16.

Top-1 agreement with Keras on 650 photographs: by ../shared/tools/score.py, which opens a file as
OpenVINO does by itself, and by `edgezoo evaluate`. Float files ask for float32 themselves; with
--openvino-precision auto they leave the precision to the session. Writes
results/openvino-precision.json and exits 1 where a float32 file differs from Keras.

    python benchmarks/openvino_precision.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

MODELS = ((0.25, 128), (0.25, 224), (0.5, 160), (1.0, 224))
PRECISIONS = ("float32", "int8")
# Rows: the precision, and the end of the name of the file.
FILES = {"float32": "float32", "float32, auto": "float32_auto", "int8": "int8"}


def one_model(alpha: float, size: int, folder: Path) -> list[dict[str, Any]]:
    """Both files in both sessions."""
    calibration = common.SHARED / "imagenet" / "calibration"
    network = ["mobilenet", "--alpha", str(alpha), "--input-size", str(size), "--no-verify"]
    for words in (
        ["--format", "openvino,tflite", "--precision", ",".join(PRECISIONS),
         "--calibration", str(calibration), "--calibration-count", "100"],
        ["--format", "openvino", "--openvino-precision", "auto"],
    ):  # fmt: skip
        done = common.measure([*common.EDGEZOO, "export", *network, *words, "-o", str(folder)])
        if done["exit"]:
            sys.exit(done["stderr"])
    stem = f"mobilenet_{alpha:g}_{size}"
    files = [folder / f"{stem}_{end}.xml" for end in FILES.values()]
    told = common.measure(
        [*common.EDGEZOO, "evaluate", *map(str, files), "--images",
         str(common.SHARED / "imagenet" / "val"), "--reference",
         str(folder / f"{stem}_float32.tflite"), "--json"]
    )  # fmt: skip
    ours = {Path(r["artifact"]): r for r in json.loads(told["stdout"])["results"]}
    return [
        {
            "alpha": alpha,
            "input_size": size,
            "precision": precision,
            "default_session": common.score(file, alpha, size)["agreement"],
            "edgezoo_session": ours[file]["agreement_top1"],
        }
        for file, precision in zip(files, FILES, strict=True)
    ]


def main() -> int:
    common.require_shared()
    rows = []
    for alpha, size in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            rows += one_model(alpha, size, Path(folder))
    missed = [
        f"mobilenet {row['alpha']}/{row['input_size']} float32: {row['default_session']}"
        for row in rows
        if row["precision"] == "float32" and row["default_session"] < 0.999
    ]
    path = common.save("openvino-precision", {"files": rows, "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
