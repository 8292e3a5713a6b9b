"""Two stores without a browser: Markdown for a pull request, CSV, and JUnit XML for CI."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from xml.etree import ElementTree

from edgezoo.core import escapes
from edgezoo.core.errors import counted
from edgezoo.core.escapes import markdown
from edgezoo.core.typed_json import shared
from edgezoo.reporting.comparison import (
    AccuracyChange,
    ComparedVariant,
    LatencyChange,
    StoreComparison,
    Verdict,
)
from edgezoo.reporting.matching import failed_label
from edgezoo.reporting.rows import Row
from edgezoo.reporting.text import markdown_table
from edgezoo.results.record import Failed, GridPlace

# Comments of code hosts hold 65,536 characters.
MOST_LINES = 100
_ORDER: tuple[Verdict, ...] = ("worse", "better", "cannot tell", "same")
_SIGNS: dict[Verdict, str] = {
    "worse": "\u274c",
    "better": "\u2705",
    "cannot tell": "\u2754",
    "same": "=",
}
# What XML 1.0 cannot hold, even escaped.
_NOT_IN_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def by_severity(comparison: StoreComparison) -> list[ComparedVariant]:
    """Return the compared variants, what became worse first."""
    return sorted(comparison.variants, key=lambda entry: _ORDER.index(entry.verdict))


def summary(comparison: StoreComparison) -> str:
    """Return how many variants became worse, better, stayed or cannot be told."""
    words = [entry.verdict for entry in comparison.variants]
    parts = [
        f"{words.count('worse')} worse",
        f"{words.count('better')} better",
        f"{words.count('same')} the same",
        f"{words.count('cannot tell')} cannot be told",
        f"{len(comparison.broken)} failed now",
    ]
    return f"{counted(len(words), 'variant')} in both stores: {', '.join(parts)}."


def to_markdown(comparison: StoreComparison) -> str:
    """Return before and after with verdicts, for a comment on a pull request."""
    entries = by_severity(comparison)
    columns = ("", "variant", "median ms", "ratio (95 %)", "top-1 %", "points (95 %)", "size kB")
    told = [entry for entry in entries if entry.verdict != "same"]
    parts = ["# EdgeZoo: before and after\n", f"**{summary(comparison)}**\n"]
    if told:
        parts.append(markdown_table(columns, map(_cells, told[:MOST_LINES])) + "\n")
    if len(told) > MOST_LINES:
        parts.append(f"And {len(told) - MOST_LINES} more, in the other reports.\n")
    parts += _bullets("Failed now", [f"{e.name}: {e.message}" for e in comparison.broken])
    same = entries[len(told) :]
    if same:
        heading = f"{counted(len(same), 'variant')} the same"
        table = markdown_table(columns, map(_cells, same[:MOST_LINES]))
        parts.append(f"<details><summary>{heading}</summary>\n\n{table}\n\n</details>\n")
    reasons = [f"{e.name}: {reason}" for e in entries for reason in e.reasons]
    parts += _bullets("Cannot tell, the trust is poor", comparison.warnings)
    parts += _bullets("Not compared", [*reasons, *comparison.not_compared])
    parts.append(
        "Each cell is before \u2192 after. Intervals are 95 % and cover what two sessions differ "
        "by; accuracies are compared in pairs unless it says otherwise. "
        "\u274c worse, \u2705 better, \u2754 cannot tell, = the same.\n"
    )
    return "\n".join(parts)


def _bullets(heading: str, texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    lines = [f"- {markdown(text)}" for text in texts[:MOST_LINES]]
    more = len(texts) - MOST_LINES
    return [f"## {heading}\n", *lines, *([f"- and {more} more"] if more > 0 else []), ""]


def _cells(entry: ComparedVariant) -> tuple[str, ...]:
    latency, accuracy, (small, large) = entry.latency, entry.accuracy, entry.bytes
    return (
        _SIGNS[entry.verdict],
        markdown(entry.name),
        f"{latency.before:.3f} \u2192 {latency.after:.3f}" if latency else "-",
        _ratio(latency) if latency else "-",
        f"{100 * accuracy.before:.1f} \u2192 {100 * accuracy.after:.1f}" if accuracy else "-",
        _points(accuracy) if accuracy else "-",
        f"{small / 1000:.0f} \u2192 {large / 1000:.0f} {_SIGNS[entry.size]}",
    )


def _ratio(change: LatencyChange) -> str:
    low, high = change.ci95
    return f"{change.change:.2f} ({low:.2f} to {high:.2f}) {_SIGNS[change.verdict]}"


def _points(change: AccuracyChange) -> str:
    low, high = change.change_points_ci95
    paired = "" if change.paired else ", not paired"
    return (
        f"{change.change_points:+.1f} ({low:+.1f} to {high:+.1f}{paired}) {_SIGNS[change.verdict]}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of the CSV file; nothing where nothing was compared."""

    name: str
    verdict: str
    model: str | None = None
    alpha: float | None = None
    input_size: int | None = None
    precision: str | None = None
    format: str | None = None
    device: str | None = None
    threads: int | None = None
    file: str | None = None
    machine: str | None = None
    median_ms_before: float | None = None
    median_ms_after: float | None = None
    latency_ratio: float | None = None
    latency_ratio_low: float | None = None
    latency_ratio_high: float | None = None
    latency_verdict: str | None = None
    trust_before: str | None = None
    trust_after: str | None = None
    top1_before: float | None = None
    top1_after: float | None = None
    top1_change_points: float | None = None
    top1_change_points_low: float | None = None
    top1_change_points_high: float | None = None
    top1_paired: bool | None = None
    top1_verdict: str | None = None
    bytes_before: int | None = None
    bytes_after: int | None = None
    size_verdict: str | None = None
    runtime_before: str | None = None
    runtime_after: str | None = None
    same_file: bool | None = None
    reasons: str | None = None


