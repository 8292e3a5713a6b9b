"""The plots of an explanation's page, as plotly's JSON.

Two colours of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), which people with any
kind of colour blindness can distinguish, and two shapes of markers for prints without colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgezoo.core import escapes
from edgezoo.core.typed_json import Json
from edgezoo.explanation.causes import Cause, Stage
from edgezoo.explanation.explain_result import ExplainResult
from edgezoo.explanation.layers import LayerReport

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"
_LONGEST = 22
_ROW = 20
_MARGIN = 70
_HEALTHY, _SUSPICIOUS = 12**-0.5, 0.7
Figures = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of the page; `figure` is plotly's JSON."""

    title: str
    caption: str
    figure: Json


def all_plots(result: ExplainResult) -> list[Plot]:
    """Return all plots, in the order of the page."""
    layers = sorted(result.layers, key=lambda layer: -layer.place)  # the first layer on top
    by_layer = [plot(layers) for plot in (_ratios, _steps, _ranges)]
    return [_causes(result.causes), _stages(result.stages), *by_layer]


def _causes(causes: Sequence[Cause]) -> Plot:
    shown = causes[::-1]
    labels = _labels(cause.cause for cause in shown)
    bars = _bars("share", [100 * cause.error_share for cause in shown], labels, _BLUE)
    return Plot(
        "Causes",
        "The share of each cause in the logits' error. A negative share compensates for others.",
        _figure([bars], labels, "% of the error power of the logits"),
    )


def _stages(stages: Sequence[Stage]) -> Plot:
    shown = [stage for stage in stages[::-1] if stage.sqnr_db is not None]
    labels = _labels(stage.name for stage in shown)
    bars = _bars("SQNR", [stage.sqnr_db for stage in shown], labels, _BLUE)
    return Plot(
        "Stages",
        "The same images at each stage, compared with the source; longer is better. A stage that "
        "equals the source has no bar.",
        _figure([bars], labels, "SQNR of the logits, dB"),
    )


def _ratios(layers: Sequence[LayerReport]) -> Plot:
    labels = _labels(layer.name for layer in layers)
    alone = [layer.local_sqnr_db for layer in layers]
    real = [layer.accumulated_sqnr_db for layer in layers]
    marks = [_marks("alone", alone, labels, _BLUE, "circle")]
    marks += [_marks("in the file", real, labels, _ORANGE, "diamond")]
    return Plot(
        "Layers",
        "Each layer alone, quantized on the float network's inputs, and in the real file, where "
        "the errors of all layers before it add up. In the order of the network; right is better.",
        _figure(marks, labels, "SQNR, dB"),
    )


def _steps(layers: Sequence[LayerReport]) -> Plot:
    shown = [layer for layer in layers if layer.error_over_step]
    labels = _labels(layer.name for layer in shown)
    steps = [layer.error_over_step for layer in shown]
    figure = _figure([_marks("error", steps, labels, _BLUE, "circle")], labels, "error / step")
    lines = [_line(_HEALTHY, _GREY, "dot"), _line(_SUSPICIOUS, _ORANGE, "dash")]
    figure["layout"]["xaxis"]["type"], figure["layout"]["shapes"] = "log", lines
    return Plot(
        "Error over step",
        "Root mean square of a layer's own error, in steps of its quantized values. Rounding alone "
        "gives 0.29 (dotted); above 0.7 (dashed) there is another cause.",
        figure,
    )


def _ranges(layers: Sequence[LayerReport]) -> Plot:
    shown = [layer for layer in layers if layer.range_use is not None]
    labels = _labels(layer.name for layer in shown)
    used = [100 * (layer.range_use or 0) for layer in shown]
    clipped = [100 * (layer.saturated or 0) for layer in shown]
    traces = [_bars("range used", used, labels, _BLUE)]
    traces += [_marks("values clipped", clipped, labels, _ORANGE, "diamond")]
    return Plot(
        "Range",
        "The share of a layer's quantized range that the float values use, and the share of values "
        "outside it.",
        _figure(traces, labels, "%"),
    )


def _figure(traces: list[Json], labels: list[str], x_title: str) -> Json:
    """Return a figure of horizontal rows."""
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
    return {"data": traces, "layout": layout}


def _labels(names: Iterable[str]) -> list[str]:
    """Shorten and escape names for an axis: plotly interprets some HTML in labels."""
    short = (name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names)
    return [escapes.html(name) for name in short]


def _bars(name: str, values: Figures, labels: list[str], color: str) -> Json:
    shape = {"type": "bar", "orientation": "h", "marker": {"color": color}}
    return shape | _values(name, values, labels)


def _marks(name: str, values: Figures, labels: list[str], color: str, symbol: str) -> Json:
    marker = {"color": color, "symbol": symbol, "size": 9}
    return {"type": "scatter", "mode": "markers", "marker": marker} | _values(name, values, labels)


def _values(name: str, values: Figures, labels: list[str]) -> Json:
    shown = "%{y}: %{x:.3g}<extra></extra>"
    return {"name": name, "x": list(values), "y": labels, "hovertemplate": shown}


def _line(x: float, color: str, dash: str) -> Json:
    ends = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **ends, "line": {"color": color, "dash": dash, "width": 1.5}}
