"""The result of an export: what `export --json` prints and the manifest keeps."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from edgezoo.core.artifact import ArtifactRecord, WeightsRecord
from edgezoo.core.spec import Precision
from edgezoo.core.typed_json import Count, Json, JsonObject, Share, optional
from edgezoo.evaluation.agreement import Comparison
from edgezoo.pipeline.guard import GuardRecord
from edgezoo.pipeline.plan import ExportEstimate
from edgezoo.pipeline.provenance import Code, Platform
from edgezoo.system.process import Usage


@dataclass(frozen=True, slots=True)
class Verification:
    """How closely a file agrees with the Keras network.

    Attributes:
        verdict: failed: there are failures; skipped: with --no-verify
        images: that it was compared on
        sqnr_db: signal power over error power; null where nothing differs, or the output is broken
        max_abs_diff: largest difference of a score; null where the output is broken
        agreement_top1: share of images with the same best class; null for features
        reference_in_top5: share of images with the reference's best class in the top 5
        cosine: between the features of an image and the reference's, the smallest of all images
        failures: sentences on bounds that do not hold
        warnings: sentences that a user should read
        reference: what the file was compared with
        source: where the images came from
        reason: why it was skipped
    """

    verdict: Literal["passed", "failed", "skipped"]
    images: Count = 0
    sqnr_db: float | None = None
    max_abs_diff: float | None = None
    agreement_top1: Share | None = None
    reference_in_top5: Share | None = None
    cosine: float | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reference: str | None = None
    source: str | None = None
    reason: str | None = optional()

    @classmethod
    def of(cls, found: Comparison, source: str) -> Verification:
        """From a comparison with the Keras network on images of a source."""
        values = {field.name: getattr(found, field.name) for field in fields(found)}
        return cls(**values, reference="keras", source=source)


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
