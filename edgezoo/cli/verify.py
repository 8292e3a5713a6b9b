"""`edgezoo verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import PATH, common, quiet, trusted
from edgezoo.core import typed_json
from edgezoo.core.errors import UsageError
from edgezoo.results.manifest import SUFFIX


@click.command("verify", short_help="Compare files with the Keras network they come from.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT|MANIFEST...")
@click.option(
    "--reproduce",
    is_flag=True,
    help="Export again what each MANIFEST names; exit 6 where a file's bytes differ.",
)
@click.option("--images", default="synthetic", metavar="DIR|NPZ", help="What to compare on.")
@click.option(
    "--count", type=click.IntRange(2), default=64, show_default=True, help="Images to compare on."
)
@click.option(
    "--weights",
    metavar="FILE",
    help="The weights that the files were made from, where they came from a file.",
)
@click.option(
    "--calibration",
    metavar="DIR|NPZ",
    help="For --reproduce: the calibration images, where they are not in the current folder.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the choice of images.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Exit 6 where fewer images than this share keep their top-1.",
)
@trusted
@quiet
@common
def COMMAND(artifacts: tuple[Path, ...], reproduce: bool, as_json: bool, **options: Any) -> int:
    """Compare files with the Keras network that they were made from, and with one another.

    Of a MANIFEST, the hash of every file that it names is checked.

    \b
    Examples:
      edgezoo verify exported/mobilenet_0.5_160_*.onnx
      edgezoo verify m_int8.tflite m_int8.onnx --images photos/ --count 200
      edgezoo verify mine.tflite --weights mine.weights.h5 --min-agreement 0.95
      edgezoo verify exported/mobilenet_0.5_160.manifest.json
      edgezoo verify --reproduce exported/mobilenet_0.5_160.manifest.json
    """
    manifests = [path for path in artifacts if path.name.endswith(SUFFIX)]
    if manifests and len(manifests) < len(artifacts):
        raise UsageError("Manifests and other files are verified apart.", "Name one kind.")
    if reproduce and not manifests:
        raise UsageError(
            "--reproduce needs a manifest, which says how files were made.",
            f"Name a file that ends in {SUFFIX}.",
        )
    if manifests:
        return _verify_manifests(manifests, reproduce, as_json, options)
    return _verify_files(artifacts, as_json, options)


def _verify_files(artifacts: tuple[Path, ...], as_json: bool, options: dict[str, Any]) -> int:
    from edgezoo.pipeline.verify_files import verify_files

    with _console.status(not options["quiet"] and not options["debug"]) as progress:
        facts = verify_files(
            artifacts,
            images=options["images"],
            count=options["count"],
            weights=options["weights"],
            seed=options["seed"],
            min_agreement=options["min_agreement"],
            progress=progress,
            debug=options["debug"],
        )
    if as_json:
        _console.print_json(facts)
    else:
        rows = [
            (
                Path(entry["artifact"]).name,
                entry["verdict"],
                _console.agreement(entry),
                _console.decibels(entry),
                "-" if entry["max_abs_diff"] is None else f"{entry['max_abs_diff']:.1e}",
            )
            for entry in facts["results"]
        ]
        agree = "same top-1" if facts["results"][0]["cosine"] is None else "cosine"
        _console.table(
            f"Against Keras on {facts['images']} images ({facts['image_source']})",
            ("file", "verdict", agree, "SQNR dB", "max diff"),
            rows,
        )
        _console.next_command(f"edgezoo evaluate {artifacts[0]} --images FOLDER_OF_CLASSES")
    for entry in facts["results"]:
        for text in entry["failures"]:
            _console.note(f"Failed: {entry['artifact']}: {text}")
    return 0 if facts["passed"] else 6


def _verify_manifests(
    paths: list[Path], reproduce: bool, as_json: bool, options: dict[str, Any]
) -> int:
    """Hashes, and with --reproduce another export: 5 for a damaged file, 6 for other bytes."""
    from edgezoo.results import manifest

    found = [{**typed_json.encode(manifest.check(path)), "reproduction": None} for path in paths]
    whole = all(entry["passed"] for entry in found)
    if reproduce and whole:
        for path, entry in zip(paths, found, strict=True):
            entry["reproduction"] = _reproduced(path, options)
    same = all(entry["reproduction"]["reproduced"] for entry in found if entry["reproduction"])
    if as_json:
        _console.print_json({"passed": whole and same, "manifests": found})
    else:
        for entry in found:
            _show_manifest(entry)
    return 5 if not whole else 0 if same else 6


def _reproduced(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    from edgezoo.pipeline.reproduce import reproduce

    given = {name: options[name] for name in ("weights", "calibration")}
    if options["images"] != "synthetic":
        given["images"] = options["images"]
    with _console.status(not options["quiet"] and not options["debug"]) as progress:
        return reproduce(
            path, given, trust=options["trust"], progress=progress, debug=options["debug"]
        )


def _show_manifest(facts: dict[str, Any]) -> None:
    again = facts["reproduction"]
    same = {} if again is None else {file["path"]: file["same"] for file in again["files"]}
    columns: tuple[str, ...] = ("file", "SHA-256", "state")
    rows: list[tuple[str, ...]] = [
        (file["path"], file["sha256"][:16], file["state"]) for file in facts["files"]
    ]
    if again is not None:
        columns = (*columns, "made again")
        rows = [(*row, "the same" if same[row[0]] else "differs") for row in rows]
    _console.table(facts["manifest"], columns, rows)
    if facts["pending"]:
        _console.warn("An export into this folder was cut off. Run it again.")
    for file in facts["files"]:
        if file["state"] != "whole":
            _console.note(f"Failed: {file['path']} is {file['state']}. Export it again.")
        elif not same.get(file["path"], True):
            _console.note(f"Failed: {file['path']}: made again, its bytes are others.")
    if again is not None and not again["reproduced"]:
        for text in again["differences"] or ["Nothing that is recorded is different now."]:
            _console.note(f"  {text}")
    if again is None:
        _console.next_command(f"edgezoo verify --reproduce {facts['manifest']}")
    else:
        _console.next_command(f"edgezoo report {facts['manifest']} --as card")
