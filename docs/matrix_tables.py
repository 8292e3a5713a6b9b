"""The cells of benchmarks/matrix.py as tables of docs/matrix.md."""

from __future__ import annotations

import json
from typing import Any

from tables import RESULTS, table


def matrix() -> str:
    """Return the text of matrix.md, one table per model."""
    cells = [json.loads(path.read_text()) for path in sorted((RESULTS / "matrix").glob("*.json"))]
    parts = [
        "# Matrix\n",
        "Every model in every format and precision, by `python benchmarks/matrix.py`. SQNR and\n"
        "agreement compare the probabilities with the Keras network on 64 photographs;\n"
        "time is CPU milliseconds of one inference on one thread; cost is that of the process\n"
        "that wrote the file, and for int8 of those that observed ranges and prepared weights.\n"
        "The conversion from Keras, which all files of a model share, is above its table.\n\n"
        "Networks without ImageNet weights on that machine have seeded random ones and estimated\n"
        "batch norm: their SQNR shows how closely a file follows the network, but says nothing\n"
        "about the top-1 of a trained one.\n",
    ]
    parts += _surprises([cell for cell in cells if "failed" not in cell])
    parts += _norms(cells)
    for model in sorted({cell["model"] for cell in cells}):
        parts += _matrix_model([cell for cell in cells if cell["model"] == model])
    return "\n".join(parts)


def _surprises(cells: list[dict[str, Any]]) -> list[str]:
    """Unexpected results, computed from the cells."""
    by_name = {(c["model"], c["format"], c["precision"]): c for c in cells}
    machines = sorted({_machine(cell) for cell in cells})
    lines = []
    for name in sorted({cell["format"] for cell in cells}):
        ratios = sorted(
            (_ms(cell) / _ms(by_name[model, name, "float32"]), model)
            for (model, form, precision), cell in by_name.items()
            if form == name and precision == "int8" and (model, name, "float32") in by_name
        )
        (least, quick), (most, slow) = ratios[0], ratios[-1]
        lines.append(
            f"- int8 takes {least:.2f} ({quick}) to {most:.2f} ({slow}) of the time of float32 "
            f"in {name}: the gain depends on the network, not only on the format."
        )
    fp16 = [
        _ms(cell) / _ms(by_name[model, name, "float32"])
        for (model, name, precision), cell in by_name.items()
        if precision == "float16" and (model, name, "float32") in by_name
    ]
    lines.append(
        f"- float16 files take {min(fp16):.2f} to {max(fp16):.2f} of float32's time on a CPU: "
        "they are half the size, but not faster."
    )
    least_db = min((c["sqnr_db"], c["model"]) for c in cells if c["precision"] == "float16")
    lines.append(f"- float16 files have at least {least_db[0]:.0f} dB ({least_db[1]}).")
    return [
        "## Unexpected results\n",
        f"Measured on {'; '.join(machines)}.\n",
        "\n".join(lines) + "\n",
    ]


def _norms(cells: list[dict[str, Any]]) -> list[str]:
    """Batch norms that do not follow a convolution."""
    kinds = {"tflite": ("MUL", "ADD"), "onnx": ("BatchNormalization",), "openvino": ("Multiply",)}
    rows = []
    for model in sorted({cell["model"] for cell in cells if cell["model"].startswith("densenet")}):
        found = {
            cell["format"]: cell["operations"]["ops"]
            for cell in cells
            if cell["model"] == model and cell["precision"] == "float32"
        }
        if "BatchNormalization" not in found["onnx"]:
            continue  # made by code that left Mul and Add there
        counts = (
            ", ".join(f"{found[name].get(kind, 0)} {kind}" for kind in named)
            for name, named in kinds.items()
        )
        rows.append([model, *counts])
    if not rows:
        return []
    return [
        "## Batch norms\n",
        "A batch norm after a convolution becomes part of its weights and bias, in every\n"
        "format, and costs nothing. Half of a DenseNet's are between a concatenation and\n"
        "a ReLU: several layers use the values, so no layer before can absorb the norm, and the\n"
        "ReLU separates it from the convolution after it. These remain, in float32:\n",
        table(["model", "tflite", "onnx", "openvino"], rows) + "\n",
        "In TFLite the ReLU is part of the ADD. onnxruntime computes an ONNX BatchNormalization\n"
        "in the layout of the adjacent convolutions, together with its ReLU.\n"
        "OpenVINO's plugin fuses Multiply, Add and Relu into one kernel when it loads the file.\n"
        "In int8 all of them are integer operations in TFLite; ONNX has Mul and Add between\n"
        "quantizers.\n",
    ]


def _machine(cell: dict[str, Any]) -> str:
    facts = cell["environment"]["machine"]
    return f"{facts['cpu']} ({', '.join(facts['features'])})"


def _ms(cell: dict[str, Any]) -> float:
    return float(cell["latency"]["cpu_ms"])


def _matrix_model(cells: list[dict[str, Any]]) -> list[str]:
    order = {name: place for place, name in enumerate(("float32", "float16", "int8"))}
    cells = sorted(cells, key=lambda cell: (cell["format"], order[cell["precision"]]))
    done = [cell for cell in cells if "failed" not in cell]
    parts = [f"## {cells[0]['model']}\n"]
    if done:
        source = done[0]["steps"]["source"]
        parts.append(
            f"{done[0]['weights']} weights, {done[0]['input_size']} px; conversion from Keras: "
            f"{source['cpu_s']:.0f} CPU s, {source['peak_rss_mb']:.0f} MB.\n"
        )
    columns = ["format", "precision", "kB", "CPU s", "MB", "SQNR dB", "agreement", "ms"]
    return [*parts, table(columns, [_matrix_row(cell) for cell in cells])]


def _matrix_row(cell: dict[str, Any]) -> list[object]:
    names: list[object] = [cell["format"], cell["precision"]]
    if "failed" in cell:
        return [*names, cell["failed"], "", "", "", "", ""]
    steps = [step for name, step in cell["steps"].items() if name != "source"]
    return [
        *names,
        round(cell["bytes"] / 1000),
        f"{sum(step['cpu_s'] for step in steps):.1f}",
        f"{max(step['peak_rss_mb'] for step in steps):.0f}",
        f"{cell['sqnr_db']:.1f}",
        f"{cell['agreement']:.3f}",
        f"{cell['latency']['cpu_ms']:.2f}" if "cpu_ms" in cell["latency"] else "-",
    ]
