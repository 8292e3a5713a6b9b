"""What child processes do; `edgezoo.system.process` calls these functions by function object."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import fingerprints, fp16, observation, preparation, sensitivity, sources
from edgezoo.calibration.observation import NetworkInput
from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.calibration_metadata import ImageSource, Stability
from edgezoo.core.errors import DataError, EdgeZooError, RefusedError
from edgezoo.core.protocols import ExportJob, Intermediate, Source
from edgezoo.core.ran_on import RanOn
from edgezoo.core.recipe import Recipe
from edgezoo.core.spec import USUAL_RESIZE, Frame, Resize
from edgezoo.exporters import _intermediates
from edgezoo.exporters._converting import converting
from edgezoo.formats.keras_files.load_network import values_hash
from edgezoo.images.folders import LeftOut, named
from edgezoo.images.labelled import find_labelled
from edgezoo.images.preprocessing import load_many, normalize, why_unreadable
from edgezoo.inference import heads
from edgezoo.inference.predict import predict
from edgezoo.networks.building import BuildJob, build_job
from edgezoo.system.staging import new_array

if TYPE_CHECKING:
    import keras

_PLAIN = "plain.tflite"
_OBSERVATION = "observation.json"
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Question:
    """Stored images, and where the Keras network's answers to them go."""

    pixels: Path
    answers: Path


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a converter or a runtime does not take a network, and what to do."""

    reason: str
    hint: str

    @classmethod
    def of(cls, error: EdgeZooError) -> Refusal:
        """From an error."""
        return cls(error.message, error.hint)


@dataclass(frozen=True, slots=True)
class BuiltSource:
    """The Keras network that was built.

    Attributes:
        weights_sha256: hash of its weights' values.
        output_shape: without the batch.
        onnx_refusal: why there are no ONNX intermediates, where there are none.
    """

    weights_sha256: str
    output_shape: tuple[int, ...]
    onnx_refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which images to choose; see `sources.choose`."""

    where: str
    size: int | Frame
    count: int
    verify_count: int
    seed: int
    resize: Resize = USUAL_RESIZE
    option: str = "--calibration"


@dataclass(frozen=True, slots=True)
class ChosenImages:
    """What was chosen; see `sources.ImageSet` for most fields.

    Attributes:
        path: where the pixels are.
        repeated: images that repeat others byte for byte.
    """

    path: Path
    held_out: Path | None
    source: ImageSource
    names: tuple[str, ...]
    seed: int
    unreadable: int
    note: str | None
    unreadable_files: tuple[LeftOut, ...] = ()
    repeated: int = 0
    left_out: tuple[LeftOut, ...] = ()
    overlap: int | None = None


def store_images(directory: Path, choice: Choice, files: tuple[str, str | None]) -> ChosenImages:
    """Choose and decode images, and store them for the next steps.

    `files` are the names for those that were chosen, and for those that were held out.
    """
    chosen, held_out = sources.choose(
        choice.where,
        choice.size,
        choice.count,
        choice.verify_count,
        choice.seed,
        choice.resize,
        choice.option,
    )
    first, second = files
    stored = sources.store(chosen, choice.size, directory, first).path
    apart = sources.store(held_out, choice.size, directory, second).path if second else None
    facts = chosen.source, chosen.names, chosen.seed, chosen.unreadable, chosen.note
    repeated = len(chosen.prints) - len(set(chosen.prints))
    return ChosenImages(stored, apart, *facts, chosen.unreadable_files, repeated, chosen.left_out)


@dataclass(frozen=True, slots=True)
class LabelledPixels:
    """Decoded images with the index of their class.

    Attributes:
        remarks: sentences on the folder that a user should read.
    """

    pixels: Path
    classes: tuple[int, ...]
    remarks: tuple[str, ...] = ()


def decode_labelled(
    directory: Path,
    contract: InputContract,
    folder: Path,
    ground_truth: Path | None,
    calibration: Path | None,
    resize: Resize,
) -> LabelledPixels:
    """Store the images that the accuracy guard measures on; none is a calibration image.

    Raises:
        RefusedError: images of the folder calibrate the file.
        DataError: files of the folder are not readable images.
    """
    size = contract.frame
    found = find_labelled(folder, contract, ground_truth)
    if calibration is not None:
        metadata = sources.open_images(calibration).metadata
        shared = fingerprints.overlapping(metadata, found.paths, size, resize)
        if shared:
            raise RefusedError(
                f"{len(shared)} of {len(found.paths)} images in {folder} are calibration "
                "images too, and prove nothing.",
                "Give --images other images than --calibration.",
            )
    path = directory / "labelled.npy"
    kept: list[int] = []
    pixels = new_array(path, np.uint8, (len(found.paths), *size.shape))
    decoded_images = load_many(found.paths, size, resize)
    bad = []
    for label, (image, decoded) in zip(found.labels, decoded_images, strict=True):
        if decoded is None:
            bad.append(image)
            continue
        pixels[len(kept)] = decoded
        kept.append(label)
    if bad:
        names = named(why_unreadable(bad, folder, size, resize))
        raise DataError(
            f"{len(bad)} of {len(found.paths)} files in {folder} are not readable images: {names}.",
            "Take them out of the folder.",
        )
    left_out = f"Left out of {folder}: {named(found.left_out)}." if found.left_out else None
    return LabelledPixels(path, tuple(kept), (*found.remarks, *filter(None, [left_out])))


