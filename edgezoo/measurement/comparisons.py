"""Verdicts on what was measured in one session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core.errors import EdgeZooError
from edgezoo.measurement import protocol, statistics, verdicts
from edgezoo.measurement.session import Session


def compare(session: Session) -> list[dict[str, Any]]:
    """Verdicts on what was measured together.

    Each file against the first one with the same threads, each number of threads against the
    first one of the same file, and int8 against float32 of the same network and format.
    """
    good = [(i, r) for i, r in enumerate(session.results) if not isinstance(r, EdgeZooError)]
    every = [result for _, result in good]
    pairs: dict[tuple[int, int], None] = {}
    for i, result in good:
        for j, base in good:
            if i != j and (j, i) not in pairs and _is_base(result, base, every):
                pairs[i, j] = None
    return [_compare(session, i, j) for i, j in pairs]


def _is_base(result: dict[str, Any], base: dict[str, Any], every: list[dict[str, Any]]) -> bool:
    same_threads = base["threads"] == result["threads"]
    if same_threads and base is next(r for r in every if r["threads"] == result["threads"]):
        return True
    if base is next(r for r in every if r["artifact"] == result["artifact"]):
        return True
    return same_threads and _is_twin(result, base)


def _is_twin(result: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether these are int8 and float32 of one network in one format."""
    network = ("model", "alpha", "input_size", "format", "device")
    return (
        result["model"] is not None
        and (result["precision"], base["precision"]) == ("int8", "float32")
        and all(result[name] == base[name] for name in network)
    )


def _compare(session: Session, i: int, j: int) -> dict[str, Any]:
    result, base = session.results[i], session.results[j]
    mine, theirs = session.blocks[i], session.blocks[j]
    assert isinstance(result, dict) and isinstance(base, dict) and mine and theirs
    ratio = statistics.ratio(mine, theirs)
    threads = result["threads"] != base["threads"]
    short = short_names([r["artifact"] for r in session.results if isinstance(r, dict)])
    names = [
        short[r["artifact"]] + (f" (threads {r['threads']})" if threads else "")
        for r in (result, base)
    ]
    verdict = verdicts.judge(names[0], names[1], ratio, session.noise_floor)
    machine = session.environment["machine"]
    why = None
    if _is_twin(result, base) and not threads:
        why = verdicts.int8_remark(verdict.word, machine["features"], machine["architecture"])
    return {
        "artifact": result["artifact"],
        "base": base["artifact"],
        "threads": [result["threads"], base["threads"]],
        "ratio": ratio.to_json(),
        "verdict": verdict.word,
        "text": verdict.text + (f"; {why}" if why else ""),
    }


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The end of each path that no other one has: mostly the file's name, else with folders."""
    parts = {path: Path(path).parts for path in paths}
    names = {}
    for path, own in parts.items():
        count = 1
        others = [other for other in parts.values() if other != own]
        while count < len(own) and any(other[-count:] == own[-count:] for other in others):
            count += 1
        names[path] = str(Path(*own[-count:]))
    return names


def to_json(session: Session) -> dict[str, Any]:
    """The session but for its results: what stands beside them in JSON."""
    check = session.self_check
    return {
        "comparisons": compare(session),
        "self_check": check.to_json() if check else None,
        "noise_floor": round(session.noise_floor, 4),
        "protocol": {"version": protocol.VERSION, **asdict(session.settings)},
        "environment": session.environment,
    }
