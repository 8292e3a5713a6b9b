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
    split,
    trusted,
)
from edgezoo.core.errors import UsageError
from edgezoo.core.escapes import shell
from edgezoo.results.manifest import SUFFIX

if TYPE_CHECKING:
    from edgezoo.pipeline.reproduce import CheckedManifest, Reproduction
    from edgezoo.pipeline.verify_everywhere import FileEverywhere


WRONG = ("differs", "crashed")  # verdicts of a reader that fail the file


@click.command("verify", short_help="Compare files with their Keras model.")
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT|MANIFEST...")
@flag("--everywhere", "Compare the answers of every reader of such files that is installed.")
@option("--readers LIST", "With --everywhere: ask these alone.")
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
def COMMAND(
    artifacts: tuple[Path, ...], everywhere: bool, reproduce: bool, as_json: bool, **options: Any
) -> int:
    """Compare files with the Keras model that they were exported from, and with each other.

    For a MANIFEST, check the hash of every file that it lists. With --everywhere, compare each file
    with itself, in other runtimes, libraries and on emulated CPUs.

    \b
    Examples:
      edgezoo verify exported/mobilenet_0.5_160_*.onnx
      edgezoo verify m_int8.tflite m_int8.onnx --images photos/ --count 200
      edgezoo verify mine.tflite --weights mine.weights.h5 --min-agreement 0.95
      edgezoo verify m_int8.onnx --everywhere --images photos/
      edgezoo verify exported/mobilenet_0.5_160.manifest.json
      edgezoo verify --reproduce exported/mobilenet_0.5_160.manifest.json
    """
    manifests = [path for path in artifacts if path.name.endswith(SUFFIX)]
    if manifests and len(manifests) < len(artifacts):
        raise UsageError("Manifests and other files are verified apart.", "Give only one kind.")
    if options["readers"] is not None and not everywhere:
        raise UsageError("--readers chooses what --everywhere asks.", "Add --everywhere.")
    if everywhere:
        _check_everywhere(bool(manifests), reproduce, options)
        return _verify_everywhere(artifacts, as_json, options)
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


def _check_everywhere(manifests: bool, reproduce: bool, options: dict[str, Any]) -> None:
    """Refuse what --everywhere does not look at."""
    if manifests or reproduce:
        raise UsageError("--everywhere opens files, not manifests.", "Name the files themselves.")
    for name in ("weights", "calibration", "min_agreement"):
        if options[name] is not None:
            raise UsageError(
                f"--everywhere compares a file with itself: --{name.replace('_', '-')} has no use.",
                "Leave one of them out.",
            )


def _verify_everywhere(artifacts: tuple[Path, ...], as_json: bool, options: dict[str, Any]) -> int:
    from edgezoo.pipeline.verify_everywhere import verify_everywhere

    names = ("images", "split", "count", "seed", "debug")
    with _console.status(not options["quiet"] and not options["debug"]) as progress:
        result = verify_everywhere(
            artifacts,
            readers=split((options["readers"],)) if options["readers"] else None,
            **{name: options[name] for name in names},
            progress=progress,
        )
    if as_json:
        _console.print_json(result)
    else:
        for found in result.files:
            _show_readers(found, result.image_source)
    for found in result.files:
        for reader in found.readers:
            if reader.verdict in WRONG:
                words = f"{reader.reason} {reader.hint or ''}".strip()
                _console.note(f"Failed: {found.artifact} in {reader.reader}: {words}")
    return 0 if result.passed else 6


def _show_readers(found: FileEverywhere, source: str) -> None:
    """Print the table of one file, the reasons, and what is not installed."""
    rows, here = [], [r for r in found.readers if r.verdict != "missing"]
    for reader in here:
        share = "-" if reader.agreement_top1 is None else f"{reader.agreement_top1:.1%}"
        largest = "-" if reader.max_abs_diff is None else f"{reader.max_abs_diff:.1e}"
        version = (reader.version or "").rpartition(" ")[2]
        rows.append((reader.reader, version or "-", reader.verdict, share, largest))
    title = f"{found.artifact.name} on {here[0].images} images ({source})"
    _console.table(title, ("reader", "version", "verdict", "same top-1", "max diff"), rows)
    if firm := found.margins:
        _console.say(
            f"No kernel turns over {firm.firm_share:.1%} of the images: there the best class leads "
            f"by more than {2 * firm.noise:.2g}, twice the largest difference of right readers."
        )
    for reader in here:
        if reader.arithmetic:
            _console.note(f"{reader.reader} computed in {reader.arithmetic}.")
        if reader.reason and reader.verdict not in WRONG:
            words = f"{reader.reason} {reader.hint or ''}".strip()
            _console.note(f"{reader.reader} ({reader.verdict}): {words}")
    for reader in found.readers:
        if reader.verdict == "missing":
            _console.note(f"Not here: {reader.reader}. {reader.hint or reader.reason}")


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
