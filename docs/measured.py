"""Committed results of benchmarks/ as tables of a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def measurements() -> str:
    """The committed results of benchmarks/, as tables."""
    accuracy, cost = _result("int8-accuracy"), _result("cost")
    latency, families = _result("int8-latency"), _result("int8-families")
    parts = [
        "# Measurements\n",
        "Made by the scripts in [benchmarks](../benchmarks/README.md), from the raw results\n"
        "beside them. The validation images are easier than ImageNet's full set: compare rows,\n"
        "not these figures with published ones.\n",
        f"## Int8 accuracy\n\n{_origin(accuracy)}\n",
    ]
    for model in accuracy["models"]:
        parts += [_heading(model), table(_ACCURACY_COLUMNS, _accuracy_rows(model))]
    parts += [
        f"## Int8 of untrained networks\n\n{_origin(families)}\n",
        "SQNR of the logits in decibels on 64 photographs; seeded random weights with estimated\n"
        "batch norm, 100 photographs to calibrate, default sizes and sessions.\n",
        table(["model", "format", "EdgeZoo", "by hand"], _families(families)),
        f"## Int8 latency and size\n\n{_origin(latency)}\n",
        "One thread, CPU milliseconds; files made by hand take normalised input.\n",
        table(["mobilenet", "format", "made by", "ms", "EdgeZoo's time over it", "kB"],
              _latency(latency)),
        f"## Cost\n\n{_origin(cost)}\n",
        table(["what", "CPU s", "peak MB"], _cost(cost)),
    ]  # fmt: skip
    return "\n".join(parts)


_ACCURACY_COLUMNS = ["made by", "file", "calibrated on", "top-1 %", "agreement with Keras"]


def _result(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def _origin(result: dict[str, Any]) -> str:
    facts = result["environment"]
    machine = facts["machine"]
    features = ", ".join(machine["features"]) or "no int8 features"
    return (
        f"{facts['date'][:10]}, {machine['cpu']} ({machine['architecture']}, {features}), "
        f"{machine['cores']} cores, Python {facts['python']}, commit {facts['commit'][:10]}."
    )


def _heading(model: dict[str, Any]) -> str:
    images, top1 = model["edgezoo"][0]["images"], 100 * model["edgezoo"][0]["float_top1"]
    return (
        f"### mobilenet {model['alpha']} at {model['size']} px\n\n"
        f"Keras: {top1:.1f} % top-1 on {images} images.\n"
    )


def _accuracy_rows(model: dict[str, Any]) -> list[list[object]]:
    ours = [
        [
            f"EdgeZoo {' '.join(row['options']).replace('--precision', '')}".strip(),
            f"{row['format']} {row['precision']}",
            "-" if row["precision"] == "float32" else _calibration(row),
            f"{100 * row['top1']:.1f}",
            f"{row['agreement']:.3f}",
        ]
        for row in model["edgezoo"]
    ]
    hand = [
        ["by hand", row["name"], "photographs", f"{100 * row['top1']:.1f}", f"{row['agree']:.3f}"]
        for row in model["by_hand"][1:]
    ]
    return [*ours, *hand]


def _calibration(row: dict[str, Any]) -> str:
    kind = {"images": "photographs", "synthetic": "drawn pictures"}[row["calibration"]]
    return f"{row['count']} {kind}"


def _families(families: dict[str, Any]) -> list[list[object]]:
    return [
        [model["model"], name, model["edgezoo"][name]["sqnr_db"], model["by_hand"][name]["sqnr_db"]]
        for model in families["models"]
        for name in ("tflite", "onnx", "openvino")
    ]


def _latency(latency: dict[str, Any]) -> list[list[object]]:
    return [
        [
            f"{model['alpha']}/{model['size']}",
            name,
            maker,
            f"{median:.2f}",
            model[name]["edgezoo_over"].get(maker, "-"),
            round(sizes[maker] / 1000) if maker in (sizes := model[name]["bytes"]) else "-",
        ]
        for model in latency["models"]
        for name in ("tflite", "onnx", "openvino")
        for maker, median in model[name]["cpu_ms"].items()
    ]


def _cost(cost: dict[str, Any]) -> list[list[object]]:
    names = {
        "help": "`edgezoo --help`",
        "import": "`import edgezoo`",
        "bare_python": "Python alone, for comparison",
        "classify": "`edgezoo classify` of one photograph with a .tflite",
        "export": "three int8 files of mobilenet 0.5 at 160 px, 100 images, verified",
        "import_tensorflow": "importing TensorFlow alone, for comparison",
    }
    return [
        [
            text,
            f"{cost[key]['cpu_s']:.2f}",
            f"{cost[key]['peak_rss_mb'] or 0:.0f}".lstrip("0") or "-",
        ]
        for key, text in names.items()
    ]


def _megabytes(peak: float | None) -> str:
    return "-" if peak is None else f"{peak:.0f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"
