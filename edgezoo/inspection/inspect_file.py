"""What is in a file, whoever made it, and where it would load and run."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import UsageError, interpreting
from edgezoo.core.protocols import Description, Runtime
from edgezoo.core.releases import release_numbers
from edgezoo.core.typed_json import encode
from edgezoo.inspection import portability

# Packages that stand beside a runtime of the same file: what they lack says nothing of it.
_APART = {"edgetpu-runtime"}


def inspect(
    path: Path | str, *, target: str | None = None, runtime: str | None = None
) -> dict[str, Any]:
    """Look into a file.

    Args:
        path: the file.
        target: a name of `registry.targets()`: tell where each operation would run.
        runtime: a package and its release, such as "tflite-runtime==2.5": tell whether the file
            loads there.

    Returns:
        {"path", "format", "bytes", "files", "ops", "float_ops", "quantized", "inputs", "outputs",
        "contract", "minimum_runtime", "portability", "compiled"}, and "target" and "runtime" where
        asked for.

    Raises:
        DataError: no such file, or a damaged one.
        MissingError: the package that reads the format is not installed.
        UsageError: an unknown target or runtime.
        RefusedError: the target takes no files of this format.
    """
    artifact = registry.load_artifact(path)
    with interpreting(path):
        reader = registry.runtime_for(artifact.path)
        description = reader.describe(artifact.path)
        overflows = portability.check(artifact.path)
    facts = {
        "path": str(path),
        "format": artifact.format,
        "bytes": artifact.bytes,
        "files": [str(file) for file in artifact.files],
        "ops": description.ops,
        "float_ops": list(description.float_ops),
        "quantized": description.quantized,
        "inputs": [asdict(tensor) for tensor in description.inputs],
        "outputs": [asdict(tensor) for tensor in description.outputs],
        "contract": artifact.contract.to_json() if artifact.contract else None,
        "minimum_runtime": description.minimum_runtime,
        "portability": overflows,
        "compiled": encode(description.compiled),
    }
    if target is not None:
        with interpreting(path):
            facts["target"] = _placement(artifact, target)
    if runtime is not None:
        facts["runtime"] = _loading(description, runtime, reader)
    return facts


def _placement(artifact: Artifact, name: str) -> dict[str, Any]:
    target = registry.target_for(artifact, name)
    return {"name": target.name, **asdict(target.place(artifact.path))}


def _loading(description: Description, words: str, reader: Runtime) -> dict[str, Any]:
    """Whether a release of a package loads the file, and what it would lack.

    "loads" is null where it is not known: an operation is in no table, or in none of this package.
    """
    name, _, release = (part.strip() for part in words.partition("=="))
    package = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
    # What a build or a mend is called behind its numbers does not change what it loads.
    release = re.sub(r"(\.post\d+)?(\+[\w.]+)?$", "", release)
    if not package or not re.fullmatch(r"\d+(\.\d+)*", release):
        raise UsageError(
            f"--runtime {words} is not a package with its release.",
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
        if not known:  # a device may run files by a package that cannot look into them
            purpose = "Telling what a file asks of a runtime"
            registry.require_packages(reader.packages, reader.extra, purpose)
        raise UsageError(
            f"Nothing is known of {package} and this file.",
            f"Known: {', '.join(known)}." if known else "No release of any package is known.",
        )
    lacking = [need for need in needs if not need.met_by(package, release)]
    unknown = bool(lacking) and all(package not in need.since for need in lacking)
    oldest = max(
        (need.since[package] for need in needs if package in need.since),
        key=release_numbers,
        default=None,
    )
    return {
        "package": package,
        "version": release,
        "loads": None if unknown else not lacking,
        "needs": None if unknown else oldest,
        "lacking": [{"what": need.what, "since": need.since.get(package)} for need in lacking],
    }
