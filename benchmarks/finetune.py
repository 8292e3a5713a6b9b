"""Fine-tuning on photographs: ImageNet's classes grouped into dogs, birds and vehicles.

MobileNet 0.25 learns from the calibration images alone and is scored on the validation images,
which nothing in the training has seen; its int8 files are set against it on the same images. The
network's own classes tell these groups apart already, so this shows that the path works, not that
the task is hard.

Run: python benchmarks/finetune.py
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from _common import EDGEZOO, SHARED, measure, require_shared, save

LEAST_TOP1 = 0.90
MOST_DROP = 0.02
# Places in Keras' order of ImageNet's classes.
GROUPS: dict[str, list[int]] = {
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "dog": [*range(151, 269)],
    "vehicle": [
        403, 404, 405, 407, 436, 444, 466, 468, 472, 484, 510, 511, 547, 554, 555, 565, 569, 573,
        575, 586, 609, 625, 627, 628, 654, 656, 661, 665, 670, 671, 675, 705, 717, 734, 751, 757,
        779, 780, 802, 803, 814, 817, 820, 829, 833, 847, 864, 866, 867, 870, 871, 874, 880, 895,
        914,
    ],
}  # fmt: skip


def sort_images(folder: Path) -> dict[str, dict[str, int]]:
    """Links to the images by group: `folder`/calibration/<group> and `folder`/val/<group>."""
    groups = {index: name for name, indices in GROUPS.items() for index in indices}
    counts: dict[str, Counter[str]] = {"calibration": Counter(), "val": Counter()}
    with (SHARED / "imagenet" / "images.tsv").open(newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            group = groups.get(int(row["class_index"]))
            if group is None:
                continue
            part = row["file"].partition("/")[0]
            place = folder / part / group / Path(row["file"]).name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to((SHARED / "imagenet" / row["file"]).resolve())
            counts[part][group] += 1
    return {part: dict(found) for part, found in counts.items()}


def run(*arguments: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command prints, and what it cost."""
    told = measure([*EDGEZOO, *map(str, arguments), "--json"])
    if told["exit"]:
        sys.exit(told["stderr"])
    cost = {key: told[key] for key in ("cpu_s", "peak_rss_mb")}
    return json.loads(told["stdout"]), cost


def main() -> int:
    require_shared()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        counts = sort_images(folder)
        network = folder / "groups.keras"
        learned, learning = run("finetune", "mobilenet", "--alpha", "0.25",
                                "--data", folder / "calibration", "--held-out", folder / "val",
                                "-o", network)  # fmt: skip
        made, exporting = run("export", network, "--int8", "--calibration", folder / "calibration",
                              "-o", folder / "files")  # fmt: skip
        files = [entry["path"] for entry in made["artifacts"]]
        scored, _ = run("evaluate", network, *files, "--images", folder / "val",
                        "--reference", network)  # fmt: skip
    results = [
        {
            "file": Path(entry["artifact"]).name,
            "drop": entry["drop_points"] / 100,
            "drop_ci95": [end / 100 for end in entry["drop_points_ci95"]],
            **{
                key: entry[key]
                for key in ("images", "top1", "top1_ci95", "agreement_top1", "runtime")
            },
        }
        for entry in scored["results"]
    ]
    missed = [f"{entry['file']}: top-1 {entry['top1']:.3f}" for entry in results
              if entry["top1"] < LEAST_TOP1]  # fmt: skip
    missed += [f"{entry['file']}: drop {entry['drop']:.3f}" for entry in results
               if entry["drop"] > MOST_DROP]  # fmt: skip
    save(
        "finetune",
        {
            "model": "mobilenet 0.25 at 224 px",
            "images": counts,
            "epochs": Counter(epoch["stage"] for epoch in learned["epochs"]),
            "held_out": {key: learned["held_out"][key] for key in ("top1", "top1_ci95")},
            "results": results,
            "cost": {"finetune": learning, "export": exporting},
            "bounds": {"top1": LEAST_TOP1, "drop": MOST_DROP},
            "missed": missed,
        },
    )
    for entry in results:
        print(f"{entry['file']:24} {entry['top1']:.4f} drop {entry['drop']:.4f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
