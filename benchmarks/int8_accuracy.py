"""Accuracy of EdgeZoo's files and of the same libraries used by hand, in one run.

Every file is scored by ../shared/tools/score.py: the bare runtime in its default session on 650
ImageNet validation images. The peers are made by ../shared/tools/by_hand.py with the libraries'
defaults. Writes results/int8-accuracy.json and exits 1 where a bound does not hold.

    python benchmarks/int8_accuracy.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

# (alpha, size): least agreement, largest drop of top-1, on each int8 file.
BOUNDS = {(0.5, 160): (0.90, 0.015), (0.25, 224): (0.79, 0.025)}
CALIBRATION_IMAGES = 500


def export(alpha: float, size: int, output: Path, calibration: str) -> list[dict[str, Any]]:
    """EdgeZoo's float32 and int8 files in every format, each scored."""
    command = [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha),
               "--input-size", str(size), "--precision", "float32,int8",
               "--calibration", calibration, "--calibration-count", str(CALIBRATION_IMAGES),
               "--output", str(output), "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    rows = []
    for entry in json.loads(done["stdout"])["artifacts"]:
        facts = common.score(Path(entry["path"]), alpha, size)
        checked = {k: entry["verification"][k] for k in ("verdict", "sqnr_db", "agreement_top1")}
        rows.append(
            {
                "format": entry["format"],
                "precision": entry["precision"],
                "calibration": "synthetic" if calibration == "synthetic" else "images",
                "bytes": entry["bytes"],
                **{k: facts[k] for k in ("images", "float_top1", "top1", "drop", "agreement")},
                "verification": checked,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def by_hand(alpha: float, size: int, output: Path) -> list[dict[str, Any]]:
    """The libraries' defaults on the same images."""
    done = subprocess.run(
        [sys.executable, common.SHARED / "tools" / "by_hand.py", output, str(alpha), str(size)],
        capture_output=True,
        text=True,
        check=True,
        env=common.keras_environment(),
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def failures(alpha: float, size: int, rows: list[dict[str, Any]]) -> list[str]:
    """Bounds that do not hold, in words."""
    agreement, drop = BOUNDS[alpha, size]
    found = []
    for row in rows:
        name = f"mobilenet {alpha}/{size} {row['format']} {row['precision']}"
        if row["precision"] == "float32" and row["agreement"] < 1:
            found.append(f"{name}: agreement {row['agreement']} on float32")
        if row["precision"] == "int8" and row["calibration"] == "images":
            if row["agreement"] < agreement:
                found.append(f"{name}: agreement {row['agreement']} is below {agreement}")
            if row["drop"] > drop:
                found.append(f"{name}: drop {row['drop']} is above {drop}")
    return found


def main() -> int:
    common.require_shared()
    models, missed = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for alpha, size in BOUNDS:
            folder = Path(scratch, f"{alpha}-{size}")
            images = str(common.SHARED / "imagenet" / "calibration")
            rows = export(alpha, size, folder / "images", images)
            rows += export(alpha, size, folder / "synthetic", "synthetic")
            missed += failures(alpha, size, rows)
            hand = by_hand(alpha, size, folder / "hand")
            models.append({"alpha": alpha, "size": size, "edgezoo": rows, "by_hand": hand})
    path = common.save(
        "int8-accuracy",
        {"calibration_images": CALIBRATION_IMAGES, "models": models, "missed": missed},
    )
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
