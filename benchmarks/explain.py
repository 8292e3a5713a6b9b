"""Does `edgezoo explain` name what is wrong with a file, and what does it cost?

Puts one fault at a time into an int8 .tflite of mobilenet 0.25 at 224 px (the faults of
tests/support/faults.py), explains it on validation images beside the float file, and explains
whole files of mobilenet 0.5 at 160 px beside the Keras network, with their CPU time. Writes
results/explain.json and exits 1 where a fault is not named or a bound does not hold.

    python benchmarks/explain.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

sys.path.insert(0, str(common.ROOT))

from tests.support.faults import Spoilt

IMAGES = 64
MAX_CPU_S = 60.0
# What is done to the file, and what must be said of it: fault and layer.
FAULTS: dict[str, tuple[Any, str | None, str | None]] = {
    "none": (lambda file: None, None, None),
    "channels of the first layer swapped": (Spoilt.swap_channels, "channel order", None),
    "input of 0 to 1": (Spoilt.shift_input, "input range", None),
    "range of one layer clipped": (
        lambda file: file.clip("conv_pw_4_relu"),
        "clipped activations",
        "conv_pw_4_relu",
    ),
    "depthwise weights per tensor": (
        Spoilt.quantize_per_tensor,
        "per-tensor weights",
        "conv_dw_13_relu",
    ),
    "a bit flipped in 2 % of one layer's weights": (
        lambda file: file.flip_bits("conv_pw_6_relu"),
        "corrupt weights",
        "conv_pw_6_relu",
    ),
    "one bias shifted": (lambda file: file.shift_bias("conv_pw_7_relu"), "bias", "conv_pw_7_relu"),
}


def export(alpha: float, size: int, folder: Path) -> dict[tuple[str, str], Path]:
    """Float32 and int8 files in every format."""
    command = [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha), "--input-size",
               str(size), "--precision", "float32,int8", "--calibration",
               str(common.SHARED / "imagenet" / "calibration"), "--calibration-count", "100",
               "--output", str(folder), "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    entries = json.loads(done["stdout"])["artifacts"]
    return {(e["format"], e["precision"]): Path(e["path"]) for e in entries}


def explain(path: Path, *options: str) -> dict[str, Any]:
    """What the command says, in short, and its CPU seconds."""
    command = [*common.EDGEZOO, "explain", str(path), "--images",
               str(common.SHARED / "imagenet" / "val"), "--count", str(IMAGES), "--json",
               *options]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    facts = json.loads(done["stdout"])
    verdict = facts["verdict"]
    print(f"{path.name}: {verdict['text']}", flush=True)
    return {
        "fault": verdict["fault"],
        "layer": verdict["layer"],
        "agreement_top1": facts["agreement_top1"],
        "largest_kernel_steps": max(x["kernel_steps"] or 0 for x in facts["layers"]),
        "trace_difference": facts["trace_difference"],
        "error_shares": {c["cause"]: round(c["error_share"], 3) for c in facts["causes"]},
        "cpu_s": done["cpu_s"],
        "peak_rss_mb": done["peak_rss_mb"],
    }


def main() -> int:
    common.require_shared()
    missed, faults, whole = [], {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        files = export(0.25, 224, Path(scratch, "narrow"))
        reference = str(files["tflite", "float32"])
        for name, (spoil, fault, layer) in FAULTS.items():
            file = Spoilt(files["tflite", "int8"])
            spoil(file)
            found = explain(file.save(Path(scratch, "spoilt.tflite")), "--float", reference)
            faults[name] = found
            if (found["fault"], found["layer"]) != (fault, layer):
                missed.append(f"{name}: named {found['fault']} in {found['layer']}")
        for (format, precision), path in export(0.5, 160, Path(scratch, "wide")).items():
            if precision == "int8":
                whole[format] = explain(path)
                if whole[format]["cpu_s"] > MAX_CPU_S:
                    missed.append(f"{format}: {whole[format]['cpu_s']} CPU s")
    path = common.save(
        "explain", {"images": IMAGES, "faults": faults, "whole": whole, "missed": missed}
    )
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all named'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
