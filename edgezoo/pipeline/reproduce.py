"""Export the files of a manifest again, and compare the hashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError
from edgezoo.core.spec import BuildArguments
from edgezoo.core.typed_json import InvalidValueError, Json, JsonObject
from edgezoo.formats.keras_files.reading import is_user_model
from edgezoo.pipeline import provenance
from edgezoo.pipeline.export_result import ExportedFile
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.pipeline.run import execute
from edgezoo.pipeline.verify_everywhere import EverywhereResult
from edgezoo.pipeline.verify_files import VerifyResult
from edgezoo.results import manifest as manifests
from edgezoo.results.manifest import ManifestCheck
from edgezoo.system.scratch import scratch

# Values of a request's fields that are not files or folders.
_WORDS = {"calibration": ("synthetic",), "weights": ("imagenet", "random")}
# Fields of a contract that identify inputs.
_INPUTS = (("weights", "sha256"), ("calibration", "list_sha256"), ("calibration", "fingerprints"))


@dataclass(frozen=True, slots=True)
class ReproducedFile:
    """A file of a manifest, and the hash of the same file exported again.

    Attributes:
        path: as in the manifest.
        sha256: as in the manifest.
        again: hash of the new file; None if the export no longer writes it.
        same: whether the hashes are equal.
    """

    path: str
    sha256: str
    again: str | None
    same: bool


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The result of exporting the files of a manifest again.

    Attributes:
        reproduced: every file has the same bytes.
        files: the files.
        differences: what has changed since the manifest was written, as sentences.
    """

    reproduced: bool
    files: tuple[ReproducedFile, ...]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedManifest(ManifestCheck):
    """The files of a manifest.

    Attributes:
        reproduction: with --reproduce, the result of exporting them again
    """

    reproduction: Reproduction | None

    @classmethod
    def of(cls, checked: ManifestCheck, again: Reproduction | None) -> CheckedManifest:
        """A check of hashes, and an export of the same files."""
        return cls(checked.manifest, checked.passed, checked.pending, checked.files, again)


@dataclass(frozen=True, slots=True)
class CheckedManifests(JsonObject):
    """The files of several manifests.

    Attributes:
        passed: every file has its hash, and with --reproduce has the same bytes again
    """

    passed: bool
    manifests: tuple[CheckedManifest, ...]


# What `edgezoo verify --json` prints, of files, of files in every reader and of manifests.
Printed = VerifyResult | EverywhereResult | CheckedManifests


