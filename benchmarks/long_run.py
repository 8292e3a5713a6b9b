"""What a long-lived process keeps: memory, files, processes, threads and temporary folders.

One process calls EdgeZoo's Python functions over and over: each round exports a small MobileNet of
fresh random weights to int8 files of all formats, and evaluates them in their three runtimes, in
this very process. Memory after the last round may be 10 % above that after the tenth; of all else
nothing may stay. Writes results/long-run.json and exits 1 where a bound does not hold.

    python benchmarks/long_run.py                          # 200 rounds, some 20 CPU minutes
    python benchmarks/long_run.py --rounds 12 --output FILE
    python benchmarks/long_run.py --rounds 40 --files a.tflite a.onnx a.xml --images FOLDER
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import _common as common

SETTLED = 10  # rounds after which memory may not grow much
MAX_GROWTH = 0.10
CLASSES = 4
IMAGES_A_CLASS = 5
SIZE = 32


def look(scratch: Path) -> dict[str, Any]:
    """What this process holds now."""
    gc.collect()
    me = os.getpid()
    children = Path(f"/proc/{me}/task").glob("*/children")
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "rss_mb": round(rss / 1e6, 1),
        "files": len(os.listdir("/proc/self/fd")),
        "children": sum(len(path.read_text().split()) for path in children),
        "threads": threading.active_count(),
        "native_threads": len(os.listdir("/proc/self/task")),
        "temporary": sorted(path.name for path in scratch.iterdir()),
    }


def draw(folder: Path) -> Path:
    """Labelled pictures to evaluate on."""
    import numpy as np
    from PIL import Image

    from edgezoo.images import imagenet_classes

    chance = np.random.default_rng(0)
    for wnid, _ in imagenet_classes.classes()[:CLASSES]:
        (folder / wnid).mkdir(parents=True)
        for number in range(IMAGES_A_CLASS):
            pixels = chance.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / wnid / f"{number}.png")
    return folder


def export(folder: Path, seed: int) -> list[Path]:
    """Files of fresh random weights; every round's are other ones, so no cache answers."""
    import edgezoo

    made = edgezoo.export(
        "mobilenet", output=folder, alpha=0.25, input_size=SIZE, weights="random", seed=seed,
        precision=("int8",), effort="fast", calibration_count=8, verify_count=8,
    )  # fmt: skip
    return [entry.path for entry in made.artifacts]


def rounds(count: int, files: list[Path], images: Path | None) -> list[dict[str, Any]]:
    """What is held after each round."""
    import edgezoo

    held: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="long-run-") as place:
        scratch, made = Path(place, "tmp"), Path(place, "made")
        scratch.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)
        os.environ.setdefault("EDGEZOO_CACHE", str(Path(place, "cache")))
        pictures = images or draw(Path(place, "pictures"))
        for number in range(count):
            artifacts = files or export(made, number)
            edgezoo.evaluate(artifacts, pictures, allow_overlap=True, resume=False)
            held.append({**look(scratch), "cpu_s": round(sum(os.times()[:4]), 1)})
            print(f"{number + 1}: {held[-1]}", file=sys.stderr, flush=True)
        tempfile.tempdir = None
    return held


def judge(held: list[dict[str, Any]]) -> dict[str, Any]:
    """What grew, and by how much."""
    settled, last = held[min(SETTLED, len(held)) - 1], held[-1]
    growth = last["rss_mb"] / settled["rss_mb"] - 1
    kept = ("files", "threads", "native_threads")
    missed = [
        f"{name}: {settled[name]}, then {last[name]}" for name in kept if last[name] > settled[name]
    ]
    missed += [f"{last[name]} stay" for name in ("children", "temporary") if last[name]]
    if growth > MAX_GROWTH:
        missed.append(f"memory grew by {growth:.1%}")
    return {"rounds": len(held), "growth": round(growth, 4), "settled": settled, "last": last,
            "missed": missed}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="evaluate these alone")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--output", type=Path, default=common.RESULTS / "long-run.json")
    chosen = parser.parse_args()
    begun = time.time()
    held = rounds(chosen.rounds, chosen.files, chosen.images)
    verdict = judge(held)
    facts = {
        "environment": common.environment(),
        "job": "evaluate" if chosen.files else "export and evaluate",
        "wall_s": round(time.time() - begun),
        **verdict,
        "held": held,
    }
    chosen.output.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{verdict['rounds']} rounds, memory {verdict['growth']:+.1%}, missed: "
          f"{verdict['missed'] or 'nothing'}")  # fmt: skip
    return bool(verdict["missed"])


if __name__ == "__main__":
    sys.exit(main())
