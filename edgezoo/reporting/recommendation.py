"""Which variant to ship, under budgets for latency, size, memory and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from edgezoo.core.errors import DataError, UsageError, counted
from edgezoo.measurement import statistics, verdicts
from edgezoo.reporting.rows import Row, difference95, image_list

PREFERENCES = ("accuracy", "latency", "size")
STATISTICS = ("median", "p90", "p95")


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a variant must keep to; None sets no bound.

    A figure with an interval keeps to a bound with the whole of it where `sure` is set, else by
    itself. `max_drop` is a share of top-1 lost against float32.
    """

    max_latency_ms: float | None = None
    max_bytes: int | None = None
    max_memory_mb: float | None = None
    min_top1: float | None = None
    max_drop: float | None = None
    statistic: str = "median"
    sure: bool = False


_BOUNDS = tuple(f.name for f in fields(Budgets) if f.name not in ("statistic", "sure"))


def recommend(
    found: Sequence[Row],
    budgets: Budgets,
    prefer: str = "accuracy",
    machine: str | None = None,
    images: str | None = None,
) -> dict[str, Any]:
    """The best variant under budgets, the runner-up, and why.

    Args:
        found: of `edgezoo.reporting.rows.rows`; estimates are left aside.
        budgets: what to keep to.
        prefer: what is best among those that keep to them.
        machine: part of the name of the machine, where there are several.
        images: how the hash of the images begins that accuracies were found on, where there
            are several; variants without an accuracy stay.

    Returns:
        {"statistic", "choice", "runner_up", "why", "fitting", "considered", "misses",
        "alternatives"}: `statistic` is the latency that the bound is about, `choice`
        is None where nothing fits; `misses` counts variants by the bound that they break, and
        `alternatives` tells what one would get without one bound.

    Raises:
        UsageError: a statistic without an interval is to be sure; figures of several machines, or
            accuracies on several lists of images that would be compared, and none was named.
        DataError: no figures, or none of accuracy where those decide.
    """
    if budgets.sure and budgets.statistic != "median":
        raise UsageError(
            f"--sure asks for whole intervals, and the {budgets.statistic} has none.",
            "Leave --sure out, or bound the median.",
        )
    considered = _of_one_machine([r for r in found if r["kind"] == "measurement"], machine)
    needs_top1 = prefer == "accuracy" or budgets.min_top1 is not None
    counts = needs_top1 or budgets.max_drop is not None
    considered = _of_one_list(considered, images, counts)
    if needs_top1 and all(row["top1"] is None for row in considered):
        raise DataError(
            "No variant has an accuracy to choose by.",
            "Give edgezoo benchmark --images DIR, or choose with --prefer latency or size.",
        )
    fitting = sorted((r for r in considered if not _misses(r, budgets)), key=_order(prefer))
    if prefer == "accuracy":
        fitting = [row for row in fitting if row["top1"] is not None]
    choice, runner_up = (*fitting, None, None)[:2]
    broken = [name for row in considered for name in _misses(row, budgets)]
    return {
        "statistic": budgets.statistic,
        "choice": _public(choice),
        "runner_up": _public(runner_up),
        "why": _why(choice, runner_up, considered, fitting, prefer) if choice else [],
        "fitting": len(fitting),
        "considered": len(considered),
        "misses": {name: broken.count(name) for name in dict.fromkeys(broken)},
        "alternatives": [] if choice else _alternatives(considered, budgets, prefer),
    }


def _of_one_machine(measured: list[Row], machine: str | None) -> list[Row]:
    if not measured:
        raise DataError("There are no measurements.", "Run edgezoo benchmark first.")
    names = list(dict.fromkeys(row["machine"] for row in measured))
    chosen = [name for name in names if machine is None or machine.lower() in name.lower()]
    if not chosen:
        raise UsageError(
            f"No machine in the results matches {machine!r}.",
            f"Give --machine a part of one of these: {'; '.join(names)}.",
        )
    if len(chosen) > 1:
        which = f"match {machine!r}" if machine else "are in the results"
        raise UsageError(
            f"{len(chosen)} machines {which}; figures of different machines are not mixed.",
            f"Give --machine a part of one of these: {'; '.join(names)}.",
        )
    return [row for row in measured if row["machine"] == chosen[0]]


def _of_one_list(measured: list[Row], wanted: str | None, counts: bool) -> list[Row]:
    """Variants scored on one list of images, and those without an accuracy.

    Args:
        wanted: how the hash of the list begins; None where none was named.
        counts: whether accuracies of several lists would be compared.
    """
    lists = {row["images_hash"]: image_list(row) for row in measured if row["top1"] is not None}
    known = "; ".join(f"{hash} ({name})" for hash, name in lists.items())
    chosen = [hash for hash in lists if wanted is None or str(hash).startswith(wanted.lower())]
    if wanted is not None and not chosen:
        raise UsageError(
            f"No list of images in the results begins with {wanted!r}.",
            f"Give --image-list the beginning of one of these: {known or 'there is none'}.",
        )
    if len(chosen) > 1 and (counts or wanted is not None):
        which = f"begin with {wanted!r}" if wanted else "are in the results"
        raise UsageError(
            f"{len(chosen)} lists of images {which}; accuracies on different images are not mixed.",
            f"Give --image-list the beginning of one of these: {known}. "
            "Or choose with --prefer latency or size, without a bound for accuracy.",
        )
    if len(chosen) > 1:
        return measured
    return [r for r in measured if r["top1"] is None or r["images_hash"] in chosen]