def reproduce(
    path: Path,
    given: dict[str, str | None],
    *,
    trust: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> Reproduction:
    """Export the files of a manifest again, without the cache, and compare the hashes.

    Args:
        path: the manifest; the files and folders of its request are searched in the current folder
            and next to the manifest.
        given: other paths of these files and folders, by field of `ExportRequest`; "weights" also
            replaces a user model.
        trust: code in a user model may run; the manifest's own value is ignored.
        progress: called with the current step.
        debug: children write to this terminal.

    Raises:
        DataError: see `manifest.read`; or an input of the request is missing.
        EdgeZooError: the export fails.
    """
    facts = manifests.read(path)
    found: list[ReproducedFile] = []
    differences: list[str] = _changes(facts)
    for request, entries in _runs(facts["artifacts"], path):
        plan = resolve(_request(request, path.parent, given, trust))
        _check_weights(plan, entries[0])
        with scratch() as folder:
            plan = replace(plan, request=replace(plan.request, output=Path(folder)))
            made = execute(plan, progress, debug).artifacts
        again = {file.path.name: file.sha256 for entry in made for file in entry.files}
        differences += _changed_inputs(entries, made)
        for file in (file for entry in entries for file in entry["files"]):
            name, sha256 = file["path"], file["sha256"]
            digest = again.get(name)
            found.append(ReproducedFile(name, sha256, digest, digest == sha256))
    differences = list(dict.fromkeys(differences))
    return Reproduction(all(file.same for file in found), tuple(found), tuple(differences))


def _runs(entries: list[Json], path: Path) -> list[tuple[Json, list[Json]]]:
    """Group entries by their request."""
    groups: dict[str, list[Json]] = {}
    for entry in entries:
        contract = entry.get("contract")
        known = isinstance(contract, dict) and isinstance(contract.get("weights"), dict)
        if not known or not isinstance(entry.get("request"), dict):
            raise DataError(
                f"{path}, written by an older EdgeZoo, lacks the request of {entry['path']}.",
                "Export it again.",
            )
        groups.setdefault(json.dumps(entry["request"], sort_keys=True), []).append(entry)
    return [(json.loads(text), group) for text, group in groups.items()]


def _request(
    recorded: Json, folder: Path, given: dict[str, str | None], trust: bool
) -> ExportRequest:
    """Return the request that the manifest recorded, with the paths of its inputs."""
    if "max_drop" in recorded:  # as manifests before 0.2 call it
        recorded = {**recorded, "max_drop_points": recorded["max_drop"]}
        del recorded["max_drop"]
    unknown = provenance.unknown_fields(recorded) | {"arguments"} & recorded.keys()
    if unknown:
        raise DataError(
            f"The manifest's request contains {', '.join(sorted(unknown))}, which this version of "
            "EdgeZoo does not know.",
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
    facts |= {"verify": False, "min_agreement": None, "cache": False, "trust": trust}
    facts["arguments"] = {k: v for k, v in recorded.items() if k in BuildArguments.__slots__}
    try:
        return typed_json.decode(ExportRequest, facts)
    except InvalidValueError as error:
        raise DataError(f"The manifest's request is damaged: {error}.") from error


def _found(name: str, field: str, folder: Path, given: str | None) -> str:
    if given is not None:
        return given
    for place in (Path(name), folder / name):
        if place.exists():
            return str(place)
    option = f"--{field.replace('_', '-')}"
    has_option = field in ("weights", "calibration", "images")
    raise DataError(
        f"The manifest's files were exported with {option} {name}, which is neither in the current "
        "folder nor next to the manifest.",
        f"Give its path with {option}." if has_option else "Copy it there.",
    )


def _check_weights(plan: Plan, entry: Json) -> None:
    """Refuse weights other than those of the files: the comparison would prove nothing."""
    recorded = str(entry["contract"]["weights"].get("sha256"))
    if plan.weights.source != "random" and plan.weights.sha256 != recorded:
        raise DataError(
            f"{plan.weights.path} is not the file that {entry['path']} was exported from (SHA-256 "
            f"{recorded[:12]}… was recorded).",
            "Give the right file with --weights FILE.",
        )


def _changes(facts: Json) -> list[str]:
    """List what has changed in EdgeZoo, the packages and the platform since the export."""
    now = provenance.maker()
    found = []
    for name, after in (("version", now.edgezoo.version), ("code_sha256", now.edgezoo.code_sha256)):
        before = (facts.get("edgezoo") or {}).get(name)
        if before != after:
            found.append(f"EdgeZoo's {name} was {_short(before)}, is {_short(after)}")
    for title, old, new in (
        ("", facts.get("versions") or {}, now.packages),
        ("platform: ", facts.get("platform") or {}, typed_json.encode(now.platform)),
    ):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                found.append(f"{title}{name} was {old.get(name)}, is {new.get(name)}")
    return found


def _short(word: object) -> str:
    return "unknown" if word is None else str(word)[:12]


def _changed_inputs(before: list[Json], after: tuple[ExportedFile, ...]) -> list[str]:
    """List inputs that differ according to the contracts of the files."""
    now = {entry.path.name: entry.contract for entry in after}
    found = []
    for entry in (entry for entry in before if entry["path"] in now):
        for name, key in _INPUTS:
            old, new = (
                typed_json.part(contract, name).get(key)
                for contract in (entry["contract"], now[entry["path"]])
            )
            if json.dumps(old) != json.dumps(new):
                what = "list of calibration images" if key == "list_sha256" else name
                found.append(f"{entry['path']}: the {what} changed")
    return found
