"""`edgezoo verify`: files made earlier, against the Keras network that they came from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgezoo.calibration import sources
from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.spec import BuildArguments
from edgezoo.evaluation.agreement import agreement_top1, compare, smallest_cosine
from edgezoo.networks import user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import locate
from edgezoo.pipeline import children
from edgezoo.system import process, sandbox


def verify_files(
    paths: Sequence[Path | str],
    *,
    images: str = "synthetic",
    count: int = 64,
    weights: str | None = None,
    seed: int = 0,
    min_agreement: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> dict[str, Any]:
    """Compare files with their source, and with one another.

    Args:
        paths: artifacts of one network.
        images: "synthetic", a folder or an .npz of pixels.
        count: how many images.
        weights: the file that the network's weights came from, where it was a file.
        seed: of the choice of images.
        min_agreement: a bound in place of the precision's own.
        progress: called with what is being done.
        debug: let child processes write to this terminal.

    Returns:
        {"passed", "images", "image_source", "source": {...}, "results": [one a file],
        "pairs": [{"a", "b", "agreement_top1", "cosine"}]}.

    Raises:
        UsageError: files of different networks.
        DataError: a damaged file, or weights that are not here.
    """
    import numpy as np

    loaded = [sandbox.load_artifact(path) for path in paths]
    contract = common_contract(loaded)
    if contract.output_kind == "features" and min_agreement is not None:
        raise UsageError(
            "--min-agreement speaks of classes, and these files give features.", "Leave it out."
        )
    network = source_network(contract, weights)
    with TemporaryDirectory(prefix="edgezoo-verify-") as scratch:
        folder = Path(scratch)
        chosen, _ = sources.choose(images, contract.input_size, count, 2, seed, contract.resize)
        pixels = sources.store(chosen, contract.input_size, folder, "images").path
        reference_path = folder / "reference.npy"
        outputs = [folder / f"{i}.npy" for i in range(len(loaded))]
        progress("Running Keras and every file")
        question = children.Question(pixels, reference_path)
        jobs: list[process.Job[str | None]] = [
            process.job(children.predict_source, network, question),
            *(
                process.job(children.predict_files, (artifact.path,), pixels, (output,))
                for artifact, output in zip(loaded, outputs, strict=True)
            ),
        ]
        answers = dict(process.Launcher(debug).run_many(jobs, 2))
        check_weights(contract, answers[0].value)
        reference = np.load(reference_path, mmap_mode="r")
        scores = [np.load(output, mmap_mode="r") for output in outputs]
    results = [
        {
            "artifact": str(artifact.path),
            **typed_json.encode(
                compare(
                    reference,
                    got,
                    artifact.required_contract().precision,
                    min_agreement,
                    contract.output_kind,
                )
            ),
        }
        for artifact, got in zip(loaded, scores, strict=True)
    ]
    classes = contract.output_kind == "probabilities"
    pairs = [
        {
            "a": str(loaded[i].path),
            "b": str(loaded[j].path),
            "agreement_top1": agreement_top1(scores[i], scores[j]) if classes else None,
            "cosine": None if classes else smallest_cosine(scores[i], scores[j]),
        }
        for i, j in itertools.combinations(range(len(loaded)), 2)
    ]
    return {
        "passed": all(result["verdict"] == "passed" for result in results),
        "images": len(reference),
        "image_source": images,
        "source": {"model": contract.model, "weights": asdict(contract.weights)},
        "results": results,
        "pairs": pairs,
    }


def common_contract(loaded: list[Artifact]) -> InputContract:
    """The contract of the one network that all files came from.

    Raises:
        UsageError: files of different networks.
    """
    contracts = [artifact.required_contract() for artifact in loaded]
    first = contracts[0]
    for artifact, contract in zip(loaded, contracts, strict=True):
        for name in ("model", *BuildArguments.__slots__, "weights"):
            if getattr(contract, name) != getattr(first, name):
                raise UsageError(
                    f"{loaded[0].path} and {artifact.path} come from different networks "
                    f"(their {name} differs).",
                    "Verify the files of one network at a time.",
                )
    return first


def source_network(contract: InputContract, weights: str | None) -> BuildJob:
    """Find the source's weights again and name the network for the step that builds it.

    Raises:
        DataError: the weights are not here, or are others.
    """
    record = contract.weights
    if record.source == user_models.SOURCE:
        return _user_network(contract, weights)
    spec = registry.model(contract.model)
    if record.source == "file" and weights is None:
        raise DataError(
            f"These files were made from the weights file {record.file}.",
            "Give it with --weights FILE.",
        )
    located = locate(spec, contract.arguments, weights or record.source)
    if record.source != "random" and located.sha256 != record.sha256:
        raise DataError(
            f"{located.path} is not the weights file that these files were made from "
            f"(SHA-256 {record.sha256[:12]}… was recorded).",
            "Give the right one with --weights FILE.",
        )
    return BuildJob(spec.name, contract.arguments, located, record.seed or 0)


def _user_network(contract: InputContract, path: str | None) -> BuildJob:
    """The same for files that came from a user's network."""
    record, wanted = contract.weights, contract.arguments
    if path is None:
        raise DataError(
            f"These files were made from the network {record.file}.", "Give it with --weights FILE."
        )
    given = BuildArguments(wanted.input_size, wanted.include_top, output_layer=wanted.output_layer)
    found = user_models.choose(path, given, preprocessing=contract.preprocessing)
    if found.weights.sha256 != record.sha256:
        raise DataError(
            f"{path} is not the network that these files were made from "
            f"(SHA-256 {record.sha256[:12]}… was recorded).",
            "Give the right one with --weights FILE.",
        )
    return BuildJob(contract.model, wanted, found.weights, own=found.own)


def check_weights(contract: InputContract, weights_sha256: str | None) -> None:
    """Compare random weights that were made again with those that the contract names.

    Raises:
        DataError: they are others.
    """
    record = contract.weights
    if record.source == "random" and record.sha256 != weights_sha256:
        raise DataError(
            "The random weights could not be made again: another version of Keras or numpy, or "
            "another kind of CPU, gives other ones.",
            "Verify on the machine that exported, or export again.",
        )
