"""Committed results of benchmarks/ as tables of docs/measurements.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import measured_runtimes
import measured_speed
from tables import RESULTS, label, origin, table


def measurements() -> str:
    """Return the text of measurements.md, one section for each result file."""
    parts = [
        "# Measurements\n",
        "Generated from the raw results of the scripts in [benchmarks](../benchmarks/README.md).\n"
        "The validation images are easier than ImageNet's full set: compare rows with each other,\n"
        "not with published accuracies. Rows of the libraries are files that a script made with\n"
        "the same libraries and without EdgeZoo.\n",
    ]
    for name, section in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            parts += section(json.loads(path.read_text(encoding="utf-8")))
    return "\n".join(parts)


def _int8_accuracy(result: dict[str, Any]) -> list[str]:
    parts = [
        "## Int8 accuracy\n",
        "Default sessions of the runtimes, without EdgeZoo. Without VNNI: agreement of an ONNX\n"
        "file on a CPU whose int8 products saturate, emulated (Haswell) if this one has VNNI.\n"
        "OpenVINO computes float32 files of other tools in bfloat16 on CPUs that support it.\n",
    ]
    for model in result["models"]:
        parts += [_heading(model), table(_ACCURACY_COLUMNS, _accuracy_rows(model))]
    return parts


def _int8_families(result: dict[str, Any]) -> list[str]:
    rows = [
        [model["model"], name, model["edgezoo"][name]["sqnr_db"], model["by_hand"][name]["sqnr_db"]]
        for model in result["models"]
        for name in ("tflite", "onnx", "openvino")
    ]
    return [
        f"## Int8 of untrained networks\n\n{origin(result)}\n",
        "SQNR of the logits in decibels on 64 photographs; seeded random weights with estimated\n"
        "batch norm, 100 calibration photographs, default sizes and sessions.\n",
        table(["model", "format", "EdgeZoo", "libraries"], rows),
        "CPU seconds of all processes that make the three int8 files, and the largest peak memory\n"
        "of one process in MB.\n",
        table(
            ["model", "EdgeZoo s", "libraries s", "ratio", "EdgeZoo MB", "libraries MB"],
            [_family_cost(model) for model in result["models"]],
        ),
    ]


def _family_cost(model: dict[str, Any]) -> list[object]:
    ours, theirs = model["conversion"]["edgezoo"], model["conversion"]["by_hand"]
    return [
        model["model"],
        f"{ours['cpu_s']:.0f}",
        f"{theirs['cpu_s']:.0f}",
        f"{ours['cpu_s'] / theirs['cpu_s']:.2f}",
        f"{ours['peak_rss_mb']:.0f}",
        f"{theirs['peak_rss_mb']:.0f}",
    ]


def _int8_methods(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            model["model"],
            method,
            f"{facts['agreement']:.3f}",
            f"{100 * facts['drop']:.1f}",
            f"{facts['sqnr_db']:.1f}",
            f"{facts['prepare_cpu_s']:.0f}",
        ]
        for model in result["models"]
        for method, facts in model["methods"].items()
    ]
    return [
        f"## Int8 methods, one by one\n\n{origin(result)}\n",
        f"TFLite int8, {result['calibration_images']} calibration photographs, 650 scored;\n"
        "drop of top-1 in points. The standard error of an agreement of .95 is .009.\n",
        table(["model", "method", "agreement", "drop", "SQNR dB", "CPU s"], rows),
    ]


def _efficientnet_lite(result: dict[str, Any]) -> list[str]:
    columns = ["model", "made by", "top-1 %", "agreement", "drop, points"]
    return [
        f"## EfficientNet-Lite\n\n{origin(result)}\n",
        "Agreement with the Keras network and drop against it, on the same images.\n",
        table(columns, [row for model in result["models"] for row in _lite_rows(model)]),
    ]


def _lite_rows(model: dict[str, Any]) -> list[list[object]]:
    name = model["model"]
    keras, torch = model["keras_top1"], model["torch_top1"]
    peer = f"PyTorch {model['torch'].partition('+')[0]}"
    rows: list[list[object]] = [
        [name, "Keras", f"{100 * keras:.1f}", "-", "-"],
        [name, peer, f"{100 * torch:.1f}", f"{model['agreement']:.3f}",
         f"{100 * (keras - torch):.1f}"],
    ]  # fmt: skip
    for file in model["files"]:
        made = f"EdgeZoo, {file['format']} {file['precision']}"
        rows.append([name, made, f"{100 * file['top1']:.1f}", f"{file['agreement']:.3f}",
                     f"{100 * file['drop']:.1f}"])  # fmt: skip
    return rows


def _openvino_precision(result: dict[str, Any]) -> list[str]:
    rows = [
        [f"{row['alpha']}/{row['input_size']}", row["precision"],
         f"{row['default_session']:.3f}", f"{row['edgezoo_session']:.3f}"]
        for row in result["files"]
    ]  # fmt: skip
    return [
        f"## OpenVINO's default session\n\n{origin(result)}\n",
        "Top-1 agreement with Keras on 650 images. Float files ask for float32 themselves; with\n"
        "`--openvino-precision auto` a session computes in bfloat16 if the CPU supports it.\n",
        table(["mobilenet", "precision", "default session", "EdgeZoo's session"], rows),
    ]


def _conversion(result: dict[str, Any]) -> list[str]:
    rows = []
    for model in result["models"]:
        for name in ("tflite", "onnx", "openvino"):
            sides, peer = model[name]["sides"], model[name]["peer"]
            seconds = (f"{sides[side]['cpu_s']:.1f}" for side in ("edgezoo", peer))
            memory = (f"{sides[side]['peak_rss_mb']:.0f}" for side in ("edgezoo", peer))
            rows.append(
                [model["model"], name, *seconds, *memory, peer, f"{model[name]['ratio']:.2f}"]
            )
    columns = ["model", "format", "EdgeZoo s", "libraries s", "EdgeZoo MB", "libraries MB",
               "cheapest route of the libraries", "ratio"]  # fmt: skip
    return [
        f"## Conversion\n\n{origin(result)}\n",
        "Float32, CPU seconds of whole processes from the import of TensorFlow to the file, and\n"
        "peak memory. The ratio is that of the seconds; the goal is at most 1.2. OpenVINO's own\n"
        "reader of Keras networks drops the names of layers, so EdgeZoo converts by TFLite and\n"
        "ONNX ([why](decisions/0073-converters-without-kernels.md)).\n",
        table(columns, rows),
    ]


def _int8_latency(result: dict[str, Any]) -> list[str]:
    files = ["mobilenet", "format", "made by", "ms", "kB"]
    pairs = ["mobilenet", "format", "file", "relative to", "time"]
    return [
        f"## Int8 latency and size\n\n{origin(result)}\n",
        "One thread, CPU milliseconds. Files of the libraries take normalised input by default.\n"
        "8-bit input/output costs a TFLite file one more operation, and the caller none.\n",
        table(files, _latency(result)),
        "Time of a file relative to one of the libraries that takes the same input and predicts\n"
        "correctly, medians of ratios of adjacent blocks.\n",
        table(pairs, _latency_pairs(result)),
    ]


def _cost_section(result: dict[str, Any]) -> list[str]:
    return [f"## Cost\n\n{origin(result)}\n", table(["what", "CPU s", "peak MB"], _cost(result))]


_ACCURACY_COLUMNS = ["made by", "file", "calibrated on", "top-1 %", "agreement with Keras",
                     "without VNNI"]  # fmt: skip


def _heading(model: dict[str, Any]) -> str:
    images, top1 = model["edgezoo"][0]["images"], 100 * model["edgezoo"][0]["float_top1"]
    return (
        f"### mobilenet {model['alpha']} at {model['size']} px\n\n{origin(model)}\n\n"
        f"Keras: {top1:.1f} % top-1 on {images} images.\n"
    )


def _accuracy_rows(model: dict[str, Any]) -> list[list[object]]:
    ours: list[list[object]] = [
        [
            f"EdgeZoo {' '.join(_choice(row['options']))}".strip(),
            f"{row['format']} {row['precision']}",
            "-" if row["precision"] == "float32" else _calibration(row),
            f"{100 * row['top1']:.1f}",
            f"{row['agreement']:.3f}",
            f"{row['without_vnni']['agreement']:.3f}" if "without_vnni" in row else "-",
        ]
        for row in model["edgezoo"]
    ]
    return [*ours, *(_by_hand_row(row) for row in model["by_hand"][1:])]


def _by_hand_row(row: dict[str, Any]) -> list[object]:
    top1, agreement = f"{100 * row['top1']:.1f}", f"{row['agree']:.3f}"
    figures = ["-", agreement] if "emulated" in row["name"] else [agreement, "-"]
    return ["libraries", row["name"], "photographs", top1, *figures]


def _choice(options: list[str]) -> list[str]:
    """Options of an export that choose how to quantize."""
    return [] if "--precision" in options else [option for option in options if option != "--int8"]


def _calibration(row: dict[str, Any]) -> str:
    kind = {"images": "photographs", "synthetic": "synthetic images"}[row["calibration"]]
    return f"{row['count']} {kind}"


def _latency(latency: dict[str, Any]) -> list[list[object]]:
    return [
        [
            f"{model['alpha']}/{model['size']}",
            name,
            label(maker),
            f"{median:.2f}",
            round(sizes[maker] / 1000) if maker in (sizes := model[name]["bytes"]) else "-",
        ]
        for model in latency["models"]
        for name in ("tflite", "onnx", "openvino")
        for maker, median in model[name]["cpu_ms"].items()
    ]


def _latency_pairs(latency: dict[str, Any]) -> list[list[object]]:
    return [
        [
            f"{model['alpha']}/{model['size']}",
            name,
            label(pair["edgezoo"]),
            label(pair["over"]),
            f"{pair['ratio']:.3f}",
        ]
        for model in latency["models"]
        for name in ("tflite", "onnx", "openvino")
        for pair in model[name]["ratios"]
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


def _explained(result: dict[str, Any]) -> list[str]:
    """What `explain` reports for faulty files, and what it costs."""
    faults = [
        [
            name,
            found["fault"] or "nothing is wrong",
            found["layer"] or "-",
            f"{100 * found['agreement_top1']:.1f}",
            f"{100 * max(found['error_shares'].values()):.0f} "
            f"({max(found['error_shares'], key=found['error_shares'].get)})",
        ]
        for name, found in result["faults"].items()
    ]
    whole = [
        [format, f"{found['cpu_s']:.1f}", _megabytes(found["peak_rss_mb"])]
        for format, found in result["whole"].items()
    ]
    return [
        f"## Explaining\n\n{origin(result)}\n",
        "An int8 .tflite of mobilenet 0.25 at 224 px with one fault at a time; "
        f"{result['images']}\nvalidation images, compared with the float file.\n",
        table(
            ["fault", "reported", "layer", "agreement %", "largest share of the error %"], faults
        ),
        f"mobilenet 0.5 at 160 px, {result['images']} images compared with the Keras network, "
        "whole command.\n",
        table(["file", "CPU s", "peak MB"], whole),
    ]


def _fuzz(result: dict[str, Any]) -> list[str]:
    rows = []
    for name, kind in result["kinds"].items():
        exits = kind["exits"]
        others = sum(n for code, n in exits.items() if code not in ("0", "5"))
        deaths = ", ".join(f"{n} {word}" for word, n in kind["child_deaths"].items()) or "-"
        rows.append([name, kind["inputs"], exits.get("0", 0), exits.get("5", 0), others, deaths,
                     f"{kind['longest_s']:.1f}"])  # fmt: skip
    return [
        f"## Damaged and hostile files\n\n{origin(result)}\n",
        f"{result['inputs']} inputs, {result['repeated_as_typed']} of them repeated with the\n"
        f"command line; {len(result['failures'])} failures, {len(result['leaks'])} leaks,\n"
        f"{result['cpu_s']} CPU s. Opened: the damage did not affect the reader. Ended: how\n"
        "limited processes died; each gave exit code 5. Seconds are wall time on a\n"
        "shared machine.\n",
        table(["kind", "inputs", "opened", "exit 5", "other exits", "ended", "longest s"], rows),
    ]


def _finetune(result: dict[str, Any]) -> list[str]:
    counts = result["images"]["calibration"], result["images"]["val"]
    words = [f"{sum(part.values())} images" for part in counts]
    rows = [
        [
            entry["file"],
            f"{100 * entry['top1']:.1f} %",
            "{:.1f} to {:.1f}".format(*(100 * end for end in entry["top1_ci95"])),
            f"{100 * entry['drop']:.1f}",
        ]
        for entry in result["results"]
    ]
    return [
        f"## Fine-tuning\n\n{origin(result)}\n",
        f"{result['model']}, trained on {words[0]} of {', '.join(counts[0])} and scored on\n"
        f"{words[1]} that it has not seen: {result['cost']['finetune']['cpu_s']:.0f} CPU s, peak "
        f"{result['cost']['finetune']['peak_rss_mb']:.0f} MB. ImageNet's own\n"
        "classes already separate these groups.\n",
        table(["file", "top-1", "95 % interval", "drop, points"], rows),
    ]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "int8-accuracy": _int8_accuracy,
    "int8-methods": _int8_methods,
    "int8-families": _int8_families,
    "int8-latency": _int8_latency,
    "efficientnet-lite": _efficientnet_lite,
    "openvino-precision": _openvino_precision,
    "conversion": _conversion,
    "cost": _cost_section,
    "explain": _explained,
    "finetune": _finetune,
    **measured_runtimes.SECTIONS,
    **measured_speed.SECTIONS,
    "fuzz": _fuzz,
}