def to_csv(comparison: StoreComparison) -> str:
    """Return a line per variant, before and after, with verdicts; then what was not compared."""
    lines = [_line(entry) for entry in by_severity(comparison)]
    lines += [_Line(name=e.name, verdict="failed", reasons=e.message) for e in comparison.broken]
    for text in comparison.not_compared:
        name, _, reason = text.rpartition(": ")
        lines.append(_Line(name=name, verdict="not compared", reasons=reason))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [f.name for f in fields(_Line)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: escapes.csv(value) for name, value in shared(line, _Line).items()} for line in lines
    )
    return stream.getvalue()


def _line(entry: ComparedVariant) -> _Line:
    latency, accuracy = entry.latency, entry.accuracy
    ratio = latency.ci95 if latency else (None, None)
    points = accuracy.change_points_ci95 if accuracy else (None, None)
    trust = latency.trust if latency else (None, None)
    return _Line(
        name=entry.name,
        verdict=entry.verdict,
        **shared(entry.variant, GridPlace),
        file=entry.file,
        machine=entry.machine,
        median_ms_before=latency.before if latency else None,
        median_ms_after=latency.after if latency else None,
        latency_ratio=latency.change if latency else None,
        latency_ratio_low=ratio[0],
        latency_ratio_high=ratio[1],
        latency_verdict=latency.verdict if latency else None,
        trust_before=trust[0],
        trust_after=trust[1],
        top1_before=accuracy.before if accuracy else None,
        top1_after=accuracy.after if accuracy else None,
        top1_change_points=accuracy.change_points if accuracy else None,
        top1_change_points_low=points[0],
        top1_change_points_high=points[1],
        top1_paired=accuracy.paired if accuracy else None,
        top1_verdict=accuracy.verdict if accuracy else None,
        bytes_before=entry.bytes[0],
        bytes_after=entry.bytes[1],
        size_verdict=entry.size,
        runtime_before=entry.runtime[0],
        runtime_after=entry.runtime[1],
        same_file=entry.same_file,
        reasons="; ".join(entry.reasons) or None,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A test case: passed unless it has an outcome, the name of an element of JUnit's."""

    group: str
    name: str
    outcome: str | None = None
    text: str = ""


def to_junit(found: Sequence[Row], failed: Sequence[Failed], other: StoreComparison | None) -> str:
    """Return JUnit XML: of two stores a case per variant and figure, of one a case per variant.

    What became worse is a failure, what failed an error, what cannot be told or compared skipped.
    """
    cases = list(_compared_cases(other) if other else _variant_cases(found, failed))
    outcomes = [case.outcome for case in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "edgezoo", **counts})
    for case in cases:
        facts = {"classname": f"edgezoo.{case.group}", "name": _in_xml(case.name), "time": "0"}
        element = ElementTree.SubElement(suite, "testcase", facts)
        if case.outcome:
            told = ElementTree.SubElement(element, case.outcome, {"message": _in_xml(case.text)})
            told.text = _in_xml(case.text)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _compared_cases(comparison: StoreComparison) -> Iterator[_Case]:
    outcomes: dict[str, str] = {"worse": "failure", "cannot tell": "skipped"}
    for entry in comparison.variants:
        for what, verdict, text in entry.verdicts:
            yield _Case(what, entry.name, outcomes.get(verdict), f"{verdict}: {text}")
        for reason in entry.reasons:
            yield _Case("compared", entry.name, "skipped", reason)
    for broken in comparison.broken:
        yield _Case("measured", broken.name, "error", broken.message)
    for text in comparison.not_compared:
        name, _, reason = text.rpartition(": ")
        yield _Case("compared", name, "skipped", reason)


def _variant_cases(found: Iterable[Row], failed: Iterable[Failed]) -> Iterator[_Case]:
    for row in found:
        yield _Case("measured", f"{row.name} {row.device} threads {row.threads}")
    for record in failed:
        yield _Case("measured", failed_label(record), "error", record.error.message)


def _in_xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