def load_files(paths: tuple[Path, ...]) -> tuple[Artifact, ...]:
    """Read the contracts of files."""
    return tuple(registry.load_artifact(path) for path in paths)


@dataclass(frozen=True, slots=True)
class FileJob:
    """One file to write, and its name without the suffix."""

    job: ExportJob
    stem: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The main file of a job, or why it could not be written or opened.

    Attributes:
        ran_on: what computed the answers.
    """

    path: Path | None = None
    refusal: Refusal | None = None
    ran_on: RanOn | None = None


def make_source(
    directory: Path,
    network: BuildJob,
    contract: InputContract,
    intermediates: tuple[Intermediate, ...],
    questions: tuple[Question, ...],
) -> BuiltSource:
    """Build the network, note its answers, and write the intermediates that exporters start from.

    This is the only step that loads TensorFlow. For int8 it leaves `base.tflite` and `base.onnx`,
    which `observe_network` and `prepare_intermediate` continue with.
    """
    built = build_job(network)
    for question in questions:
        _note_answers(built, network, question.pixels, question.answers)
    digest = values_hash(built)
    refused = _intermediates.write(built, Source(directory, contract), set(intermediates))
    shape = tuple(built.output_shape[1:])
    return BuiltSource(digest, shape, Refusal.of(refused) if refused else None)


def correct_fp16(
    directory: Path, contract: InputContract, images: Path, intermediates: tuple[Intermediate, ...]
) -> Refusal | None:
    """Write intermediates with float16 values that keep each layer's mean.

    Args:
        directory, contract: of the source.
        images: an array of pixels, like those that the file will see.
        intermediates: "fp16.tflite", "fp16.onnx" or both.

    Returns:
        Why there is no ONNX intermediate, where it was asked for and there is none.
    """
    source = Source(directory, contract)
    how = contract.normalization
    takes_pixels = contract.input_kind == "pixels" and not how.uniform

    def feed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pixels.astype("float32") if takes_pixels else normalize(pixels, how)

    corrected = directory / "fp16.base.tflite"
    pixels = np.load(images, mmap_mode="r")
    fp16.round_to_fp16(source.intermediate("base.tflite"), corrected, pixels, feed)
    refused = _intermediates.write_fp16(source, corrected, set(intermediates))
    corrected.unlink()
    return Refusal.of(refused) if refused else None


def observe_network(
    directory: Path, contract: InputContract, calibration: Path
) -> Stability | None:
    """Turn the base into the plain network that takes pixel - 128, and note its ranges.

    Return the stability of the ranges.
    """
    images = sources.open_images(calibration)
    feed = _network_input(contract)
    plain = directory / _PLAIN
    preparation.write_plain(directory / "base.tflite", plain, feed)
    seen = observation.observe(plain, images.array(), feed)
    if images.metadata.source == "synthetic":
        seen = replace(seen, ranges=observation.widen_logits(plain, seen.ranges))
    seen.save(directory / _OBSERVATION)
    images.annotate(ranges=seen.record())
    return seen.stability


def prepare_intermediate(
    directory: Path,
    contract: InputContract,
    calibration: Path,
    intermediate: Intermediate,
    recipe: Recipe,
) -> None:
    """Make one intermediate ready for the quantizer that starts from it."""
    source = Source(directory, contract)
    plain, prepared = directory / _PLAIN, directory / f"{intermediate}.part"
    pixels, feed = sources.open_images(calibration).array(), _network_input(contract)
    seen = observation.Observation.load(directory / _OBSERVATION)
    made = preparation.prepare(plain, prepared, pixels, feed, seen, recipe)
    _intermediates.fill(source, intermediate, prepared)
    made.save(source.preparation(intermediate))


def rank_layers(
    directory: Path, contract: InputContract, calibration: Path, recipe: Recipe
) -> tuple[str, ...]:
    """Names of the layers that lose most in 8 bits, the most harmful first."""
    pixels = sources.open_images(calibration).array()
    seen = observation.Observation.load(directory / _OBSERVATION)
    feed = _network_input(contract)
    rescaled = directory / "ranked.tflite"
    # Layers lose in the network that the file is made from: its channels may be equalized.
    ranges, _ = preparation.rescale(directory / _PLAIN, rescaled, pixels, feed, seen, recipe)
    ranked = sensitivity.rank_layers(rescaled, feed(pixels[:8]), ranges, recipe)
    rescaled.unlink()
    return tuple(name for name, _ in ranked)


def _network_input(contract: InputContract) -> NetworkInput:
    return NetworkInput(contract.normalization, contract.input_kind)


def predict_source(network: BuildJob, question: Question) -> str:
    """Note the answers of the Keras network itself, and return the hash of its weights' values."""
    built = build_job(network)
    _note_answers(built, network, question.pixels, question.answers)
    return values_hash(built)


