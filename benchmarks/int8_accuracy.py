"""Accuracy of EdgeZoo's files and of the same libraries used by hand, in one run.

Every file is scored by ../shared/tools/score.py: the bare runtime in its default session on 650
ImageNet validation images. The peers are made by ../shared/tools/by_hand.py with the libraries'
defaults. ONNX files of both are scored on a CPU without VNNI too, where a default session
multiplies with instructions that saturate: on an emulated Haswell where this CPU has VNNI (Debian's
qemu-user-static). OpenVINO's default session computes float32 files in bfloat16 where the CPU has
it; openvino_precision.py is about that, and such a row is not held against the bound of float32.
Writes results/int8-accuracy.json and exits 1 where a bound does not hold. A network that is not
named keeps the rows that are there, with the machine and the commit that they came from.

    python benchmarks/int8_accuracy.py [ALPHA/SIZE...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

# (alpha, size): least agreement and largest drop of top-1 of each int8 file, and the least top-1 of
# a TFLite file with one scale for all channels of a layer. The weights of 0.5/160 and 1.0/224 come
# from quantization-aware training, which flatters every method.
BOUNDS = {
    (0.25, 224): (0.90, 0.010, 0.50),
    (0.5, 160): (0.955, 0.008, 0.64),
    (1.0, 224): (0.965, 0.008, 0.0),
}
# What an ONNX file may have less of agreement.
ONNX_ALLOWANCE = {(0.25, 224): 0.0, (0.5, 160): 0.015, (1.0, 224): 0.015}
# What procedural pictures may lose against images, in top-1.
SYNTHETIC_LOSS = 0.015
# (source, how many images)
CALIBRATIONS = (("images", 100), ("images", 500), ("synthetic", 200))
WITHOUT_VNNI = ("qemu-x86_64-static", "-cpu", "Haswell")
FIGURES = ("images", "float_top1", "top1", "drop", "agreement")


def export(
    alpha: float, size: int, output: Path, source: str, count: int, *options: str
) -> list[dict[str, Any]]:
    """EdgeZoo's files of one run, each scored."""
    calibration = source if source == "synthetic" else str(common.SHARED / "imagenet/calibration")
    command = [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha),
               "--input-size", str(size), "--calibration", calibration,
               "--calibration-count", str(count), *options,
               "--output", str(output), "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    rows = []
    for entry in json.loads(done["stdout"])["artifacts"]:
        path = Path(entry["path"])
        facts = common.score(path, alpha, size)
        checked = {k: entry["verification"][k] for k in ("verdict", "sqnr_db", "agreement_top1")}
        rows.append(
            {
                "format": entry["format"],
                "precision": entry["precision"],
                "calibration": source,
                "count": count,
                "options": list(options),
                "bytes": entry["bytes"],
                **{k: facts[k] for k in FIGURES},
                "verification": checked,
                "floats": computes_in(entry["format"]),
            }
        )
        bounded = "--precision" in options and source == "images"
        if bounded and path.suffix == ".onnx" and entry["precision"] == "int8":
            rows[-1]["without_vnni"] = without_vnni(path, alpha, size, facts)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def without_vnni(path: Path, alpha: float, size: int, here: dict[str, Any]) -> dict[str, Any]:
    """The figures of a default session on a CPU whose int8 products saturate."""
    if not common.has_vnni():
        return {"cpu": "this one", **{k: here[k] for k in FIGURES}}
    facts = common.score(path, alpha, size, WITHOUT_VNNI)
    return {"cpu": "Haswell, emulated", **{k: facts[k] for k in FIGURES}}


def computes_in(format: str) -> str:
    """What a default session multiplies floats in."""
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if format == "openvino" and "BF16" in capabilities else "float32"


def by_hand(alpha: float, size: int, output: Path) -> list[dict[str, Any]]:
    """The libraries' defaults on the same images."""
    done = subprocess.run(
        [sys.executable, common.SHARED / "tools" / "by_hand.py", output, str(alpha), str(size)],
        capture_output=True,
        text=True,
        check=True,
        env=common.keras_environment(),
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if common.has_vnni():
        script = Path(__file__).with_name("_onnx_by_hand.py")
        file = str(output / "i8.onnx")
        command = [*WITHOUT_VNNI, sys.executable, str(script), file, str(alpha), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = {"name": "onnx, default session, Haswell emulated", "alpha": alpha, "size": size}
        rows.append({**row, **json.loads(done.stdout)})
    return rows


def failures(alpha: float, size: int, rows: list[dict[str, Any]]) -> list[str]:
    """Bounds that do not hold, in words."""
    agreement, drop, coarse = BOUNDS[alpha, size]
    found = []
    real = {row["format"]: row["top1"] for row in rows if row["count"] == 500}
    for row in rows:
        name = f"mobilenet {alpha}/{size} {row['format']} {row['options']} {row['count']}"
        allowance = ONNX_ALLOWANCE[alpha, size] if row["format"] == "onnx" else 0
        least = agreement - allowance
        if row["precision"] == "float32":
            if row["agreement"] < 1 and row.get("floats", "float32") == "float32":
                found.append(f"{name}: agreement {row['agreement']} on float32")
        elif "per-tensor" in row["options"]:
            if row["top1"] < coarse:
                found.append(f"{name}: top-1 {row['top1']} is below {coarse}")
        elif row["calibration"] == "synthetic":
            if row["top1"] < real[row["format"]] - SYNTHETIC_LOSS:
                found.append(f"{name}: top-1 {row['top1']}, with images {real[row['format']]}")
        elif "--effort" not in row["options"]:
            for where, facts in (("", row), (" without VNNI", row.get("without_vnni", row))):
                if facts["agreement"] < least:
                    found.append(f"{name}{where}: agreement {facts['agreement']}, not {least:g}")
                if facts["drop"] > drop:
                    found.append(f"{name}{where}: drop {facts['drop']} is above {drop}")
    return found


def one_model(alpha: float, size: int, folder: Path) -> dict[str, Any]:
    """All ways to quantize one network, and the libraries' own."""
    rows = []
    for source, count in CALIBRATIONS:
        precisions = "float32,int8" if count == 500 else "int8"
        rows += export(alpha, size, folder / f"{source}-{count}", source, count,
                       "--precision", precisions)  # fmt: skip
    for options in (("--effort", "fast"), ("--effort", "best"), ("--granularity", "per-tensor")):
        rows += export(alpha, size, folder / options[1], "images", 500, "--int8", *options)
    return {
        "alpha": alpha,
        "size": size,
        "environment": common.environment(),
        "edgezoo": rows,
        "by_hand": by_hand(alpha, size, folder / "hand"),
    }


def main() -> int:
    common.require_shared()
    path = common.RESULTS / "int8-accuracy.json"
    known = json.loads(path.read_text())["models"] if path.is_file() else []
    models = {(model["alpha"], model["size"]): model for model in known}
    wanted = sys.argv[1:] or [f"{alpha}/{size}" for alpha, size in BOUNDS]
    for alpha, size in BOUNDS:
        if f"{alpha}/{size}" in wanted:
            with tempfile.TemporaryDirectory() as scratch:
                models[alpha, size] = one_model(alpha, size, Path(scratch))
        found = [models[key] for key in BOUNDS if key in models]
        missed = [
            line
            for model in found
            for line in failures(model["alpha"], model["size"], model["edgezoo"])
        ]
        common.save("int8-accuracy", {"models": found, "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
