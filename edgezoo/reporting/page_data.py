"""Rows as the page holds them: by columns, because 2,000 variants must open within seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields

from edgezoo.core import escapes, typed_json
from edgezoo.reporting.rows import QUANTILES, Row

# More rows make a browser slow; the other reports hold all.
MOST_ROWS = 4000
_BOX = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHOWN_OF_HASH = 12
_LEFT_OUT = ("quantiles_ms", "outcomes", "sha256", "place")


def chosen(found: Sequence[Row]) -> Sequence[Row]:
    """Return the rows of the page; of too many those near the front, then the fastest.

    They stay in order.
    """
    if len(found) <= MOST_ROWS:
        return found
    first = sorted(found, key=lambda r: (r.place not in ("front", "maybe"), r.median_ms))
    wanted = {row.id for row in first[:MOST_ROWS]}
    return [row for row in found if row.id in wanted]


def for_script(found: Sequence[Row], options: dict[str, object]) -> str:
    """Return JSON that cannot end the script element that contains it."""
    columns: dict[str, object] = {
        f.name: _column([_shown(getattr(row, f.name)) for row in found])
        for f in fields(Row)
        if f.name not in _LEFT_OUT
    }
    columns["sha256"] = [_shown(row.sha256[:_SHOWN_OF_HASH]) for row in found]
    columns["box_ms"] = [_box(row) for row in found]
    # The bits as text of their own, what all share once.
    for name, part in _OUTCOMES.items():
        columns[name] = _column([part(row) for row in found])
    text = json.dumps(
        {"columns": columns, "rows": len(found), "options": options},
        allow_nan=False,
        separators=(",", ":"),
    )
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_OUTCOMES: dict[str, Callable[[Row], object]] = {
    "outcomes_of": lambda r: r.outcomes and f"{r.outcomes.labels_hash} {r.outcomes.images}",
    "correct": lambda r: r.outcomes and r.outcomes.correct,
    "unreadable": lambda r: r.outcomes and r.outcomes.unreadable,
}


def _column(values: list[object]) -> object:
    """Return the values, or where many are equal the distinct ones and the place of each."""
    known: dict[str, int] = {}
    distinct: list[object] = []
    places = []
    for value in values:
        key = json.dumps(value)
        if key not in known:
            known[key] = len(distinct)
            distinct.append(value)
        places.append(known[key])
    return values if 2 * len(distinct) > len(values) else {"of": distinct, "at": places}


def _shown(value: object) -> object:
    """Escape control characters, which a browser passes on to what a user copies."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    return escapes.in_template(typed_json.encode(value))


def _box(row: Row) -> object:
    if row.quantiles_ms is None:
        return None
    return [row.quantiles_ms[round(share * (QUANTILES - 1))] for share in _BOX]
