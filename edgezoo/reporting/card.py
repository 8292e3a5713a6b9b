"""A model card of a manifest: what the files are, their inputs and outputs, and the evidence.

After Mitchell et al., Model Cards for Model Reporting (https://arxiv.org/abs/1810.03993); the card
states only what the manifest records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgezoo.core.escapes import markdown, markdown_code
from edgezoo.reporting.text import markdown_table
from edgezoo.results.manifest import Facts


def to_markdown(manifest: Facts) -> str:
    """Return the card of a manifest of `edgezoo.results.manifest.read`."""
    entries: list[Facts] = manifest["artifacts"]
    sections = [
        f"# {_title(manifest, entries[0])}\n",
        _summary(manifest, entries[0]),
        _section("Files", _files(entries)),
        _section("Inputs and outputs", _tensors(entries)),
        _section("Evidence", _evidence(entries)),
        _section("Weights", _weights(manifest["weights"])),
        _section("Calibration", _calibration(entries)),
        _section("Limits", _limits(manifest, entries)),
        _section("How they were made", _making(manifest)),
    ]
    return "\n".join(section for section in sections if section)


def _title(manifest: Facts, entry: Facts) -> str:
    width = "" if entry["alpha"] is None else f" {entry['alpha']:g}"
    height, across = entry["input_size"], entry["contract"].get("input_width")
    size = f"{height} x {across}" if across else f"{height}"
    return f"{markdown(manifest['model'])}{width} at {size} px"


def _summary(manifest: Facts, entry: Facts) -> str:
    contract = entry["contract"]
    if contract["output_kind"] == "features":
        return "An image network without its classifier: its output is features.\n"
    kind = "An image classifier" if manifest["trained"] else "An untrained image classifier"
    return f"{kind} of {contract['classes']} classes, exported by EdgeZoo for devices.\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return markdown_table(columns, ([markdown(cell) for cell in row] for row in rows))


def _files(entries: list[Facts]) -> str:
    rows = [
        (file["path"], entry["format"], entry["precision"], file["bytes"], file["sha256"])
        for entry in entries
        for file in entry["files"]
    ]
    return _table(("file", "format", "precision", "bytes", "SHA-256"), rows)


def _resize(contract: Facts) -> str:
    """Say how an image becomes the input."""
    resize, height = contract["resize"], contract["input_size"]
    size = f"{height} x {contract.get('input_width') or height} px"
    by = markdown(resize["filter"])
    if resize.get("mode") == "stretch":
        return f"The whole image resized to {size} ({by})."
    if resize.get("mode") == "fit":
        return f"Resized to fit into {size} ({by}), black on both sides."
    return (
        f"Shorter side resized to {resize['shorter_side']} px ({by}), then {size} cut out of the "
        "centre."
    )


def _tensors(entries: list[Facts]) -> str:
    rows = []
    for entry in entries:
        taken, contract = entry["input"], entry["contract"]
        shape = " x ".join("any" if n < 0 else str(n) for n in taken["shape"])
        tensor = f"{taken['dtype']} {taken['layout']} {shape}"
        values = f"{contract['color_order']} {taken['kind']}"
        output = f"{contract['output_dtype']} {contract['output_kind']}"
        rows.append((entry["path"], tensor, values, output))
    contract = entries[0]["contract"]
    how = contract["normalization"]
    steps = (
        f"{_resize(contract)} Normalisation {markdown_code(how['mode'])}, inside files that take "
        "pixels."
    )
    return f"{_table(('file', 'tensor', 'values', 'output'), rows)}\n\n{steps}"


def _evidence(entries: list[Facts]) -> str:
    """Return each file against its source network, and what the accuracy guard proved."""
    rows, words = [], []
    for entry in entries:
        check = entry["verification"]
        share, decibels = check.get("agreement_top1"), check.get("sqnr_db")
        same = None if share is None else f"{100 * share:.1f} %"
        sqnr = None if decibels is None else f"{decibels:.1f}"
        used = (check.get("images"), check.get("source"))
        rows.append((entry["path"], check["verdict"], *used, same, sqnr))
        if guard := entry.get("guard"):
            words.append(
                f"- {markdown(entry['path'])}: top-1 drops by {_points(guard, 'drop'):.2f} points "
                f"on {guard['images']} labelled images, by at most "
                f"{_points(guard, 'drop_bound'):.2f} with {guard['confidence']:.0%} confidence; "
                f"{len(guard['float_layers'])} layers are in float."
            )
    columns = ("file", "verdict", "images", "from", "same top-1 as the source", "SQNR dB")
    return "\n\n".join(part for part in (_table(columns, rows), "\n".join(words)) if part)


def _points(guard: Facts, name: str) -> float:
    """Return a drop in percentage points; older manifests have a share."""
    points: float | None = guard.get(f"{name}_points")
    return 100 * guard[name] if points is None else points


def _weights(weights: Facts) -> str:
    keys = ("source", "file", "sha256", "licence", "origin", "note")
    return _facts([("SHA-256" if key == "sha256" else key, weights.get(key)) for key in keys])


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    return _table(("", ""), [row for row in rows if row[1]])


def _calibration(entries: list[Facts]) -> str:
    rows = {
        (c["source"], c["count"], c["classes"], c["seed"], c["list_sha256"])
        for entry in entries
        if (c := entry["contract"]["calibration"]) is not None
    }
    columns = ("images from", "count", "classes", "seed", "SHA-256 of their list")
    return _table(columns, sorted(rows, key=str)) if rows else ""


def _limits(manifest: Facts, entries: list[Facts]) -> str:
    found = []
    if not manifest["trained"]:
        found.append("The weights are random: size and speed are right, answers mean nothing.")
    if any((e["contract"]["calibration"] or {}).get("source") == "synthetic" for e in entries):
        found.append("Calibrated on synthetic images: real ones keep more accuracy.")
    found += [
        "Agreement with the source is not accuracy. Measure that on labelled images of the task, "
        "with `edgezoo evaluate`.",
        *(markdown(text) for text in manifest.get("reproducible_within", [])),
    ]
    return "\n".join(f"- {text}" for text in found)


def _making(manifest: Facts) -> str:
    own, place = manifest.get("edgezoo", {}), manifest.get("platform", {})
    rows = [
        ("command", manifest.get("command")),
        ("EdgeZoo", own.get("version")),
        ("commit", own.get("commit")),
        ("SHA-256 of its code", own.get("code_sha256")),
        ("Python", place.get("python")),
        ("system", " ".join(filter(None, (place.get("system"), place.get("architecture"))))),
    ]
    main = {k: v for e in manifest["artifacts"] for k, v in e["contract"]["versions"].items()}
    return _facts(rows + [item for item in sorted(main.items()) if item[0] != "edgezoo"])
