"""The page of an explanation: whole, offline, and safe with any name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError
from edgezoo.explanation import page, plots
from edgezoo.explanation.explain_result import ExplainResult

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


def _layer(name: str, place: int) -> dict[str, Any]:
    weights = {"sqnr_db": 40.0 - place, "per_channel_sqnr_db": 45.0, "granularity": "per-channel",
               "coarse_channels": 0.0, "far": 0}  # fmt: skip
    return {"name": name, "place": place, "kind": "CONV_2D", "local_sqnr_db": 40.0 - place,
            "accumulated_sqnr_db": None if place else 38.0, "below_median_db": 1.0 * place,
            "error_over_step": 0.31, "saturated_low": 0.0, "saturated_high": 0.01,
            "range_use": 0.9, "bias_gain_db": None, "kernel_steps": 0.0,
            "weights": weights if place else None}  # fmt: skip


def explained(name: str = "conv", image_source: str = "synthetic") -> ExplainResult:
    return typed_json.decode(ExplainResult, _facts(name, image_source))


def _facts(name: str, image_source: str) -> dict[str, Any]:
    causes = ("preprocessing", "conversion", "weights", "activations", "kernel")
    finding = {"cause": "weights", "fault": "corrupt weights", "layer": name, "evidence": "E.",
               "next": "N."}  # fmt: skip
    return {
        "artifact": f"{name}.tflite", "format": "tflite", "model": name, "reference": "keras",
        "image_source": image_source, "unlabelled": "no labels", "images": 8,
        "overlap": 3, "file_faults": [],
        "agreement_top1": 0.75,
        "verdict": {"healthy": False, "cause": "weights", "fault": "corrupt weights",
                    "layer": name, "text": f"A weight tensor is corrupt ({name})."},
        "findings": [finding, finding],
        "lost_agreement": 0.25, "lost_top1": None,
        "stages": [{"name": stage, "agreement_top1": 1.0, "sqnr_db": ratio, "top1": None,
                    "error": 0.0} for stage, ratio in (("source", None), ("file", 20.0))],
        "causes": [{"cause": cause, "lost_agreement": 0.05, "lost_top1": None,
                    "error_share": 0.2} for cause in causes],
        "input": {"reversed": False, "right": [-1, 1], "got": [-1, 1], "distance": 0.0},
        "layers": [_layer(f"{name}{place}", place) for place in range(3)],
        "unmatched_layers": [], "trace_difference": 0.0, "page": None,
    }  # fmt: skip


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _parse(text: str) -> _Tags:
    parser = _Tags()
    parser.feed(text)
    return parser


def test_page_needs_nothing_else() -> None:
    tags = _parse(page.render(explained())).tags
    for tag, attributes in tags:
        assert tag not in ("link", "img", "iframe", "object"), tag
        assert not {"src", "href"} & set(attributes), attributes
    policies = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies and policies[0] is not None and policies[0].startswith("default-src 'none'")
    assert any(a.get("name") == "viewport" for _, a in tags)


def test_page_says_all() -> None:
    result = explained()
    said = " ".join(_parse(page.render(result)).text)
    assert result.verdict.text in said and "No top-1: no labels" in said
    assert "3 of the images calibrated the file" in said
    for layer in result.layers:
        assert layer.name in said
    for plot in plots.all_plots(result):
        assert plot.title in said and plot.caption in said


@pytest.mark.parametrize("where", ["name", "images"])
def test_names_stay_names(where: str) -> None:
    hostile = explained(name=HOSTILE) if where == "name" else explained(image_source=HOSTILE)
    found, wanted = (_parse(page.render(result)) for result in (hostile, explained()))
    kinds = [[tag for tag, _ in parsed.tags] for parsed in (found, wanted)]
    assert kinds[0] == kinds[1], "a name became markup"
    assert any(HOSTILE in text for text in found.text), "the name is shown as it is"


def test_labels_of_plots_are_no_markup() -> None:
    """plotly draws some HTML in labels; a long name loses its beginning."""
    result = explained(name='<a href="javascript:x">y</a>')
    drawn = json.dumps([plot.figure for plot in plots.all_plots(result)])
    assert "<a" not in drawn
    (long,) = plots._labels(["a/very/long/path/of/a/layer/conv_pw_13_relu"])
    assert long.startswith("…") and long.endswith("conv_pw_13_relu") and len(long) <= 22


def test_plots_tell_series_apart_without_colour() -> None:
    for plot in plots.all_plots(explained()):
        traces = plot.figure["data"]
        shapes = [(series["type"], series["marker"].get("symbol")) for series in traces]
        assert len(set(shapes)) == len(shapes), plot.title
        assert all(series["name"] for series in traces)


def test_layers_stand_in_the_order_of_the_network() -> None:
    result = explained()
    shuffled = replace(result, layers=result.layers[::-1])
    assert plots.all_plots(result) == plots.all_plots(shuffled)


def test_same_facts_same_page() -> None:
    assert page.render(explained()) == page.render(explained())
    assert re.search(r"https?://", re.sub(r"<script>.*?</script>", "", page.render(explained()),
                                          flags=re.S)) is None  # fmt: skip


def test_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        page.write(explained(), tmp_path / "none" / "page.html")
    assert "--html" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
