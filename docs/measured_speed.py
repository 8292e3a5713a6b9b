"""Committed results of the measuring code: latency, evaluation, workers, report page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables import origin, table


def _stopwatch(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{facts['median_ms']['edgezoo']:.3f}",
            *(_over(facts["edgezoo_over"].get(other)) for other in ("bare loop", *_TOOLS)),
        ]
        for name, facts in result["files"].items()
    ]
    checks = ", ".join(f"{check['estimate']:.3f}" for check in result["self_checks"])
    return [
        f"## Latency measurement\n\n{origin(result)}\n",
        "Median milliseconds of one inference on one thread by `edgezoo benchmark`, and its ratio\n"
        "to what other tools measured in turns with it: a plain loop over the runtime's API,\n"
        "and the runtime's own tool. The 95 % interval is in brackets.\n",
        table(["file", "ms", "over a plain loop", *(f"over {tool}" for tool in _TOOLS)], rows),
        f"One file compared with itself, {len(result['self_checks'])} times: {checks}.\n",
    ]


_TOOLS = ("benchmark_app", "litert-benchmark")


def _over(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio['estimate']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def _evaluation(result: dict[str, Any]) -> list[str]:
    speeds = [
        [
            entry["file"],
            *(
                f"{entry['images_per_s'][name]:.0f}"
                for name in ("decode_one_core", "infer_one_core", "evaluation")
            ),
            f"{entry['of_stages']:.2f}",
            f"{entry['of_work']:.2f}",
        ]
        for entry in result["speed"]
    ]
    sizes = [
        [entry["file"], count, f"{peak:.0f}"]
        for entry in result["memory"]
        for count, peak in entry["peak_rss_mb"].items()
    ]
    columns = ["file", "decoding, one core", "inference, one core", "`edgezoo evaluate`",
               "of the slower stage", "of all work"]  # fmt: skip
    return [
        f"## Evaluation\n\n{origin(result)}\n",
        f"Images per second, {result['images']} photographs, {result['speed'][0]['cores']} cores.\n"
        "The slower stage: the longer of decoding and inference, each with half of the cores. All\n"
        "work: both stages alone, one after the other, each on all cores, without start-up\n"
        "time.\n",
        table(columns, speeds),
        table(["file", "images", "peak MB"], sizes),
    ]


def _cluster(result: dict[str, Any]) -> list[str]:
    return [
        f"## Two workers\n\n{origin(result)}\n",
        f"An accuracy sweep over {result['images']} images on a Dask cluster of this machine: two\n"
        f"workers are {result['ratio']:.2f} times as fast as one, with the same answers.\n",
    ]


def _page(result: dict[str, Any]) -> list[str]:
    return [
        f"## Report page\n\n{origin(result)}\n",
        f"A report of {result['variants']} variants: {result['bytes'] / 1e6:.1f} MB, opened in\n"
        f"{result['open_s']:.1f} s by headless Chromium {result['chromium']}.\n",
    ]


def _grid(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            f"{row['alpha']:g} {row['input_size']} {row['precision']} {row['format']}",
            row["threads"],
            f"{row['median_ms']:.2f}",
            f"{100 * row['top1']:.1f}",
            f"{row['drop_points']:.1f}" if row["drop_points"] is not None else "-",
            round(row["bytes"] / 1000),
            row["trust"],
        ]
        for row in result["rows"]
    ]
    columns = ["mobilenet", "threads", "median ms", "top-1 %", "drop, points", "kB", "trust"]
    return [
        f"## The MobileNet grid\n\n{origin(result)}\n",
        "Every file of the widths and sizes that have weights, by `edgezoo benchmark`; intervals,\n"
        "quantiles and reasons for the trust stamp are in the raw result.\n",
        table(columns, rows),
    ]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "stopwatch": _stopwatch,
    "evaluation": _evaluation,
    "cluster": _cluster,
    "page": _page,
    "mobilenet-sweep": _grid,
}
