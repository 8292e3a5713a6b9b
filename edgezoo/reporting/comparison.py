"""Two results stores, before and after: what became slower, less accurate, larger or broken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from edgezoo.measurement import statistics
from edgezoo.reporting.matching import failed_label, label, match
from edgezoo.reporting.rows import Row, difference95, rows
from edgezoo.results.store import Record

LEVEL = 0.05
# Processes, memory and clock differ from session to session, and the A/A check within one cannot
# see it. MLPerf Mobile too takes repeats within 5 % for equal.
BETWEEN_SESSIONS = 0.05
# Less is metadata: a label, a version, another name of a layer.
GROWTH = 0.03
_Z = NormalDist().inv_cdf(0.975)


def compare(before: Sequence[Record], after: Sequence[Record]) -> dict[str, Any]:
    """Match variants of two stores, see `matching.match`, and judge what changed.

    Latencies are compared on the same machine only, accuracies on the same images only. With many
    variants some differ by chance, so p-values are adjusted as S. Holm does (Scandinavian Journal
    of Statistics 6, 1979) over all comparisons. A latency must also change by more than both noise
    floors and than what two sessions of one file differ by: `BETWEEN_SESSIONS`, or more where a
    store holds repeats that differ by more. Where the trust in one of two latencies is poor, nobody
    can tell: such a change is a warning, neither a regression nor an improvement. A file counts as
    larger or smaller beyond `GROWTH`. Memory is not judged.

    Returns:
        {"variants": [...], "regressions": [text], "improvements": [text], "warnings": [text],
        "not_compared": [text]}
    """
    found = match(before, after)
    repeats = max(_repeats(rows(before)), _repeats(rows(after)))
    entries = [_entry(a, b, repeats) for a, b in found.pairs]
    _adjust([change for entry in entries for change in _changes(entry)])
    told: dict[str, list[str]] = {"worse": [], "better": [], "cannot tell": [], "same": []}
    for entry in entries:
        for change in _changes(entry):
            told[change["verdict"]].append(f"{entry['name']}: {_say(change)}")
        small, large = entry["bytes"]
        if abs(large - small) > GROWTH * small:
            word = "worse" if large > small else "better"
            told[word].append(f"{entry['name']}: the file has {large} bytes after {small}")
    broken = [f"{failed_label(r)}: {r['error']['message']}" for r in found.broken]
    return {
        "variants": entries,
        "regressions": told["worse"] + broken,
        "improvements": told["better"],
        "warnings": told["cannot tell"],
        "not_compared": found.alone,
    }


def _repeats(found: Sequence[Row]) -> float:
    """By how much sessions of one file in one store differed at most, as a share."""
    medians: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in found:
        if row["kind"] == "measurement" and row["trust"] != "poor":
            place = tuple(row[n] for n in ("sha256", "machine", "device", "threads", "runtime"))
            medians.setdefault(place, {})[row["session"]] = row["median_ms"]
    return max((max(m.values()) / min(m.values()) - 1 for m in medians.values()), default=0.0)


def _entry(a: Row, b: Row, repeats: float) -> dict[str, Any]:
    reasons = []
    latency = accuracy = None
    if a["machine"] == b["machine"]:
        latency = _latency(a, b, repeats)
    else:
        reasons.append(f"measured on {a['machine']} and {b['machine']}")
    if a["top1"] is not None and b["top1"] is not None:
        if a["images_hash"] == b["images_hash"]:
            accuracy = _accuracy(a, b)
        else:
            reasons.append("scored on other images")
    return {
        "name": label(b),
        "latency": latency,
        "accuracy": accuracy,
        "bytes": [a["bytes"], b["bytes"]],
        "runtime": [a["runtime"], b["runtime"]],
        "reasons": reasons,
    }


def _latency(a: Row, b: Row, repeats: float) -> dict[str, Any]:
    ratio = statistics.apart(b["median_ms"], b["median_ci95"], a["median_ms"], a["median_ci95"])
    spread = (math.log(ratio.high) - math.log(ratio.low)) / (2 * _Z)
    floor = max(a["noise_floor"], b["noise_floor"])
    if a["kind"] == "measurement":
        floor = max(floor, BETWEEN_SESSIONS, repeats)
    trust = [a["trust"], b["trust"]]
    return {
        "what": "latency",
        "before": a["median_ms"],
        "after": b["median_ms"],
        "change": ratio.estimate,
        "ci95": [ratio.low, ratio.high],
        "p": _p(math.log(ratio.estimate), spread),
        "floor": floor,
        "trust": trust,
        "counts": abs(math.log(ratio.estimate)) > math.log1p(floor),
        "trusted": "poor" not in trust,
        "worse": ratio.estimate > 1,
    }


def _accuracy(a: Row, b: Row) -> dict[str, Any]:
    low, high = difference95(b["top1"], b["top1_ci95"], a["top1"], a["top1_ci95"])
    gap = b["top1"] - a["top1"]
    return {
        "what": "top-1",
        "before": a["top1"],
        "after": b["top1"],
        "change": gap,
        "ci95": [low, high],
        "p": _p(gap, (high - low) / (2 * _Z)),
        "counts": True,
        "trusted": True,
        "worse": gap < 0,
    }


def _p(gap: float, spread: float) -> float:
    """Two-sided p-value of a gap that is taken as normal."""
    if spread <= 0:
        return 1.0 if gap == 0 else 0.0
    return 2 * (1 - NormalDist().cdf(abs(gap) / spread))


def _changes(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry[name] for name in ("latency", "accuracy") if entry[name] is not None]


def _adjust(changes: list[dict[str, Any]]) -> None:
    """Holm's step-down adjustment, and the verdict that follows."""
    highest = 0.0
    for rank, change in enumerate(sorted(changes, key=lambda change: float(change["p"]))):
        highest = max(highest, min(1.0, change["p"] * (len(changes) - rank)))
        change["p_adjusted"] = highest
        counts, trusted, worse = (change.pop(name) for name in ("counts", "trusted", "worse"))
        if highest >= LEVEL or not counts:
            change["verdict"] = "same"
        elif not trusted:
            change["verdict"] = "cannot tell"
        else:
            change["verdict"] = "worse" if worse else "better"


def _say(change: dict[str, Any]) -> str:
    low, high = change["ci95"]
    if change["what"] == "latency":
        first, second = change["trust"]
        unsure = ": cannot tell" if change["verdict"] == "cannot tell" else ""
        return (
            f"{change['change']:.2f} times the latency (95 %: {low:.2f} to {high:.2f}), "
            f"{change['before']:.3f} to {change['after']:.3f} ms; "
            f"trust {first} before, {second} after{unsure}"
        )
    return (
        f"top-1 changed by {100 * change['change']:+.1f} points "
        f"(95 %: {100 * low:+.1f} to {100 * high:+.1f})"
    )
