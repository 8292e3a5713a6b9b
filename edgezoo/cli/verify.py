"""`edgezoo verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgezoo.cli import _console
from edgezoo.cli._options import (
    PATH,
    SEED,
    SEVERAL,
    SHARE,
    common,
    flag,
    option,
    protected,
    quiet,
    trusted,
)
from edgezoo.core.errors import UsageError
from edgezoo.core.escapes import shell
from edgezoo.results.manifest import SUFFIX

if TYPE_CHECKING:
    from edgezoo.pipeline.reproduce import CheckedManifest, Reproduction


@click.command("verify", short_help="Compare files with their Keras model.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT|MANIFEST...")
@flag("--reproduce", "Export the files of each MANIFEST again; exit 6 if their bytes differ.")
@option("--images DIR|NPZ", "Images to compare on.", default="synthetic")
@option("--split NAME", "Compare on this folder of --images alone, such as val.")
@option("--count", "Number of images.", SEVERAL, shown=64)
@option("--weights FILE", "Weights file that the files were exported from.")
@option(
    "--calibration DIR|NPZ", "For --reproduce: calibration images outside of the current folder."
)
@option("--seed", "Seed of the choice of images.", SEED, default=0)
@option("--min-agreement SHARE", "Exit 6 if fewer images than this share keep their top-1.", SHARE)
@trusted
@protected
@quiet
@common
def COMMAND(artifacts: tuple[Path, ...], reproduce: bool, as_json: bool, **options: Any) -> int:
    """Compare files with the Keras model that they were exported from, and with each other.

    For a MANIFEST, check the hash of every file that it lists.

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
        raise UsageError("Manifests and other files are verified apart.", "Give only one kind.")
    if reproduce and not manifests:
        raise UsageError(
            "--reproduce needs a manifest, which records how files were exported.",
            f"Give a file whose name ends in {SUFFIX}.",
        )
    if manifests:
        return _verify_manifests(manifests, reproduce, as_json, options)
    return _verify_files(artifacts, as_json, options)


def _verify_files(artifacts: tuple[Path, ...], as_json: bool, options: dict[str, Any]) -> int:
    from edgezoo.pipeline.verify_files import verify_files

    names = ("images", "split", "count", "weights", "seed", "min_agreement", "debug")
    with _console.status(not options["quiet"] and not options["debug"]) as progress:
        result = verify_files(artifacts, **{n: options[n] for n in names}, progress=progress)
    if as_json:
        _console.print_json(result)
    else:
        rows = []
        for entry in result.results:
            largest = "-" if entry.max_abs_diff is None else f"{entry.max_abs_diff:.1e}"
            closeness = (_console.agreement(entry), _console.decibels(entry), largest)
            rows.append((entry.artifact.name, entry.verdict, *closeness))
        agree = "same top-1" if result.results[0].cosine is None else "cosine"
        title = f"Against Keras on {result.images} images ({result.image_source})"
        _console.table(title, ("file", "verdict", agree, "SQNR dB", "max diff"), rows)
        _console.next_command(f"edgezoo evaluate {shell(artifacts[0])} --images FOLDER_OF_CLASSES")
    for entry in result.results:
        for text in entry.failures:
            _console.note(f"Failed: {entry.artifact}: {text}")
    return 0 if result.passed else 6


def _verify_manifests(
    paths: list[Path], reproduce: bool, as_json: bool, options: dict[str, Any]
) -> int:
    """Check hashes, and with --reproduce export again; 5 for a damaged file, 6 for other bytes."""
    from edgezoo.pipeline.reproduce import CheckedManifest, CheckedManifests
    from edgezoo.results import manifest

    checked = [manifest.check(path) for path in paths]
    whole = all(entry.passed for entry in checked)
    again = [_reproduced(path, options) if reproduce and whole else None for path in paths]
    same = all(found.reproduced for found in again if found)
    entries = tuple(map(CheckedManifest.of, checked, again))
    if as_json:
        _console.print_json(CheckedManifests(whole and same, entries).to_json())
    else:
        for entry in entries:
            _show_manifest(entry)
    return 5 if not whole else 0 if same else 6


def _reproduced(path: Path, options: dict[str, Any]) -> Reproduction:
    from edgezoo.pipeline.reproduce import reproduce

    given = {name: options[name] for name in ("weights", "calibration")}
    if options["images"] != "synthetic":
        given["images"] = options["images"]
    with _console.status(not options["quiet"] and not options["debug"]) as progress:
        return reproduce(
            path, given, trust=options["trust"], progress=progress, debug=options["debug"]
        )


def _show_manifest(checked: CheckedManifest) -> None:
    again = checked.reproduction
    same = {} if again is None else {file.path: file.same for file in again.files}
    columns: tuple[str, ...] = ("file", "SHA-256", "state")
    rows: list[tuple[str, ...]] = [
        (file.path, file.sha256[:16], file.state) for file in checked.files
    ]
    if again is not None:
        columns = (*columns, "exported again")
        rows = [(*row, "same" if same[row[0]] else "differs") for row in rows]
    _console.table(checked.manifest, columns, rows)
    if checked.pending:
        _console.warn("An export into this folder was interrupted. Run it again.")
    for file in checked.files:
        if file.state != "whole":
            _console.note(f"Failed: {file.path} is {file.state}. Export it again.")
        elif not same.get(file.path, True):
            _console.note(f"Failed: {file.path}: the bytes differ when exported again.")
    if again is None:
        _console.next_command(f"edgezoo verify --reproduce {shell(checked.manifest)}")
        return
    if not again.reproduced:
        for text in again.differences or ["No recorded version or input has changed."]:
            _console.note(f"  {text}")
    _console.next_command(f"edgezoo report {shell(checked.manifest)} --as card")
