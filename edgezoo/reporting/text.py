"""Reports without a browser: CSV for spreadsheets, Markdown for pull requests."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields

from edgezoo.core import escapes
from edgezoo.core.escapes import markdown
from edgezoo.reporting.matching import failed_label
from edgezoo.reporting.rows import Row, noise_floors
from edgezoo.results.record import Failed

_LEFT_OUT = {"id", "quantiles_ms", "outcomes"}
_LEFT_OUT |= {"reasons", "session", "self_checked"}
MOST_SESSIONS = 10


def shortened(texts: Sequence[str], most: int) -> str:
    """Join texts; say how many are left out."""
    more = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {more} more" if more > 0 else "")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_csv(found: Sequence[Row]) -> str:
    """Return a line per variant; intervals take two columns, `_low` and `_high`."""
    stream = io.StringIO()
    lines = [_flat(row) for row in found]
    if lines:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: escapes.csv(value) for name, value in line.items()} for line in lines
        )
    return stream.getvalue()


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name in (f.name for f in fields(row) if f.name not in _LEFT_OUT):
        value = getattr(row, name)
        if name.endswith("_ci95"):
            low, high = value or (None, None)
            flat |= {f"{name[:-5]}_low": low, f"{name[:-5]}_high": high}
        else:
            flat[name] = value
    return flat


def to_markdown(found: Sequence[Row], failed: Sequence[Failed]) -> str:
    """Return a table per machine, fastest first, the front in bold."""
    parts = ["# EdgeZoo report\n"]
    several = len({row.images_hash for row in found if row.top1 is not None}) > 1
    for machine in dict.fromkeys(row.machine for row in found):
        own = sorted((r for r in found if r.machine == machine), key=lambda r: r.median_ms)
        parts += [f"## {markdown(machine)}\n", _table(own, several)]
        if floors := noise_floors(own):
            parts.append(f"Noise floor: {markdown(shortened(floors, MOST_SESSIONS))}.\n")
    if failed:
        texts = (f"- {markdown(failed_label(r))}: {markdown(r.error.message)}" for r in failed)
        parts += ["## Failed\n", *texts, ""]
    if any(row.top1 is not None for row in found):
        parts.append(
            "Bold: no variant here is both faster and more accurate. *Italic*: one is, but within "
            "the noise.\n"
            "Intervals are 95 %; the drop is that of top-1 against float32, in points.\n"
        )
    else:
        parts.append("Intervals are 95 %.\n")
    if several:
        parts.append(
            "Accuracies were measured on several lists of images; "
            "those of different lists are not compared.\n"
        )
    return "\n".join(parts)


_COLUMNS = ("variant", "device", "threads", "median ms", "95 %", "p95 ms", "top-1 %", "drop")


def _table(own: list[Row], images: bool) -> str:
    columns = (*_COLUMNS, "size kB", "trust", *(("images",) if images else ()))
    lists = {row.id: (markdown(row.image_list or "-"),) if images else () for row in own}
    rows = ((*_cells(row), *lists[row.id]) for row in own)
    return markdown_table(columns, rows) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    stars = {"front": "**", "maybe": "*"}.get(row.place or "", "")
    kind = f" ({row.mark})" if row.mark else ""
    low, high = row.median_ci95
    drop = "-"
    if row.drop_points is not None and row.drop_points_ci95 is not None:
        drop = "{:.1f} ({:.1f} to {:.1f})".format(row.drop_points, *row.drop_points_ci95)
    return (
        f"{stars}{markdown(row.name)}{stars}{kind}",
        markdown(row.device),
        str(row.threads),
        f"{row.median_ms:.3f}",
        f"{low:.3f} to {high:.3f}",
        "-" if row.p95_ms is None else f"{row.p95_ms:.3f}",
        "-" if row.top1 is None else f"{100 * row.top1:.1f}",
        drop,
        f"{row.bytes / 1000:.0f}",
        markdown(row.trust),
    )
