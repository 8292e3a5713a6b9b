"""What EdgeZoo costs: start-up, one classification, the main job; CPU seconds and memory.

Whole processes with all their children, median of several runs. The peer of the main job is
TensorFlow's import alone, as a yardstick of the machine. Writes results/cost.json and exits 1
where a bound does not hold.

    python benchmarks/cost.py
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

RUNS = 7
BOUNDS = {"help": 0.4, "import": 0.25, "classify": 1.0, "export": 40.0, "cached": 1.0}
MAX_PEAK_MB = 1400
MAX_TRANSPOSES = 2


def repeated(command: list[str], runs: int = RUNS) -> dict[str, Any]:
    """Median of CPU seconds, with all samples."""
    common.measure(command)  # warms the disk cache
    samples = [common.measure(command) for _ in range(runs)]
    return {
        "cpu_s": statistics.median(s["cpu_s"] for s in samples),
        "samples": [s["cpu_s"] for s in samples],
        "peak_rss_mb": max(s["peak_rss_mb"] or 0 for s in samples) or None,
    }


def main_job(folder: Path) -> list[str]:
    """Three int8 files of mobilenet 0.5/160, 100 calibration images, verified."""
    return [*common.EDGEZOO, "export", "mobilenet", "--alpha", "0.5", "--input-size", "160",
            "--int8", "--calibration", str(common.SHARED / "imagenet" / "calibration"),
            "--calibration-count", "100", "--output", str(folder), "--json"]  # fmt: skip


def made(command: list[str]) -> dict[str, Any]:
    """The main job, whose cache is empty."""
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    facts = json.loads(done["stdout"])
    return {
        "cpu_s": done["cpu_s"],
        "wall_s": done["wall_s"],
        "peak_rss_mb": done["peak_rss_mb"],
        "steps": facts["usage"],
        "files": {Path(e["path"]).name: e["bytes"] for e in facts["artifacts"]},
    }


def answered(command: list[str]) -> dict[str, Any]:
    """The main job once more, from the cache."""
    if not json.loads(common.measure(command)["stdout"])["cached"]:
        sys.exit("The main job was not answered from the cache.")
    return repeated(command)


def graph(folder: Path) -> dict[str, Any]:
    """Static shapes, and Transpose nodes of the ONNX file."""
    import onnx

    model = onnx.load(str(folder / "mobilenet_0.5_160_int8.onnx"))
    values = [*model.graph.input, *model.graph.output]
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]
    return {
        "shapes": shapes,
        "static": all(n > 0 for shape in shapes for n in shape),
        "transposes": sum(node.op_type == "Transpose" for node in model.graph.node),
    }


def main() -> int:
    common.require_shared()
    photo = next((common.SHARED / "imagenet" / "val").rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ |= {"EDGEZOO_CACHE": f"{scratch}/cache", "EDGEZOO_CACHE_LIMIT": "1GB"}
        job = made(main_job(folder))
        shape = graph(folder)
        tflite = folder / "mobilenet_0.5_160_int8.tflite"
        facts: dict[str, Any] = {
            "help": repeated([*common.EDGEZOO, "--help"]),
            "import": repeated([sys.executable, "-c", "import edgezoo"]),
            "bare_python": repeated([sys.executable, "-c", "pass"]),
            "classify": repeated([*common.EDGEZOO, "classify", str(tflite), str(photo)]),
            "import_tensorflow": repeated([sys.executable, "-c", "import tensorflow"], runs=2),
            "export": job,
            "cached": answered(main_job(folder)),
            "onnx_graph": shape,
        }
    missed = [
        f"{name}: {facts[name]['cpu_s']} CPU s is above {bound}"
        for name, bound in BOUNDS.items()
        if facts[name]["cpu_s"] > bound
    ]
    if job["peak_rss_mb"] > MAX_PEAK_MB:
        missed.append(f"export: peak {job['peak_rss_mb']} MB is above {MAX_PEAK_MB}")
    if not shape["static"] or shape["transposes"] > MAX_TRANSPOSES:
        missed.append(f"onnx graph: {shape}")
    path = common.save("cost", {**facts, "missed": missed})
    for name in BOUNDS:
        print(f"{name:10} {facts[name]['cpu_s']:7.2f} CPU s (at most {BOUNDS[name]})")
    print(f"peak {job['peak_rss_mb']} MB; {path.relative_to(common.ROOT)}: "
          f"{missed or 'all bounds hold'}")  # fmt: skip
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
