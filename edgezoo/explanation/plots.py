"""The plots of an explanation's page, as plotly's JSON.

Two colours of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), which people with any
kind of colour blindness tell apart, and two shapes of markers, so that none needs colours.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"
_LONGEST = 22
_ROW = 20
_MARGIN = 70
_HEALTHY, _SUSPICIOUS = 12**-0.5, 0.7


def all_plots(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Title, caption and plotly figure of each plot.

    Args:
        facts: what `edgezoo explain --json` prints.
    """
    layers = sorted(facts["layers"], key=lambda layer: -layer["place"])  # the first one on top
    return [
        _causes(facts["causes"]),
        _stages(facts["stages"]),
        _ratios(layers),
        _steps(layers),
        _ranges(layers),
    ]


def _causes(causes: list[dict[str, Any]]) -> dict[str, Any]:
    shown = causes[::-1]
    figure = _figure([cause["cause"] for cause in shown], "% of the error power of the logits")
    shares = [100 * cause["error_share"] for cause in shown]
    figure["data"] = [_bars("share", shares, figure["labels"], _BLUE)]
    return _plot(
        "Causes",
        "How much of the logits' error each cause brings. A negative share makes up for others.",
        figure,
    )


def _stages(stages: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [stage for stage in stages[::-1] if stage["sqnr_db"] is not None]
    figure = _figure([stage["name"] for stage in shown], "SQNR of the logits, dB")
    ratios = [stage["sqnr_db"] for stage in shown]
    figure["data"] = [_bars("SQNR", ratios, figure["labels"], _BLUE)]
    return _plot(
        "Stages",
        "The same images at each stage, against the source; longer is better. A stage that "
        "equals the source has no bar.",
        figure,
    )


def _ratios(layers: list[dict[str, Any]]) -> dict[str, Any]:
    figure = _figure([layer["name"] for layer in layers], "SQNR, dB")
    alone = [layer["local_sqnr_db"] for layer in layers]
    real = [layer["accumulated_sqnr_db"] for layer in layers]
    figure["data"] = [
        _marks("alone", alone, figure["labels"], _BLUE, "circle"),
        _marks("in the file", real, figure["labels"], _ORANGE, "diamond"),
    ]
    return _plot(
        "Layers",
        "Each layer alone, quantized on the float network's inputs, and in the real file, where "
        "the errors of all layers before it add up. In the order of the network; right is better.",
        figure,
    )


def _steps(layers: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [layer for layer in layers if layer["error_over_step"]]
    figure = _figure([layer["name"] for layer in shown], "error / step")
    steps = [layer["error_over_step"] for layer in shown]
    figure["data"] = [_marks("error", steps, figure["labels"], _BLUE, "circle")]
    figure["layout"]["xaxis"]["type"] = "log"
    figure["layout"]["shapes"] = [
        _line(_HEALTHY, _GREY, "dot"),
        _line(_SUSPICIOUS, _ORANGE, "dash"),
    ]
    return _plot(
        "Error over step",
        "Root mean square of a layer's own error, in steps of its levels. Rounding alone gives "
        "0.29 (dotted); above 0.7 (dashed) something else is at work.",
        figure,
    )


def _ranges(layers: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [layer for layer in layers if layer["range_use"] is not None]
    figure = _figure([layer["name"] for layer in shown], "%")
    used = [100 * layer["range_use"] for layer in shown]
    clipped = [100 * (layer["saturated_low"] + layer["saturated_high"]) for layer in shown]
    figure["data"] = [
        _bars("range used", used, figure["labels"], _BLUE),
        _marks("values clipped", clipped, figure["labels"], _ORANGE, "diamond"),
    ]
    return _plot(
        "Range",
        "How much of a layer's range of levels the float values reach, and how many of them are "
        "beyond it.",
        figure,
    )


def _plot(title: str, caption: str, figure: dict[str, Any]) -> dict[str, Any]:
    del figure["labels"]
    return {"title": title, "caption": caption, "figure": figure}


def _figure(names: Sequence[str], x_title: str) -> dict[str, Any]:
    """An empty figure of horizontal rows; `labels` are the names as plotly may show them."""
    labels = [_label(name) for name in names]
    layout = {
        "height": _ROW * max(4, len(labels)) + _MARGIN,
        "margin": {"l": 10, "r": 10, "t": 24, "b": 40},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "xaxis": {"title": {"text": x_title}, "automargin": True, "gridcolor": "#dddddd"},
        "yaxis": {"automargin": True, "type": "category", "tickmode": "linear", "dtick": 1},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "bargap": 0.35,
    }
    return {"data": [], "layout": layout, "labels": labels}


def _label(name: str) -> str:
    """A name for an axis: plotly takes some HTML, so there must be none, and little of it."""
    short = name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
    return html.escape(short)


def _bars(
    name: str, values: Sequence[float | None], labels: Sequence[str], color: str
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(values),
        "y": list(labels),
        "marker": {"color": color},
        "hovertemplate": "%{y}: %{x:.3g}<extra></extra>",
    }


def _marks(
    name: str, values: Sequence[float | None], labels: Sequence[str], color: str, symbol: str
) -> dict[str, Any]:
    marker = {"color": color, "symbol": symbol, "size": 9}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(values),
        "y": list(labels),
        "marker": marker,
        "hovertemplate": "%{y}: %{x:.3g}<extra></extra>",
    }


def _line(x: float, color: str, dash: str) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": color, "dash": dash, "width": 1.5},
    }
