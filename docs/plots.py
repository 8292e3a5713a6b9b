"""Committed results of benchmarks/ as plots of the site: one page fragment each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tables import RESULTS, label

FORMATS = ("tflite", "onnx", "openvino")
COLOURS = ("#4269d0", "#efb118", "#3ca951")
OPTIONS = {
    "fast": "--effort fast",
    "": "default",
    "best": "--effort best",
    "per-tensor": "--granularity per-tensor",
}


def write(folder: Path) -> None:
    """Draw every plot into `folder`/NAME.html, the first with plotly's own script."""
    import plotly.io

    folder.mkdir(exist_ok=True)
    scripted = False
    for name, figure in figures().items():
        text = plotly.io.to_html(
            figure, full_html=False, include_plotlyjs=not scripted, div_id=f"plot-{name}",
            config={"displaylogo": False, "responsive": True},
        )  # fmt: skip
        scripted = True
        path = folder / f"{name}.html"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def figures() -> dict[str, Any]:
    """What an option costs: agreement with Keras, and time relative to files of the libraries."""
    accuracy = json.loads((RESULTS / "int8-accuracy.json").read_text(encoding="utf-8"))
    latency = json.loads((RESULTS / "int8-latency.json").read_text(encoding="utf-8"))
    drawn = {f"agreement-{m['alpha']}": _agreement(m) for m in accuracy["models"]}
    return {**drawn, "latency": _latency(latency)}


def _agreement(model: dict[str, Any]) -> Any:
    import plotly.graph_objects as go

    rows = [
        row
        for row in model["edgezoo"]
        if row["precision"] == "int8" and (row["count"] == 500 or row["calibration"] != "images")
    ]
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    figure = go.Figure()
    for format, colour in zip(FORMATS, COLOURS, strict=True):
        found = {_kind(row): row["agreement"] for row in rows if row["format"] == format}
        figure.add_bar(
            name=format, x=kinds, y=[100 * found[k] if k in found else None for k in kinds],
            marker_color=colour,
        )  # fmt: skip
    low = min(100 * row["agreement"] for row in rows)
    figure.update_layout(
        title=f"mobilenet {model['alpha']} at {model['size']} px: same top-1 as Keras, %",
        yaxis_range=[5 * (low // 5) - 5, 100],
        barmode="group",
        **_LAYOUT,
    )
    return figure


def _kind(row: dict[str, Any]) -> str:
    """A short name for the options of an export."""
    if row["calibration"] == "synthetic":
        return "synthetic images"
    words = [word for word in row["options"] if not word.startswith("--")]
    return OPTIONS[next((word for word in words if word in OPTIONS), "")]


def _latency(result: dict[str, Any]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for model in result["models"]:
        x, y = [], []
        for format in FORMATS:
            for pair in model[format]["ratios"]:
                how = pair["over"].removeprefix("by hand").strip(" (),") or "default"
                x.append(f"{format}: {label(how)}")
                y.append(pair["ratio"])
        figure.add_bar(name=f"mobilenet {model['alpha']}/{model['size']}", x=x, y=y)
    figure.add_hline(y=1, line_dash="dot")
    figure.update_layout(title="Time of an int8 file relative to one of the libraries", **_LAYOUT)
    return figure


_LAYOUT = {
    "template": "plotly_white",
    "height": 380,
    "margin": {"l": 50, "r": 20, "t": 60, "b": 90},
    "legend": {"orientation": "h", "y": 1.12},
}
