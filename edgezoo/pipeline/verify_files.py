"""`edgezoo verify`: compares files with the Keras network that they were made from."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.arrays import load_rows
from edgezoo.core.artifact import Artifact, InputContract, WeightsRecord
from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.input_options import InputOptions
from edgezoo.core.ran_on import RanOn
from edgezoo.core.sequences import OneOrMany, PathLike, paths
from edgezoo.core.spec import BuildArguments
from edgezoo.core.typed_json import JsonObject, Positive, Share
from edgezoo.evaluation.agreement import (
    Comparison,
    agreement_top1,
    compare,
    same_sides,
    smallest_cosine,
)
from edgezoo.networks import user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import locate
from edgezoo.pipeline import children
from edgezoo.system import process, sandbox
from edgezoo.system.scratch import scratch


@dataclass(frozen=True, slots=True)
class SourceNetwork:
    """The network that all files come from."""

    model: str
    weights: WeightsRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFile(Comparison):
    """One file against the Keras network."""

    artifact: Path


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files against each other.

    Attributes:
        agreement_top1: share of images with the same best class; null for features
        cosine: between features, the smallest of all images; null for probabilities
    """

    a: Path
    b: Path
    agreement_top1: Share | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class VerifyResult(JsonObject):
    """The comparison of files with their Keras network, and with one another.

    Attributes:
        passed: whether every bound holds
        images: how many
        image_source: synthetic, samples, or the folder or file that was given
        source: the network that all files come from
        results: one for each file
        pairs: the files with one another
    """

    passed: bool
    images: Positive
    image_source: str
    source: SourceNetwork
    results: tuple[VerifiedFile, ...]
    pairs: tuple[Pair, ...]


def verify_files(
    artifacts: OneOrMany[PathLike],
    *,
    images: PathLike = "synthetic",
    split: str | None = None,
    count: int = 64,
    weights: PathLike | None = None,
    seed: int = 0,
    min_agreement: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> VerifyResult:
    """Compare files with their source, and with one another.

    Args:
        artifacts: files of one network.
        images: "synthetic", a folder or an .npz of pixels.
        split: take this folder of `images`, such as "val", alone.
        count: how many images.
        weights: the file that the network's weights came from, where it was a file.
        seed: of the choice of images.
        min_agreement: a bound instead of the default of the precision.
        progress: called with what is being done.
        debug: let child processes write to this terminal.

    Raises:
        UsageError: files of different networks.
        DataError: a damaged file, or weights that are not here.
    """
    files = paths(artifacts)
    loaded = list(sandbox.load_artifacts(files))
    images = sources.part_of(str(images), split)
    contract = common_contract(loaded)
    if contract.output_kind == "features" and min_agreement is not None:
        raise UsageError(
            "--min-agreement needs classes, and these files return features.", "Leave it out."
        )
    network = source_network(contract, None if weights is None else str(weights))
    with scratch() as folder:
        start = sandbox.workshop(files, folder, debug=debug)
        choice = children.Choice(
            images, contract.frame, count, 2, seed, contract.resize, "--images"
        )
        pixels = start.call(children.store_images, folder, choice, ("images", None)).value.path
        reference_path = folder / "reference.npy"
        outputs = [folder / f"{i}.npy" for i in range(len(loaded))]
        progress("Running Keras and every file")
        question = children.Question(pixels, reference_path)
        jobs: list[process.Job[str | tuple[RanOn, ...] | None]] = [
            process.job(children.predict_source, network, question),
            *(
                process.job(children.predict_files, (artifact.path,), pixels, (output,))
                for artifact, output in zip(loaded, outputs, strict=True)
            ),
        ]
        answers = dict(start.run_many(jobs, 2))
        weights_sha256 = answers[0].value
        check_weights(contract, weights_sha256 if isinstance(weights_sha256, str) else None)
        reference = load_rows(reference_path)
        scores = [load_rows(output) for output in outputs]
    results, kind = [], contract.output_kind
    for number, (artifact, got) in enumerate(zip(loaded, scores, strict=True), 1):
        precision, ran = artifact.required_contract().precision, answers[number].value
        rounded = isinstance(ran, tuple) and any(place.in_bfloat16 for place in ran)
        found = compare(
            reference,
            got,
            precision,
            min_agreement,
            kind,
            rounded,
            multi_label=contract.multi_label,
        )
        values = {field.name: getattr(found, field.name) for field in fields(found) if field.init}
        results.append(VerifiedFile(artifact=artifact.path, **values))
    pairs = []
    for i, j in itertools.combinations(range(len(loaded)), 2):
        agrees = same_sides if contract.multi_label else agreement_top1
        agreement = agrees(scores[i], scores[j]) if kind == "probabilities" else None
        cosine = smallest_cosine(scores[i], scores[j]) if kind == "features" else None
        pairs.append(Pair(loaded[i].path, loaded[j].path, agreement, cosine))
    source = SourceNetwork(contract.model, contract.weights)
    passed = all(result.passed for result in results)
    return VerifyResult(passed, len(reference), images, source, tuple(results), tuple(pairs))


def common_contract(loaded: list[Artifact]) -> InputContract:
    """The contract of the network that all files come from.

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
    """Find the weights of the source network again.

    Raises:
        DataError: the weights are not here, or differ.
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
    """The same for files of a user model."""
    record, wanted = contract.weights, contract.arguments
    if path is None:
        raise DataError(
            f"These files were made from the network {record.file}.", "Give it with --weights FILE."
        )
    given = BuildArguments(
        wanted.input_size,
        wanted.include_top,
        output_layer=wanted.output_layer,
        input_width=wanted.input_width,
    )
    found = user_models.choose(path, given, _stated(contract))
    if found.weights.sha256 != record.sha256:
        raise DataError(
            f"{path} is not the network that these files were made from "
            f"(SHA-256 {record.sha256[:12]}… was recorded).",
            "Give the right one with --weights FILE.",
        )
    return BuildJob(contract.model, wanted, found.weights, user_model=found.user_model)


def _stated(contract: InputContract) -> InputOptions:
    """What the options of the export stated, by the contract that they led to."""
    how, resize = contract.custom_normalization, contract.resize
    crops = resize.mode == "crop"
    return InputOptions(
        None if how else contract.preprocessing,
        how.scale if how else None,
        how.offset if how else None,
        how is not None and how.channel_order == "BGR",
        resize=resize.mode,
        crop_fraction=resize.crop_fraction if crops else None,
        head=contract.stated_head,
    )


def check_weights(contract: InputContract, weights_sha256: str | None) -> None:
    """Compare the hash of random weights that were made again with the contract's.

    Raises:
        DataError: it differs.
    """
    record = contract.weights
    if record.source == "random" and record.sha256 != weights_sha256:
        raise DataError(
            "The random weights could not be reproduced: another version of Keras or numpy, or "
            "another kind of CPU, gives different ones.",
            "Verify on the machine that exported, or export again.",
        )