def _misses(row: Row, budgets: Budgets) -> list[str]:
    """Bounds that a variant breaks; a figure that is not there breaks its bound."""
    latency = row[f"{budgets.statistic}_ms"]
    if budgets.statistic == "median" and budgets.sure:
        latency = row["median_ci95"][1]
    top1, drop = row["top1"], row["drop"]
    if budgets.sure:
        top1 = row["top1_ci95"][0] if top1 is not None else None
        drop = row["drop_ci95"][1] if drop is not None else None
    if row["precision"] == "float32" and row["top1"] is not None:
        drop = 0.0
    upper = {
        "max_latency_ms": latency,
        "max_bytes": row["bytes"],
        "max_memory_mb": row["peak_rss_mb"],
        "max_drop": drop,
    }
    found = []
    for name in _BOUNDS:
        bound = getattr(budgets, name)
        if bound is None:
            continue
        value = top1 if name == "min_top1" else upper[name]
        if value is None or (value < bound if name == "min_top1" else value > bound):
            found.append(name)
    return found


def _order(prefer: str) -> Any:
    def key(row: Row) -> tuple[float, ...]:
        top1 = -(row["top1"] if row["top1"] is not None else -1.0)
        return {
            "accuracy": (top1, row["median_ms"], row["bytes"]),
            "latency": (row["median_ms"], top1, row["bytes"]),
            "size": (row["bytes"], top1, row["median_ms"]),
        }[prefer]

    return key


def _why(
    choice: Row, runner_up: Row | None, considered: list[Row], fitting: list[Row], prefer: str
) -> list[str]:
    """Sentences that an engineer can check."""
    best = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}[prefer]
    texts = [
        f"It is the {best} of {counted(len(fitting), 'variant')} within the budgets, "
        f"of {len(considered)} that were measured."
    ]
    if choice["top1"] is not None:
        texts += _better(choice, considered, fitting)
    if runner_up is not None:
        texts += _against(choice, runner_up)
    if choice["trust"] != "good":
        texts.append(f"Trust in its latency: {choice['trust']}. {' '.join(choice['reasons'])}")
    if not choice["trained"] and choice["trained"] is not None:
        texts.append("Its weights are untrained: its accuracy means nothing.")
    return texts


def _better(choice: Row, considered: list[Row], fitting: list[Row]) -> list[str]:
    """Why a variant that is ahead in latency and accuracy was not chosen."""
    ahead = int(choice["beaten_by"], 16)
    if any(ahead >> row["id"] & 1 for row in fitting):
        return ["Another variant is at least as fast and as accurate, but its file is larger."]
    if any(ahead >> row["id"] & 1 for row in considered):
        return ["Another variant is at least as fast and as accurate, but breaks a bound."]
    return []


def _against(choice: Row, other: Row) -> list[str]:
    ratio = statistics.apart(
        choice["median_ms"], choice["median_ci95"], other["median_ms"], other["median_ci95"]
    )
    floor = max(choice["noise_floor"], other["noise_floor"])
    texts = [
        verdicts.judge("It", "the runner-up", ratio, floor).text.replace("than It", "than it") + "."
    ]
    both = choice["top1"] is not None and other["top1"] is not None
    if both and choice["images_hash"] != other["images_hash"]:
        texts.append("Their accuracies were found on different images, and are not compared.")
    elif both:
        low, high = difference95(
            choice["top1"], choice["top1_ci95"], other["top1"], other["top1_ci95"]
        )
        sure = "" if low > 0 or high < 0 else "; these images cannot tell the two apart"
        texts.append(
            f"Its top-1 is {100 * (choice['top1'] - other['top1']):+.1f} points from the "
            f"runner-up's (95 %: {100 * low:+.1f} to {100 * high:+.1f}{sure})."
        )
    share = choice["bytes"] / other["bytes"]
    texts.append(f"Its file is {share:.2f} times the size of the runner-up's.")
    return texts


def _alternatives(considered: list[Row], budgets: Budgets, prefer: str) -> list[dict[str, Any]]:
    """What one bound less would allow."""
    found = []
    for name in _BOUNDS:
        if getattr(budgets, name) is not None:
            without: Any = {name: None}
            wider = replace(budgets, **without)
            nearest = _nearest(name, budgets.statistic)
            fitting = sorted((r for r in considered if not _misses(r, wider)), key=nearest)
            if fitting:
                found.append({"without": name, "variant": _public(fitting[0])})
    return found


def _nearest(bound: str, statistic: str) -> Any:
    """Order by how little the dropped bound would have to give; what is unknown comes last."""
    name = {
        "max_latency_ms": f"{statistic}_ms",
        "max_bytes": "bytes",
        "max_memory_mb": "peak_rss_mb",
        "min_top1": "top1",
        "max_drop": "drop",
    }[bound]
    sign = -1 if bound == "min_top1" else 1
    return lambda row: (row[name] is None, sign * (row[name] or 0))


_PUBLIC = (
    "name",
    "model",
    "alpha",
    "input_size",
    "precision",
    "format",
    "runtime",
    "device",
    "threads",
    "machine",
    "store",
    "sha256",
    "bytes",
    "median_ms",
    "median_ci95",
    "p90_ms",
    "p95_ms",
    "peak_rss_mb",
    "top1",
    "top1_ci95",
    "drop",
    "drop_ci95",
    "images",
    "images_hash",
    "trust",
    "reasons",
)


def _public(row: Row | None) -> dict[str, Any] | None:
    return None if row is None else {name: row[name] for name in _PUBLIC}
