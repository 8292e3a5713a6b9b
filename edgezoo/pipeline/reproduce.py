"""Makes the files of a manifest again, and compares the hashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgezoo.core.errors import DataError
from edgezoo.core.spec import BuildArguments
from edgezoo.formats.keras_files.reading import is_user_model
from edgezoo.pipeline import provenance
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.pipeline.run import execute
from edgezoo.results import manifest as manifests

Facts = dict[str, Any]
# Words that stand in a request where a file or folder may stand too.
_WORDS = {"calibration": ("synthetic",), "weights": ("imagenet", "random")}


def reproduce(
    path: Path,
    given: dict[str, str | None],
    *,
    trust: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> Facts:
    """Export again what a manifest names, beside the cache, and compare the hashes.

    Args:
        path: the manifest. Files and folders that its request names are looked for in the current
            folder and beside it.
        given: where some of them are instead, by their field of `ExportRequest`; "weights" also
            stands for a network of one's own.
        trust: code in a user's network may run; what the manifest says of it does not count.

    Returns:
        {"reproduced", "files": [{"path", "sha256", "again", "same"}], "differences": what is not
        as it was then, in words}. "again" is None for a file that is not made any more.

    Raises:
        DataError: see `manifest.read`; or an input of the request is not here.
        EdgeZooError: the export fails.
    """
    facts = manifests.read(path)
    found: list[Facts] = []
    different: list[str] = _changes(facts)
    for request, entries in _runs(facts["artifacts"], path):
        asked = _request(request, path.parent, given, trust)
        plan = resolve(asked)
        _check_weights(plan, entries[0], path)
        with TemporaryDirectory(prefix="edgezoo-") as folder:
            plan = replace(plan, request=replace(plan.request, output=Path(folder)))
            made = execute(plan, progress, debug).artifacts
        again = {Path(f["path"]).name: f["sha256"] for entry in made for f in entry["files"]}
        different += _other_inputs(entries, made)
        for file in (file for entry in entries for file in entry["files"]):
            digest = again.get(file["path"])
            same = digest == file["sha256"]
            found.append({**_named(file), "again": digest, "same": same})
    return {
        "reproduced": all(file["same"] for file in found),
        "files": found,
        "differences": list(dict.fromkeys(different)),
    }


def _named(file: Facts) -> Facts:
    return {"path": file["path"], "sha256": file["sha256"]}


def _runs(entries: list[Facts], path: Path) -> list[tuple[Facts, list[Facts]]]:
    """Entries by the request that they were made for."""
    groups: dict[str, list[Facts]] = {}
    for entry in entries:
        contract = entry.get("contract")
        known = isinstance(contract, dict) and isinstance(contract.get("weights"), dict)
        if not known or not isinstance(entry.get("request"), dict):
            raise DataError(
                f"{path} does not say how {entry['path']} was asked for: an older EdgeZoo wrote "
                "it.",
                "Export it again.",
            )
        groups.setdefault(json.dumps(entry["request"], sort_keys=True), []).append(entry)
    return [(json.loads(text), group) for text, group in groups.items()]


def _request(
    recorded: Facts, folder: Path, given: dict[str, str | None], trust: bool
) -> ExportRequest:
    """The request that the manifest recorded, with its inputs found again.

    Raises:
        DataError: an input is not here, or the request holds what no request can.
    """
    unknown = provenance.unknown_fields(recorded)
    if unknown:
        raise DataError(
            f"The manifest's request holds {', '.join(sorted(unknown))}, which this EdgeZoo does "
            "not know.",
            "Upgrade EdgeZoo.",
        )
    facts = {k: v for k, v in recorded.items() if k not in BuildArguments.__slots__}
    own = is_user_model(str(facts.get("model")))
    for name in provenance.PATHS:
        word = facts.get(name)
        if word is None or word in _WORDS.get(name, ()) or (name == "model" and not own):
            continue
        option = "weights" if name == "model" else name
        facts[name] = _found(str(word), option, folder, given.get(option))
    for name in ("images", "ground_truth", "labels"):
        facts[name] = facts.get(name) and Path(facts[name])
    facts |= {"verify": False, "min_agreement": None, "cache": False, "trust": trust}
    try:
        facts |= {name: tuple(facts[name]) for name in ("formats", "precisions")}
        return ExportRequest(arguments=BuildArguments.from_json(recorded), **facts)
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"The manifest's request is damaged: {error}.") from error


def _found(name: str, field: str, folder: Path, given: str | None) -> str:
    if given is not None:
        return given
    for place in (Path(name), folder / name):
        if place.exists():
            return str(place)
    option = f"--{field.replace('_', '-')}"
    raise DataError(
        f"The manifest's files were made with {option} {name}, which is neither in the current "
        "folder nor beside the manifest.",
        f"Say where it is with {option}."
        if field in ("weights", "calibration", "images")
        else "Copy it there.",
    )


def _check_weights(plan: Plan, entry: Facts, path: Path) -> None:
    """Compare the weights with those that the files were made from.

    Raises:
        DataError: they are others, so that nothing can be proved.
    """
    recorded = str(entry["contract"]["weights"].get("sha256"))
    if plan.weights.source != "random" and plan.weights.sha256 != recorded:
        raise DataError(
            f"{plan.weights.path} is not the file that {entry['path']} was made from (SHA-256 "
            f"{recorded[:12]}… was recorded).",
            "Give the right one with --weights FILE.",
        )


def _changes(facts: Facts) -> list[str]:
    """What makes files now and did not then, or the other way round."""
    then, now = facts, provenance.maker()
    found = []
    for name in ("version", "code_sha256"):
        before = (then.get("edgezoo") or {}).get(name)
        if before != now["edgezoo"][name]:
            found.append(
                f"EdgeZoo's {name} was {_short(before)}, is {_short(now['edgezoo'][name])}"
            )
    for title, before, after in (
        ("", then.get("versions") or {}, now["packages"]),
        ("platform: ", then.get("platform") or {}, now["platform"]),
    ):
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                found.append(f"{title}{name} was {before.get(name)}, is {after.get(name)}")
    return found


def _short(word: str | None) -> str:
    return "unknown" if word is None else word[:12]


def _other_inputs(before: list[Facts], after: tuple[Facts, ...]) -> list[str]:
    """Inputs that the files themselves say to be others."""
    now = {Path(entry["path"]).name: entry["contract"] for entry in after}
    found = []
    for entry in before:
        contract = now.get(entry["path"])
        if contract is None:
            continue
        for name, key in (
            ("weights", "sha256"),
            ("calibration", "list_sha256"),
            ("calibration", "fingerprints"),
        ):
            old = (entry["contract"].get(name) or {}).get(key)
            new = (contract.get(name) or {}).get(key)
            if json.dumps(old) != json.dumps(new):
                what = "list of calibration images" if key == "list_sha256" else name
                found.append(f"{entry['path']}: other {what} than then")
    return found
