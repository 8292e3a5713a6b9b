"""Reports of results stores and of manifests, written to files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgezoo.core.errors import DataError
from edgezoo.core.files import write_text_atomically
from edgezoo.reporting import card, html, sbom, text
from edgezoo.reporting.comparison import compare
from edgezoo.reporting.rows import failed_name, file_of, rows
from edgezoo.results import manifest
from edgezoo.results.store import Record, read_stores


def write(stores: Sequence[Path], kinds: Sequence[str], folder: Path) -> dict[str, Any]:
    """Read stores and write report.html, .csv, .md and .json, as `kinds` says.

    Returns:
        {"reports", "variants", "failed", "failures", "with_accuracy", "machines", "damaged",
        "comparison"}; the comparison is None unless there are exactly two stores.

    Raises:
        UsageError: one store is named twice.
        DataError: no store, an empty one, or one of a newer schema.
        MissingError: an HTML report without jinja2 and plotly.
    """
    if "html" in kinds:
        html.require()
    parts, damaged = read_stores(stores)
    every = [record for records in parts for record in records]
    if not every:
        raise DataError(f"{stores[-1]} holds no records.", "Run edgezoo benchmark first.")
    comparison = compare(*parts) if len(parts) == 2 else None
    found = rows(every)
    failed = [record for record in every if record["status"] == "failed"]
    facts = {
        "variants": len(found),
        "failed": len(failed),
        "failures": [_failure(record) for record in failed],
        "with_accuracy": sum(row["top1"] is not None for row in found),
        "machines": list(dict.fromkeys(row["machine"] for row in found)),
        "damaged": damaged,
        "comparison": comparison,
    }
    paths = []
    for kind in kinds:
        if kind == "html":
            content = html.to_html(every, found, comparison)
        elif kind == "csv":
            content = text.to_csv(found)
        elif kind == "md":
            content = text.to_markdown(found, failed)
        else:
            content = json.dumps({**facts, "rows": found}, indent=1, allow_nan=False) + "\n"
        paths.append(_write(folder / f"report.{kind}", content))
    return {"reports": paths, **facts}


def _failure(record: Record) -> dict[str, Any]:
    """A variant without figures: what it is, and why."""
    variant, error = record["variant"], record["error"]
    return {
        "name": failed_name(record),
        "file": file_of(record),
        "kind": record["kind"],
        "device": variant["device"],
        "threads": variant["threads"],
        "store": record.get("store"),
        "step": error["step"],
        "message": error["message"],
    }


def write_of_manifests(
    paths: Sequence[Path], kinds: Sequence[str], folder: Path | None
) -> dict[str, Any]:
    """Write NAME.card.md and NAME.cdx.json of manifests, as `kinds` says, once all files are whole.

    Args:
        kinds: "card" for a model card, "sbom" for a bill of materials.
        folder: where to; None for beside each manifest.

    Returns:
        {"reports", "manifests"}: paths.

    Raises:
        DataError: a manifest, or a file that it names, is damaged or not there.
    """
    reports = []
    for path in paths:
        checked = manifest.check(path)
        broken = [file["path"] for file in checked["files"] if file["state"] != "whole"]
        if broken:
            raise DataError(
                f"{path} does not describe what is there: {', '.join(broken)}.",
                f"See edgezoo verify {path}.",
            )
        facts, name = manifest.read(path), path.name.removesuffix(manifest.SUFFIX)
        place = path.parent if folder is None else folder
        try:
            contents = {
                "card": (f"{name}.card.md", card.to_markdown(facts)),
                "sbom": (f"{name}.cdx.json", sbom.to_cyclonedx(facts, name)),
            }
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(
                f"{path} lacks what a report needs: {error}.", "Export again."
            ) from error
        reports += [_write(place / contents[kind][0], contents[kind][1]) for kind in kinds]
    return {"reports": reports, "manifests": [str(path) for path in paths]}


def _write(path: Path, content: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be made: {error.strerror}.", "Choose another --output."
        ) from error
    write_text_atomically(path, content)
    return str(path)
