"""Reports of results stores and of manifests, written to files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError
from edgezoo.core.escapes import shell
from edgezoo.core.typed_json import Count
from edgezoo.reporting import card, comparison_text, html, manifest_facts, sbom, text
from edgezoo.reporting.comparison import EQUAL_WITHIN_POINTS, StoreComparison, compare_contents
from edgezoo.reporting.rows import Row
from edgezoo.reporting.stored import read
from edgezoo.results import manifest
from edgezoo.results.record import Failed, Kind, Step
from edgezoo.results.store import write_in_folder


@dataclass(frozen=True, slots=True)
class FailedVariant:
    """A variant without figures.

    Attributes:
        name: its place in the grid, or the file that was given
    """

    name: str
    file: str | None
    kind: Kind
    device: str
    threads: int
    store: str | None
    step: Step
    message: str


@dataclass(frozen=True, slots=True)
class ReportResult:
    """Reports of results stores, by their paths, and what the stores hold.

    Attributes:
        variants: how many have figures
        with_accuracy: variants whose accuracy was measured
        damaged: records that could not be read
        comparison: null unless there are exactly two stores
    """

    reports: tuple[str, ...]
    variants: Count
    failed: Count
    failures: tuple[FailedVariant, ...]
    with_accuracy: Count
    machines: tuple[str, ...]
    damaged: tuple[str, ...]
    comparison: StoreComparison | None


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """Reports of manifests, by their paths."""

    reports: tuple[str, ...]
    manifests: tuple[str, ...]


Printed = ReportResult | ManifestReport
# CI services look for JUnit's XML by the end of the name.
SUFFIXES = {"junit": "junit.xml"}


def write(
    stores: Sequence[Path],
    kinds: Sequence[str],
    folder: Path,
    *,
    equal_within_points: float = EQUAL_WITHIN_POINTS,
    allow_poor: bool = False,
) -> ReportResult:
    """Read stores and write report.html, .csv, .md, .json and .junit.xml, as `kinds` says.

    Args:
        stores: of exactly two the second is compared with the first.
        kinds: "html", "csv", "md", "json", "junit".
        folder: where to write.
        equal_within_points: a difference of top-1 that does not matter.
        allow_poor: let latencies with poor trust stand on the front.

    Raises:
        UsageError: one store is named twice.
        DataError: not a store, an empty one, or one of a newer schema.
        MissingError: an HTML report without jinja2 and plotly.
    """
    if "html" in kinds:
        html.require()
    stored = read(stores, allow_poor)
    found, failed, parts = stored.rows, stored.failed, stored.parts
    if not found and not failed:
        raise DataError(f"{stores[-1]} holds no records.", "Run edgezoo benchmark first.")
    pair = len(parts) == 2
    comparison = compare_contents(parts[0], parts[1], equal_within_points) if pair else None
    result = ReportResult(
        reports=tuple(str(folder / f"report.{SUFFIXES.get(kind, kind)}") for kind in kinds),
        variants=len(found),
        failed=len(failed),
        failures=tuple(map(_failure, failed)),
        with_accuracy=sum(row.top1 is not None for row in found),
        machines=tuple(dict.fromkeys(row.machine for row in found)),
        damaged=tuple(stored.damaged),
        comparison=comparison,
    )
    contents: dict[str, Callable[[], str]] = {
        "html": lambda: html.page(stored, comparison, allow_poor=allow_poor),
        "csv": lambda: comparison_text.to_csv(comparison) if comparison else text.to_csv(found),
        "md": lambda: (
            comparison_text.to_markdown(comparison)
            if comparison
            else text.to_markdown(found, failed)
        ),
        "junit": lambda: comparison_text.to_junit(found, failed, comparison),
        "json": lambda: _json(result, found),
    }
    for kind, path in zip(kinds, result.reports, strict=True):
        write_in_folder(Path(path), contents[kind]())
    return result


def _json(result: ReportResult, found: list[Row]) -> str:
    facts = {**typed_json.encode(result), "rows": typed_json.encode(found)}
    del facts["reports"]
    return json.dumps(facts, indent=1, allow_nan=False) + "\n"


def _failure(record: Failed) -> FailedVariant:
    variant, error = record.variant, record.error
    place = (record.name, record.file, record.kind, variant.device, variant.threads)
    return FailedVariant(*place, record.store, error.step, error.message)


def write_of_manifests(
    paths: Sequence[Path], kinds: Sequence[str], folder: Path | None
) -> ManifestReport:
    """Write NAME.card.md and NAME.cdx.json of manifests, as `kinds` says, once all files are whole.

    Args:
        kinds: "card" for a model card, "sbom" for a bill of materials.
        folder: where to write; None for next to each manifest.

    Raises:
        DataError: a manifest, or a file that it names, is damaged or missing.
    """
    reports = []
    for path in paths:
        checked = manifest.check(path)
        broken = [file.path for file in checked.files if file.state != "whole"]
        if broken:
            raise DataError(
                f"{path} does not describe what is there: {', '.join(broken)}.",
                f"See edgezoo verify {shell(path)}.",
            )
        facts, name = manifest_facts.read(path), path.name.removesuffix(manifest.SUFFIX)
        place = path.parent if folder is None else folder
        contents = {
            "card": (place / f"{name}.card.md", card.to_markdown(facts)),
            "sbom": (place / f"{name}.cdx.json", sbom.to_cyclonedx(facts, name)),
        }
        for report, content in map(contents.__getitem__, kinds):
            write_in_folder(report, content)
            reports.append(str(report))
    return ManifestReport(tuple(reports), tuple(map(str, paths)))
