"""What a file contains, whoever made it, and where it would load and run."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import UsageError, interpreting
from edgezoo.core.protocols import (
    Compiled,
    Description,
    FileFault,
    Placement,
    Runtime,
    TensorInfo,
    WeightedOperations,
)
from edgezoo.core.releases import release_numbers
from edgezoo.core.typed_json import JsonObject, Positive, optional
from edgezoo.inspection import portability
from edgezoo.inspection.portability import Portability

# Packages that run a file together with another runtime: what one lacks does not concern the other.
_APART = {"edgetpu-runtime"}


@dataclass(frozen=True, slots=True)
class TargetPlacement(Placement):
    """Where the operations of a file would run on a target.

    Attributes:
        mapped: operations that the accelerator takes
        parameter_bytes, streamed_bytes: estimates; what does not fit on the chip is streamed
    """

    name: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """Something that a release does not support, and the first release that does."""

    what: str
    since: str | None


@dataclass(frozen=True, slots=True)
class Loading:
    """Whether a release of a runtime loads a file: null where that is not known.

    Attributes:
        needs: the oldest release
    """

    package: str
    version: str
    loads: bool | None
    needs: str | None
    lacking: tuple[Lacking, ...]


@dataclass(frozen=True, slots=True)
class InspectResult(JsonObject):
    """What a file contains.

    Attributes:
        ops: how many of each operation
        float_ops: operations of a quantized file that still compute in floating point
        quantized: whether activations are integers; weights alone do not count
        weighted: types of weights and activations; empty where they are not known
        faults: what some readers of the file get wrong
        minimum_runtime: the oldest release that loads it, by package; of ONNX also opset and IR
        portability: 16-bit overflow on x86 without VNNI; null for a file without 8-bit layers
        compiled: for an accelerator: target, accelerator_ops (subgraphs); of the Edge TPU also
            compiler, cached_bytes (parameters on the chip), streamed_bytes (at every inference)
        target: with --target
        runtime: with --runtime
    """

    path: Path
    format: str
    bytes: int
    files: tuple[Path, ...]
    ops: dict[str, Positive]
    float_ops: tuple[str, ...]
    quantized: bool
    weighted: tuple[WeightedOperations, ...]
    faults: tuple[FileFault, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    contract: InputContract | None
    minimum_runtime: dict[str, str]
    portability: Portability | None
    compiled: Compiled | None
    target: TargetPlacement | None = optional()
    runtime: Loading | None = optional()


def inspect(
    path: Path | str, *, target: str | None = None, runtime: str | None = None
) -> InspectResult:
    """Look into a file.

    Args:
        path: the file.
        target: a name of `registry.targets()`: also return where each operation would run.
        runtime: a package and its release, such as "tflite-runtime==2.5": also return whether the
            file loads there.

    Raises:
        DataError: the file does not exist, or is damaged.
        MissingError: the package that reads the format is not installed.
        UsageError: an unknown target or runtime.
        RefusedError: the target does not take files of this format.
    """
    artifact = registry.load_artifact(path)
    with interpreting(path):
        reader = registry.runtime_for(artifact.path)
        description = reader.describe(artifact.path)
        overflows = portability.check(artifact.path)
        placement = _placement(artifact, target) if target is not None else None
    return InspectResult(
        path=Path(path),
        format=artifact.format,
        bytes=artifact.bytes,
        files=artifact.files,
        ops=description.ops,
        float_ops=description.float_ops,
        quantized=description.quantized,
        weighted=description.weighted,
        faults=description.faults,
        inputs=description.inputs,
        outputs=description.outputs,
        contract=artifact.contract,
        minimum_runtime=description.minimum_runtime,
        portability=overflows,
        compiled=description.compiled,
        target=placement,
        runtime=_loading(description, runtime, reader) if runtime is not None else None,
    )


def _placement(artifact: Artifact, name: str) -> TargetPlacement:
    target = registry.target_for(artifact, name)
    found = target.place(artifact.path)
    facts = {field.name: getattr(found, field.name) for field in fields(Placement)}
    return TargetPlacement(**facts, name=target.name)


def _loading(description: Description, asked: str, reader: Runtime) -> Loading:
    """Return whether a release of a package loads the file, and what it would lack."""
    name, _, release = (part.strip() for part in asked.partition("=="))
    package = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
    # Post-releases and local builds load the same files.
    release = re.sub(r"(\.post\d+)?(\+[\w.]+)?$", "", release)
    if not package or not re.fullmatch(r"\d+(\.\d+)*", release):
        raise UsageError(
            f"--runtime {asked} is not a package with a release.",
            "Write it as pip does, such as --runtime tflite-runtime==2.14.0 (no ranges).",
        )
    apart = package in _APART
    needs = [
        need
        for need in description.requirements
        if not need.since or apart == bool(_APART & need.since.keys())
    ]
    known = sorted({name for need in description.requirements for name in need.since})
    if package not in known:
        if not known:  # a device may have a runtime that cannot describe files
            purpose = "Finding out what a file requires of a runtime"
            registry.require_packages(reader.packages, reader.extra, purpose)
        raise UsageError(
            f"Nothing is known about {package} and this file.",
            f"Known: {', '.join(known)}." if known else "No release of any package is known.",
        )
    lacking = [need for need in needs if not need.met_by(package, release)]
    unknown = bool(lacking) and all(package not in need.since for need in lacking)
    releases = [need.since[package] for need in needs if package in need.since]
    oldest = max(releases, key=release_numbers, default=None)
    lacks = tuple(Lacking(need.what, need.since.get(package)) for need in lacking)
    loads, least = (None, None) if unknown else (not lacking, oldest)
    return Loading(package, release, loads, least, lacks)
