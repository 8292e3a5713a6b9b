"""The result of an export: what `export --json` prints and the manifest keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgezoo.core.artifact import ArtifactRecord, WeightsRecord
from edgezoo.core.spec import Precision
from edgezoo.core.typed_json import Json, JsonObject, optional
from edgezoo.evaluation.agreement import Verification
from edgezoo.pipeline.guard import GuardRecord
from edgezoo.pipeline.plan import ExportEstimate
from edgezoo.pipeline.provenance import Code, Platform
from edgezoo.system.process import Usage


@dataclass(frozen=True, slots=True)
class ExportedFile(ArtifactRecord):
    """An exported file with its contract and its verification.

    Attributes:
        contract: as in the file, without the labels
        verification: against the Keras network
        guard: with --max-drop, what the guard did for an int8 file
        request: in a manifest, the options that made it
    """

    contract: Json
    verification: Verification
    guard: GuardRecord | None = optional()
    request: Json | None = optional()

    def moved(self, folder: Path) -> ExportedFile:
        """The same file with its paths in a folder."""
        files = tuple(replace(file, path=folder / file.path.name) for file in self.files)
        return replace(self, path=folder / self.path.name, files=files)


@dataclass(frozen=True, slots=True)
class NotMade(JsonObject):
    """A file that could not be made of this network, while others were.

    Attributes:
        format: that was asked for
        precision: that was asked for
        reason: why not, as a sentence
        hint: what to do, as a sentence
    """

    format: str
    precision: Precision
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class ExportResult(JsonObject):
    """What an export wrote.

    Attributes:
        artifacts: the files
        manifest: path; of the last model where there are several
        manifests: paths, where several models were named
        warnings: sentences that a user should read
        failures: sentences on bounds that do not hold; the exit code is 6 where there are any
        usage: CPU seconds and peak memory of each child process that made the files
        cached: the files come from the cache; usage is what it took to make them
        not_made: files that were asked for and are not there; the exit code is 3 where there are
            any, unless a bound does not hold
    """

    artifacts: tuple[ExportedFile, ...]
    manifest: Path
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    usage: dict[str, Usage] | None = optional()
    cached: bool = False
    manifests: tuple[Path, ...] | None = optional()
    not_made: tuple[NotMade, ...] = ()


@dataclass(frozen=True, slots=True)
class DryRun(JsonObject):
    """What an export would write, with --dry-run."""

    plans: tuple[ExportEstimate, ...]
    dry_run: Literal[True] = True


# What `edgezoo export --json` prints.
Printed = ExportResult | DryRun


@dataclass(frozen=True, slots=True)
class OriginalWeights(WeightsRecord):
    """The weights of an export.

    Attributes:
        origin: where they were published, as a sentence
    """

    origin: str = ""


@dataclass(frozen=True, slots=True)
class ManifestHead:
    """What a manifest states about an export.

    Attributes:
        model: name of the model
        trained: false for random weights
        weights: of the network
        request: the options of the last export, defaults filled in
        command: the command line of the same export; paths are cut down to their names
        edgezoo: the version that exported
        versions: of the packages that shape files, by name
        platform: the machine that exported
        reproducible_within: what else the bytes depend on
        usage: CPU seconds and peak memory of each child process
    """

    model: str
    trained: bool
    weights: OriginalWeights
    request: Json
    command: str
    edgezoo: Code
    versions: dict[str, str]
    platform: Platform
    reproducible_within: list[str]
    usage: dict[str, Usage]


@dataclass(frozen=True, slots=True)
class MadeFiles:
    """Exported files on the stage; also an entry of the export cache.

    Attributes:
        artifacts: with paths relative to the stage.
        head: of the manifest.
        warnings: see `ExportResult`.
        failures: see `ExportResult`.
        not_made: see `ExportResult`.
    """

    artifacts: tuple[ExportedFile, ...]
    head: ManifestHead
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    not_made: tuple[NotMade, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest(ManifestHead):
    """`<model>_….manifest.json` next to the files of a network, with paths relative to its folder.

    Attributes:
        artifacts: files of this export and of earlier ones that still exist
        schema: version of this schema
        pending: an export was interrupted while it moved files
    """

    artifacts: tuple[ExportedFile, ...]
    schema: int
    pending: bool | None = optional()
