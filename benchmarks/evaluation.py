"""How near `edgezoo evaluate` comes to what decoding and inference allow, and what memory it takes.

On 650 images, for int8 .tflite files, in rounds of four parts that take turns: decoding alone and
inference alone, each by one thread and by as many threads as there are cores, and the evaluation
itself on all cores. Two bounds follow, in images a second:

- stages: the slower of the two stages, where each has half of the cores (one thread each on two);
- work: the CPU work of both stages, spread evenly over all cores. None can be faster than this.

Wall time, as ratios within a round: run it on a quiet machine. Writes results/evaluation.json and
exits 1 where a bound does not hold.

    python benchmarks/evaluation.py
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import _common as common

ROUNDS = 5
MODELS = (("0.25", "128"), ("0.5", "160"), ("1", "224"))
LEAST_RATIO = 0.9
MOST_MB, MOST_GROWTH = 1200, 1.05


def export(folder: Path, alpha: str, size: str) -> Path:
    command = [*common.EDGEZOO, "export", "mobilenet", "--alpha", alpha, "--input-size", size,
               "--int8", "--format", "tflite", "--no-verify", "-q", "--output", str(folder),
               "--calibration", str(common.SHARED / "imagenet" / "calibration"),
               "--calibration-count", "100", "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    return Path(json.loads(done["stdout"])["artifacts"][0]["path"])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def speed(path: Path, images: list[Path]) -> dict[str, Any]:
    """Images a second of both stages alone and of the whole, medians and ratios of rounds."""
    from edgezoo.evaluation import ranks
    from edgezoo.images.preprocessing import load_pixels
    from edgezoo.inference.predict import open_artifact, predict
    from edgezoo.system.machine import usable_cores

    cores = usable_cores()
    opened = [open_artifact(path) for _ in range(cores)]
    contract = opened[0][0].required_contract()
    pixels = [load_pixels(image, contract.input_size, contract.resize) for image in images[:64]]

    def decode(place: int, threads: int) -> None:
        for image in images[place::threads]:
            load_pixels(image, contract.input_size, contract.resize)

    def infer(place: int, threads: int) -> None:
        for i in range(place, len(images), threads):
            predict(opened[place][1], contract, pixels[i % len(pixels)][None])

    def alone(stage: Callable[[int, int], None], threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return seconds(lambda: list(pool.map(stage, range(threads), [threads] * threads)))

    parts: dict[str, Callable[[], float]] = {
        "decode_one_core": lambda: alone(decode, 1),
        "infer_one_core": lambda: alone(infer, 1),
        "decode_all_cores": lambda: alone(decode, cores),
        "infer_all_cores": lambda: alone(infer, cores),
        "evaluation": lambda: seconds(lambda: ranks.rank(path, lambda _: images)),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(ROUNDS):
        order = list(parts) if number % 2 else list(reversed(parts))
        for name in order:
            taken[name].append(parts[name]())
    rounds = [dict(zip(taken, values, strict=True)) for values in zip(*taken.values(), strict=True)]
    half = cores / 2
    ratios = {
        "of_stages": [max(r["decode_one_core"], r["infer_one_core"]) / half / r["evaluation"]
                      for r in rounds],
        "of_work": [(r["decode_all_cores"] + r["infer_all_cores"]) / r["evaluation"]
                    for r in rounds],
    }  # fmt: skip
    return {
        "file": path.name,
        "cores": cores,
        "images_per_s": {
            name: round(len(images) / statistics.median(values), 1)
            for name, values in taken.items()
        },
        **{name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "rounds": {name: [round(v, 4) for v in values] for name, values in taken.items()},
    }


def memory(path: Path, images: list[Path], folder: Path) -> dict[str, Any]:
    """Peak megabytes of the command on all images, and on ten times as many."""
    peaks = {}
    for times in (1, 10):
        place = folder / f"times{times}"
        for image in images:
            (place / image.parent.name).mkdir(parents=True, exist_ok=True)
            for i in range(times):
                os.symlink(image.resolve(), place / image.parent.name / f"{i}-{image.name}")
        done = common.measure([*common.EDGEZOO, "evaluate", str(path), "--images", str(place),
                               "--no-resume", "--allow-overlap", "-q", "--json"])  # fmt: skip
        if done["exit"]:
            sys.exit(done["stderr"])
        count = json.loads(done["stdout"])["results"][0]["images"]
        peaks[str(count)] = done["peak_rss_mb"]
    few, many = peaks.values()
    return {"file": path.name, "peak_rss_mb": peaks, "growth": round(many / few, 3)}


def main() -> int:
    common.require_shared()
    from edgezoo.images.preprocessing import find_images

    images = find_images(common.SHARED / "imagenet" / "val")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = [export(folder, *model) for model in MODELS]
        sizes = [memory(path, images, folder / path.stem) for path in (paths[0], paths[-1])]
        speeds = [speed(path, images) for path in paths]
    missed = [
        f"{entry['file']}: {entry[name]} of the bound of {name[3:]}"
        for entry in speeds
        for name in ("of_stages", "of_work")
        if entry[name] < LEAST_RATIO
    ]
    for entry in sizes:
        if max(entry["peak_rss_mb"].values()) > MOST_MB or entry["growth"] > MOST_GROWTH:
            missed.append(f"{entry['file']}: {entry['peak_rss_mb']} MB")
    facts = {"images": len(images), "speed": speeds, "memory": sizes, "missed": missed}
    path = common.save("evaluation", facts)
    for entry in speeds:
        print(f"{entry['file']:35} {entry['images_per_s']['evaluation']:7.1f} images/s, "
              f"{entry['of_stages']:.2f} of stages, {entry['of_work']:.2f} of work")  # fmt: skip
    for entry in sizes:
        print(f"{entry['file']:35} MB by images: {entry['peak_rss_mb']}")
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