def _note_answers(network: keras.Model, job: BuildJob, pixels: Path, answers: Path) -> None:
    """Write the outputs of the Keras network for stored images, as `predict` returns them."""
    images, how = np.load(pixels, mmap_mode="r"), job.spec.normalization
    parts = (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
    outputs = (network.predict_on_batch(normalize(part, how)) for part in parts)
    if job.arguments.output_kind == "features":
        _write_rows(answers, len(images), outputs)
        return
    # The network gives probabilities: what they say is left to be spelled out.
    flat = (np.asarray(part).reshape(len(part), -1) for part in outputs)
    _write_rows(answers, len(images), map(heads.both_sides, flat))


def _write_rows(path: Path, count: int, parts: Iterable[NDArray[np.float32]]) -> None:
    """Write parts of an array of `count` rows as they come: feature maps may be large together."""
    rows, done = None, 0
    for part in parts:
        if rows is None:
            rows = new_array(path, np.float32, (count, *part.shape[1:]))
        rows[done : done + len(part)] = part
        done += len(part)


def export_files(
    directory: Path, contract: InputContract, jobs: tuple[FileJob, ...], calibration: Path | None
) -> tuple[Path, ...]:
    """Write the files of one format, and return the main file of each job.

    Args:
        directory: where the source's intermediates are, and where the files go.
        contract: of the source.
        jobs: the files.
        calibration: the stored calibration images.

    Raises:
        RefusedError: the format's converter refuses the network.
    """
    source = Source(directory, contract)
    images = sources.open_images(calibration) if calibration else None
    paths = []
    for entry in jobs:
        exporter = registry.exporter(entry.job.format)
        try:
            with converting(f"The exporter of {exporter.name}", exporter.name):
                artifact = exporter.export(source, entry.job, images, directory / entry.stem)
        except OSError as error:
            raise DataError(
                f"{entry.stem}{exporter.suffix} could not be written: {error.strerror}.",
                "Free some space or choose another folder with --output.",
            ) from error
        paths.append(artifact.path)
    return tuple(paths)


def attempt_exports(
    directory: Path, contract: InputContract, jobs: tuple[FileJob, ...], calibration: Path | None
) -> tuple[Outcome, ...]:
    """Write files as `export_files` does, and return what became of each job."""
    outcomes = []
    for job in jobs:
        try:
            (path,) = export_files(directory, contract, (job,), calibration)
            outcomes.append(Outcome(path))
        except RefusedError as error:
            outcomes.append(Outcome(refusal=Refusal.of(error)))
    return tuple(outcomes)


def predict_files(
    paths: tuple[Path, ...], pixels: Path, outputs: tuple[Path, ...]
) -> tuple[RanOn, ...]:
    """Open written files in their own runtime and note their answers on some images.

    Returns:
        What computed the answers, for each file.
    """
    images = np.load(pixels, mmap_mode="r")
    count, places = len(images), list[RanOn]()
    for path, output in zip(paths, outputs, strict=True):
        artifact = registry.load_artifact(path)
        contract = artifact.required_contract()
        runtime = registry.runtime_for(artifact.path)
        with runtime.open(artifact, "cpu", os.cpu_count() or 1) as session:
            rows = (predict(session, contract, images[i : i + 1]) for i in range(count))
            _write_rows(output, count, rows)
            places.append(session.ran_on)
    return tuple(places)


def attempt_predictions(
    paths: tuple[Path, ...], pixels: Path, outputs: tuple[Path, ...]
) -> tuple[Outcome, ...]:
    """Run files as `predict_files` does; return the answers, or why a runtime does not run one."""
    outcomes = []
    for path, output in zip(paths, outputs, strict=True):
        try:
            with converting(f"The runtime of {path.suffix} files", path.suffix):
                (place,) = predict_files((path,), pixels, (output,))
            outcomes.append(Outcome(output, ran_on=place))
        except (RefusedError, DataError) as error:
            outcomes.append(Outcome(refusal=Refusal.of(error)))
    return tuple(outcomes)
