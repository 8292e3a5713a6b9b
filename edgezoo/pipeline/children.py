"""What child processes do. Each function takes and gives what JSON can carry."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.core.protocols import ExportJob, Intermediate, Source
from edgezoo.core.spec import ModelSpec
from edgezoo.formats.keras_files.load_network import values_hash
from edgezoo.images.preprocessing import normalize
from edgezoo.inference.predict import predict
from edgezoo.system.staging import new_array

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from edgezoo.calibration.observation import NetworkInput

_PLAIN = "plain.tflite"
_OBSERVATION = "observation.json"
_CHUNK = 16
_VERSIONED = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "litert-quantizer",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "numpy",
    "pillow",
    "edgezoo",
)


def versions() -> dict[str, str]:
    """Versions of the packages that shape an artifact."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def make_source(
    directory: str,
    network: dict[str, Any],
    contract: dict[str, Any],
    intermediates: list[str],
    questions: dict[str, str],
) -> dict[str, Any]:
    """Build the network, note its answers, and write the intermediates that exporters start from.

    This is the only step that loads TensorFlow. For int8 it leaves `base.tflite` and `base.onnx`,
    which `observe_network` and `prepare_intermediate` go on with.

    Args:
        network: a `BuildJob` as JSON.
        questions: arrays of pixels, and where the network's answers to them go.

    Returns:
        {"weights_sha256", "output_shape": without the batch}.
    """
    from edgezoo.networks.building import BuildJob, build_job

    job = BuildJob.from_json(network)
    built = build_job(job)
    source = Source(Path(directory), InputContract.from_json(contract))
    for pixels, answers in questions.items():
        _note_answers(built, job.spec, Path(pixels), Path(answers))
    digest = values_hash(built)
    from edgezoo.exporters import _intermediates

    _intermediates.write(built, source, set(intermediates))
    return {"weights_sha256": digest, "output_shape": list(built.output_shape[1:])}


def correct_fp16(
    directory: str, contract: dict[str, Any], pictures: str, intermediates: list[str]
) -> dict[str, Any]:
    """Write the intermediates whose numbers are float16 ones that keep each layer's mean.

    Args:
        pictures: an array of pixels, like those that the file will see.
        intermediates: "fp16.tflite", "fp16.onnx" or both.
    """
    import numpy as np

    from edgezoo.calibration import fp16
    from edgezoo.exporters import _intermediates

    source = Source(Path(directory), InputContract.from_json(contract))
    how = source.contract.normalization
    takes_pixels = source.contract.input_kind == "pixels" and not how.uniform

    def feed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pixels.astype("float32") if takes_pixels else normalize(pixels, how)

    corrected = source.directory / "fp16.base.tflite"
    pixels = np.load(pictures, mmap_mode="r")
    layers = fp16.round_to_fp16(source.intermediate("base.tflite"), corrected, pixels, feed)
    _intermediates.write_fp16(source, corrected, set(intermediates))
    corrected.unlink()
    return {"corrected_layers": layers}


def observe_network(directory: str, contract: dict[str, Any], calibration: str) -> dict[str, Any]:
    """Turn the base into the plain network that takes pixel - 128, and note its ranges.

    Returns:
        {"stability": of the ranges, see `calibration.observation.stability_of`}.
    """
    from edgezoo.calibration import observation, preparation, sources

    folder = Path(directory)
    images = sources.open_images(Path(calibration))
    feed = _network_input(contract)
    plain = folder / _PLAIN
    preparation.write_plain(folder / "base.tflite", plain, feed)
    seen = observation.observe(plain, images.array(), feed)
    if images.metadata.source == "synthetic":
        seen = replace(seen, ranges=observation.widen_logits(plain, seen.ranges))
    seen.save(folder / _OBSERVATION)
    images.annotate(ranges=seen.record())
    return {"stability": typed_json.encode(seen.stability)}


def prepare_intermediate(
    directory: str,
    contract: dict[str, Any],
    calibration: str,
    intermediate: Intermediate,
    recipe: dict[str, Any],
) -> dict[str, Any]:
    """Make one float intermediate ready for the quantizer that starts from it."""
    from edgezoo.calibration import observation, preparation, sources
    from edgezoo.core.recipe import Recipe
    from edgezoo.exporters import _intermediates

    folder = Path(directory)
    source = Source(folder, InputContract.from_json(contract))
    prepared = folder / f"{intermediate}.part"
    made = preparation.prepare(
        folder / _PLAIN,
        prepared,
        sources.open_images(Path(calibration)).array(),
        _network_input(contract),
        observation.Observation.load(folder / _OBSERVATION),
        Recipe.from_json(recipe),
    )
    _intermediates.fill(source, intermediate, prepared)
    made.save(source.preparation(intermediate))
    return {"methods": list(made.methods), "corrected_layers": made.corrected_layers}


