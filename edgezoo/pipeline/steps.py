"""What child processes do. Each function takes and gives what JSON can carry."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import registry
from edgezoo.artifact import InputContract
from edgezoo.contracts import ExportJob, Source
from edgezoo.errors import DataError
from edgezoo.inference import predict
from edgezoo.preprocessing import normalize
from edgezoo.spec import ModelSpec
from edgezoo.weights import LocatedWeights

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

REFERENCE = "reference.npy"
_CHUNK = 16
_VERSIONED = ("tensorflow-cpu", "tensorflow", "keras", "ai-edge-litert", "litert-quantizer",
              "tf2onnx", "onnx", "onnxruntime", "openvino", "nncf", "numpy", "pillow",
              "edgezoo")  # fmt: skip


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
    model: str,
    alpha: float | None,
    depth_multiplier: int | None,
    input_size: int,
    weights: dict[str, Any],
    seed: int,
    contract: dict[str, Any],
    forms: list[str],
    calibration: str | None,
    verification: str | None,
) -> dict[str, Any]:
    """Build the network, note its answers, and write the float forms that exporters start from.

    This is the only step that loads TensorFlow.

    Returns:
        {"weights_sha256", "reference_images"}.
    """
    from edgezoo.building import build_located

    spec = registry.model(model)
    located = LocatedWeights(**{**weights, "path": weights["path"] and Path(weights["path"])})
    network = build_located(spec, alpha, depth_multiplier, input_size, located, seed)
    folder = Path(directory)
    count = 0
    if verification is not None:
        import numpy as np

        pixels = np.load(verification, mmap_mode="r")
        count = len(pixels)
        np.save(folder / REFERENCE, _answers(network, spec, pixels))
    source = Source(folder, InputContract.from_json(contract))
    _write_forms(network, spec, source, set(forms), calibration)
    return {"weights_sha256": _weights_hash(network), "reference_images": count}


def predict_source(
    output: str,
    model: str,
    alpha: float | None,
    depth_multiplier: int | None,
    input_size: int,
    weights: dict[str, Any],
    seed: int,
    pixels: str,
) -> dict[str, Any]:
    """The answers of the Keras network itself, for `verify` of a file made earlier."""
    import numpy as np

    from edgezoo.building import build_located

    spec = registry.model(model)
    located = LocatedWeights(**{**weights, "path": weights["path"] and Path(weights["path"])})
    network = build_located(spec, alpha, depth_multiplier, input_size, located, seed)
    np.save(output, _answers(network, spec, np.load(pixels, mmap_mode="r")))
    return {"weights_sha256": _weights_hash(network)}


def _answers(
    network: keras.Model, spec: ModelSpec, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Probabilities of the Keras network, shape (n, classes)."""
    import numpy as np

    rows = [
        network.predict_on_batch(normalize(pixels[i : i + _CHUNK], spec.normalization))
        for i in range(0, len(pixels), _CHUNK)
    ]
    return np.concatenate(rows).astype(np.float32)


def _weights_hash(network: keras.Model) -> str:
    import hashlib

    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(values.tobytes())
    return digest.hexdigest()


def _write_forms(
    network: keras.Model, spec: ModelSpec, source: Source, forms: set[str], calibration: str | None
) -> None:
    from edgezoo.exporters import _graph

    frozen = _graph.freeze(network, source.contract.input_size)
    pixels_in = source.contract.input_kind == "pixels"
    if forms & {"float.tflite", "float.onnx"}:
        path = source.form("float.tflite")
        _graph.write_tflite(frozen, spec.normalization if pixels_in else None, path)
        if "float.onnx" in forms:
            _graph.write_onnx(path, source.form("float.onnx"))
    if forms & {"prepared.tflite", "prepared.onnx"} and calibration is not None:
        _write_prepared(frozen, spec, source, forms, Path(calibration))


def _write_prepared(
    frozen: Any, spec: ModelSpec, source: Source, forms: set[str], calibration: Path
) -> None:
    """The network that takes pixel - 128, corrected once for each way of rounding weights."""
    from edgezoo.calibration import preparation, sources
    from edgezoo.exporters import _graph

    how = spec.normalization
    images = sources.open_images(calibration)
    plain = source.directory / "plain.tflite"
    scale, offset = 1.0, 0.0
    if how.uniform:
        scale = how.scale[0]
        offset = how.offset[0] + preparation.PIXEL_ZERO * scale
        _graph.write_tflite(frozen, None, plain)
        preparation.absorb_offset(plain, offset)
    else:
        _graph.write_tflite(frozen, how, plain, zero=preparation.PIXEL_ZERO)
    ranges = preparation.observe(plain, images.array(), scale)
    if images.passport["source"] == "synthetic":
        ranges = preparation.widen_logits(plain, ranges)
    if "prepared.tflite" in forms:
        path = source.form("prepared.tflite")
        shutil.copyfile(plain, path)
        made = preparation.correct(path, images.array(), ranges, scale, "full")
    if "prepared.onnx" in forms:
        path = source.directory / "pair-safe.tflite"
        shutil.copyfile(plain, path)
        made = preparation.correct(path, images.array(), ranges, scale, "pair-safe")
        _graph.write_onnx(path, source.form("prepared.onnx"))
    made.save(source.preparation)


def export_files(
    directory: str,
    contract: dict[str, Any],
    jobs: list[dict[str, Any]],
    calibration: str | None,
) -> dict[str, Any]:
    """Write the files of one format.

    Args:
        directory: where the source's forms are, and where the files go.
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
    for path, output in zip(paths, outputs, strict=True):
        artifact = registry.load_artifact(path)
        contract = artifact.required_contract()
        runtime = registry.runtime_for(artifact.path)
        with runtime.open(artifact, "cpu", os.cpu_count() or 1) as session:
            rows = [predict(session, contract, images[i : i + 1]) for i in range(len(images))]
        np.save(output, np.concatenate(rows))
    return {}
