"""From records to the rows of a report: one flat dict a variant, and how variants stand to others.

Records of different machines never meet in one ratio or on one front, nor accuracies on different
images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from edgezoo.core.errors import counted
from edgezoo.measurement import statistics, verdicts
from edgezoo.results.store import Record

Row = dict[str, Any]
_QUANTILES = 41
_IDENTITY = ("model", "alpha", "input_size", "precision", "format", "device", "threads")


def rows(records: Iterable[Record]) -> list[Row]:
    """A row for each record that holds figures, in the order given.

    `drop` is the top-1 of the float32 twin on the same images minus the own one, `drop_ci95` its
    interval: the paired one of the evaluation where it was found there. `beaten_by` and
    `clearly_beaten_by` are bit masks of row numbers: those that are as fast and as accurate and
    better in one, and those for which that is no accident. `name` says no more than is needed to
    tell files, and then the rows of one store, apart: the file, its hash, the images.
    """
    found = [_row(i, r) for i, r in enumerate(r for r in records if r["status"] == "measured")]
    place = ("machine", "device", "threads", "kind")
    _tell_apart(found, place, _FILES)
    _tell_apart(found, (*place, "store"), _APART)
    _find_drops(found)
    by_place: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        by_place[row["machine"], row["device"], row["kind"], row["images_hash"]].append(row)
    for group in by_place.values():
        _find_order(group)
    return found


def mark(row: Row) -> str:
    """What stands behind the name of an estimate, such as "Vela estimate"; "" for others."""
    return str(row["estimated_by"] or "").partition(" (")[0]


def title(variant: dict[str, Any]) -> str:
    """What a variant is called in tables: "mobilenet 0.25 128 int8 tflite"."""
    words = (variant[name] for name in ("model", "alpha", "input_size", "precision", "format"))
    return " ".join(f"{w:g}" if isinstance(w, float) else str(w) for w in words if w is not None)


def file_of(record: Record) -> str | None:
    """Name of the file that somebody gave; None for a variant of a grid."""
    if "file" in record:
        return record["file"]  # type: ignore[no-any-return]
    path = (record.get("artifact") or {}).get("path")  # of a version that did not write "file"
    if path is None or path.startswith("artifacts/"):
        return None
    return PurePosixPath(path).name


def failed_name(record: Record) -> str:
    """What a variant without figures is called: its file, or else its place in the grid."""
    return file_of(record) or title(record["variant"])


def _row(number: int, record: Record) -> Row:
    variant, latency = record["variant"], record["latency"]
    accuracy, figures = record.get("accuracy") or {}, latency["latency_ms"]
    return {
        "id": number,
        "kind": record["kind"],
        "estimated_by": record["estimate"]["source"] if record["kind"] == "estimate" else None,
        "name": title(variant) if variant["model"] else record["artifact"]["path"],
        "file": file_of(record),
        **{name: variant[name] for name in (*_IDENTITY, "runtime")},
        "machine": machine_name(record["environment"]),
        "store": record.get("store"),
        "created": record["created"],
        "bytes": record["artifact"]["bytes"],
        "sha256": record["artifact"]["sha256"],
        "trained": record["artifact"]["trained"],
        "median_ms": figures["median"],
        "median_ci95": figures["ci95"],
        **{f"{name}_ms": figures.get(name) for name in ("min", "p5", "p90", "p95", "p99")},
        "runs": figures.get("n"),
        "outliers": figures.get("outliers"),
        "cpu_ms": latency.get("cpu_ms"),
        "cold_start_ms": latency.get("cold_start_ms"),
        "peak_rss_mb": latency.get("peak_rss_mb"),
        "memory_over_runtime_mb": latency.get("memory_over_runtime_mb"),
        "quantiles_ms": _quantiles(latency.get("blocks_ms")),
        "top1": accuracy.get("top1"),
        "top1_ci95": accuracy.get("top1_ci95"),
        "top5": accuracy.get("top5"),
        "agreement_top1": accuracy.get("agreement_top1"),
        "images": accuracy.get("images"),
        "images_hash": accuracy.get("images_hash"),
        "drop": accuracy.get("drop"),
        "drop_ci95": accuracy.get("drop_ci95"),
        "trust": record["trust"]["level"],
        "reasons": record["trust"]["reasons"],
        "session": record["session"]["id"],
        "noise_floor": record["session"]["noise_floor"],
        "self_checked": record["session"].get("self_check") is not None,
        "beaten_by": "0",
        "clearly_beaten_by": "0",
    }


_Says = tuple[tuple[str, Any], ...]
_FILES: _Says = (("file", lambda row: row["file"] or "of a sweep"),)
_APART: _Says = (
    ("sha256", lambda row: f"file {row['sha256'][:6]}"),
    ("images_hash", lambda row: f"{row['images'] or 'no'} images"),
    ("created", lambda row: row["created"]),
)


def _tell_apart(found: list[Row], place: Sequence[str], apart: _Says) -> None:
    """Give rows that would be called the same what they differ in.

    Args:
        place: what alike rows share beside their names.
        apart: names of what they may differ in, and how it is said; the first that suffice.
    """
    alike: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        alike[tuple(row[name] for name in ("name", *place))].append(row)
    for group in alike.values():
        words: list[list[str]] = [[] for _ in group]
        for name, say in apart:
            if len({row[name] for row in group}) > 1 and len({*map(tuple, words)}) < len(group):
                for own, row in zip(words, group, strict=True):
                    own.append(str(say(row)))
        for own, row in zip(words, group, strict=True):
            row["name"] += f" ({', '.join(own)})" if own else ""


def noise_floors(found: Iterable[Row]) -> list[str]:
    """The noise floor of each session and what it is from, the highest first, in words."""
    sessions: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        if row["kind"] == "measurement":
            sessions[row["session"]].append(row)
    return [
        f"{100 * own[0]['noise_floor']:.1f} % "
        f"({'A/A' if own[0]['self_checked'] else 'assumed, no A/A check'}; session {name}, "
        f"{counted(len(own), 'variant')})"
        for name, own in sorted(sessions.items(), key=lambda item: -item[1][0]["noise_floor"])
    ]


def image_list(row: Row) -> str | None:
    """The images of an accuracy, such as "650 images, list 0f3a52"; None without an accuracy."""
    if row["top1"] is None:
        return None
    return f"{row['images']} images, list {(row['images_hash'] or 'unknown')[:6]}"


def machine_name(environment: dict[str, Any]) -> str:
    """CPU and a short hash, so that two boxes of one kind stay apart."""
    return f"{environment['machine']['cpu']} ({environment['machine_id'][:6]})"


def _quantiles(blocks: list[list[float]] | None) -> list[float] | None:
    """The distribution of all runs, as evenly spaced quantiles from the least to the greatest."""
    import numpy as np

    if not blocks:
        return None
    values = np.concatenate([np.asarray(block) for block in blocks])
    return [round(float(v), 4) for v in np.quantile(values, np.linspace(0, 1, _QUANTILES))]


def _find_drops(found: list[Row]) -> None:
    """Compare with float32 of the same network and images, where the evaluation did not.

    The same format comes first.
    """
    twins: dict[tuple[Any, ...], Row] = {}
    for row in found:
        if row["precision"] == "float32" and row["top1"] is not None:
            twins.setdefault(_network(row), row)
            twins.setdefault((*_network(row), row["format"]), row)
    for row in found:
        twin = twins.get((*_network(row), row["format"])) or twins.get(_network(row))
        known = row["top1"] is None or row["drop"] is not None or row["precision"] == "float32"
        if twin is None or known:
            continue
        row["drop"] = twin["top1"] - row["top1"]
        row["drop_ci95"] = list(
            difference95(twin["top1"], twin["top1_ci95"], row["top1"], row["top1_ci95"])
        )


def _network(row: Row) -> tuple[Any, ...]:
    return (row["model"], row["alpha"], row["input_size"], row["images_hash"], row["store"])


def difference95(
    share: float, interval: Sequence[float], other: float, other_interval: Sequence[float]
) -> tuple[float, float]:
    """95 % interval of a difference of two shares from their Wilson intervals.

    Method 10 of R. G. Newcombe (Statistics in Medicine 17, 1998). Two files scored on the same
    images differ by less than it allows for: it is wide rather than narrow.
    """
    (low, high), (other_low, other_high) = interval, other_interval
    gap = share - other
    return (
        gap - math.hypot(share - low, other_high - other),
        gap + math.hypot(high - share, other - other_low),
    )


def _find_order(group: list[Row]) -> None:
    """Who beats whom among variants of one machine and device."""
    for row in group:
        if row["top1"] is None:
            continue
        beaten = clearly = 0
        for other in group:
            if other is not row and other["top1"] is not None and _beats(other, row):
                beaten |= 1 << other["id"]
                if _clearly(other, row):
                    clearly |= 1 << other["id"]
        row["beaten_by"], row["clearly_beaten_by"] = f"{beaten:x}", f"{clearly:x}"


def _beats(row: Row, other: Row) -> bool:
    faster, better = row["median_ms"] - other["median_ms"], row["top1"] - other["top1"]
    return bool(faster <= 0 and better >= 0 and (faster < 0 or better > 0))


def _clearly(row: Row, other: Row) -> bool:
    """Whether one that beats another does so beyond noise in at least one of the two."""
    gap = difference95(row["top1"], row["top1_ci95"], other["top1"], other["top1_ci95"])
    return gap[0] > 0 or is_faster(row, other)


def is_faster(row: Row, other: Row) -> bool:
    """Whether medians that were taken on one machine differ beyond their intervals and noise."""
    ratio = statistics.apart(
        row["median_ms"], row["median_ci95"], other["median_ms"], other["median_ci95"]
    )
    floor = max(row["noise_floor"], other["noise_floor"])
    return verdicts.judge("", "", ratio, floor).word == "faster"


def on_front(row: Row, visible: int) -> str:
    """Where a row stands: "front", "maybe" where noise alone keeps it off, or "behind".

    Args:
        row: one that has an accuracy.
        visible: bit mask of the rows that count.
    """
    if not int(row["beaten_by"], 16) & visible:
        return "front"
    return "behind" if int(row["clearly_beaten_by"], 16) & visible else "maybe"