def rank_layers(
    directory: str, contract: dict[str, Any], calibration: str, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Which layers lose most in 8 bits.

    Returns:
        {"layers": names, the most harmful first}.
    """
    from edgezoo.calibration import observation, preparation, sensitivity, sources
    from edgezoo.core.recipe import Recipe

    folder = Path(directory)
    pixels = sources.open_images(Path(calibration)).array()
    seen = observation.Observation.load(folder / _OBSERVATION)
    feed, how = _network_input(contract), Recipe.from_json(recipe)
    rescaled = folder / "ranked.tflite"
    # Layers lose in the network that the file is made from: its channels may be equalized.
    ranges, _ = preparation.rescale(folder / _PLAIN, rescaled, pixels, feed, seen, how)
    ranked = sensitivity.rank_layers(rescaled, feed(pixels[:8]), ranges, how)
    rescaled.unlink()
    return {"layers": [name for name, _ in ranked]}


def _network_input(contract: dict[str, Any]) -> NetworkInput:
    from edgezoo.calibration.observation import NetworkInput

    facts = InputContract.from_json(contract)
    return NetworkInput(facts.normalization, facts.input_kind)


def predict_source(network: dict[str, Any], pixels: str, output: str) -> dict[str, Any]:
    """The answers of the Keras network itself, for `verify` of a file made earlier.

    Args:
        network: a `BuildJob` as JSON.
        pixels, output: an array of pixels, and where the answers go.
    """
    from edgezoo.networks.building import BuildJob, build_job

    job = BuildJob.from_json(network)
    built = build_job(job)
    _note_answers(built, job.spec, Path(pixels), Path(output))
    return {"weights_sha256": values_hash(built)}


def _note_answers(network: keras.Model, spec: ModelSpec, pixels: Path, answers: Path) -> None:
    """Write what the Keras network gives for stored images."""
    import numpy as np

    images = np.load(pixels, mmap_mode="r")
    _write_rows(
        answers,
        len(images),
        (
            network.predict_on_batch(normalize(images[i : i + _CHUNK], spec.normalization))
            for i in range(0, len(images), _CHUNK)
        ),
    )


def _write_rows(path: Path, count: int, parts: Iterable[NDArray[np.float32]]) -> None:
    """Write parts of an array of `count` rows as they come: feature maps may be large together."""
    import numpy as np

    rows, done = None, 0
    for part in parts:
        if rows is None:
            rows = new_array(path, np.float32, (count, *part.shape[1:]))
        rows[done : done + len(part)] = part
        done += len(part)


def export_files(
    directory: str, contract: dict[str, Any], jobs: list[dict[str, Any]], calibration: str | None
) -> dict[str, Any]:
    """Write the files of one format.

    Args:
        directory: where the source's intermediates are, and where the files go.
        contract: of the source.
        jobs: [{"job": fields of an ExportJob, "stem": file name without ending}].
        calibration: the stored calibration images.

    Returns:
        {"paths": [main file of each job]}.
    """
    from edgezoo.calibration import sources

    source = Source(Path(directory), InputContract.from_json(contract))
    images = sources.open_images(Path(calibration)) if calibration else None
    paths = []
    for entry in jobs:
        job = ExportJob(**entry["job"])
        exporter = registry.exporter(job.format)
        try:
            artifact = exporter.export(source, job, images, source.directory / entry["stem"])
        except OSError as error:
            raise DataError(
                f"{entry['stem']}{exporter.suffix} could not be written: {error.strerror}.",
                "Free some space or choose another folder with --output.",
            ) from error
        paths.append(str(artifact.path))
    return {"paths": paths}


def predict_files(paths: list[str], pixels: str, outputs: list[str]) -> dict[str, Any]:
    """Open written files in their own runtime and note their answers on some images."""
    import numpy as np

    images = np.load(pixels, mmap_mode="r")
    count = len(images)
    for path, output in zip(paths, outputs, strict=True):
        artifact = registry.load_artifact(path)
        contract = artifact.required_contract()
        runtime = registry.runtime_for(artifact.path)
        with runtime.open(artifact, "cpu", os.cpu_count() or 1) as session:
            rows = (predict(session, contract, images[i : i + 1]) for i in range(count))
            _write_rows(Path(output), count, rows)
    return {}
