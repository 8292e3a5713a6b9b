"""`edgezoo explain`: where a quantized file loses accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, interpreting
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.protocols import Description, ExportJob, FileFault, Intermediate
from edgezoo.core.sequences import OneOrMany, PathLike
from edgezoo.core.spec import InputKind
from edgezoo.explanation.analysis import analyse
from edgezoo.explanation.explain_result import ExplainResult, Explanation, with_verdict
from edgezoo.explanation.findings import find
from edgezoo.explanation.reference import Reference, centred
from edgezoo.explanation.verdict import conclude
from edgezoo.images.preprocessing import normalize
from edgezoo.inference.predict import open_as_stated, require_classes
from edgezoo.inspection import portability
from edgezoo.pipeline import children, explain_images
from edgezoo.pipeline.verify_files import check_weights, common_contract, source_network
from edgezoo.system import process, sandbox
from edgezoo.system.scratch import scratch

_SOURCE_SCORES, _FLOAT_SCORES = "source.npy", "float-file.npy"


@dataclass(frozen=True, slots=True)
class Explained:
    """The file to explain, and the float network to compare it with.

    Attributes:
        artifact: the quantized file with its contract, or the one that options describe.
        float_file: a float32 .tflite of the same network, instead of the Keras network.
        float_kind: its input kind; None for a third-party file, which does not normalize.
        faults: what some readers of the quantized file get wrong.
    """

    artifact: Artifact
    float_file: Path | None
    float_kind: InputKind | None
    faults: tuple[FileFault, ...]

    @property
    def contract(self) -> InputContract:
        """Of the quantized file."""
        return self.artifact.required_contract()


def explain_file(
    artifact: PathLike,
    *,
    images: PathLike = "synthetic",
    split: str | None = None,
    count: int = 64,
    float_file: PathLike | None = None,
    weights: PathLike | None = None,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: PathLike | None = None,
    head: str | None = None,
    output_name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> ExplainResult:
    """Find where a quantized file loses accuracy, by cause and by layer.

    Args:
        artifact: an int8 .tflite, .onnx or .xml.
        images: "synthetic", a folder (a folder a class gives top-1 too) or an .npz of pixels.
        split: take this folder of `images`, such as "val", alone.
        count: how many images.
        float_file: a float32 .tflite of the same network, to compare with instead of the Keras
            network, which is then not built.
        weights: the file that the network's weights came from, where it was a file.
        preprocessing, scale, offset, bgr, resize, crop_fraction: for a file without a contract; see
            `open_artifact`.
        input_size, labels, head, output_name: the same.
        seed: of the choice of images.
        progress: called with what is being done.
        debug: let child processes write to this terminal.

    Raises:
        RefusedError: the file is not quantized, or its format cannot be explained.
        UsageError: the float file belongs to another network, or weights are given next to it.
        DataError: a damaged file, images or weights that are not here.
    """
    if float_file is not None and weights is not None:
        raise UsageError(
            f"--weights {weights} has no effect next to --float, which replaces the Keras network.",
            "Give one of the two.",
        )
    stated = InputOptions(
        preprocessing,
        scale,
        offset,
        bgr,
        resize,
        crop_fraction,
        input_size,
        labels,
        head,
        output_name,
    )
    path, images = Path(artifact), sources.part_of(str(images), split)
    explain_images.require(images)
    paths = (path,) if float_file is None else (path, Path(float_file))
    limited = sandbox.Sandbox(paths, sandbox.limits_for(paths), debug=debug)
    explained = limited.call(identify, path, float_file, stated)
    contract = explained.contract
    with scratch() as folder:
        given_files = paths if weights is None else (*paths, Path(weights))
        launcher = sandbox.workshop(given_files, folder, debug=debug)
        chosen = launcher.call(explain_images.store, folder, images, contract, count, seed).value
        pixels, classes = chosen.path, chosen.labels
        if explained.float_file is None:
            given = None if weights is None else str(weights)
            _rebuild(explained, given, folder, pixels, progress, launcher)
        progress("Running the file layer by layer")
        network = explained.float_file or folder / "float.tflite"
        kind = explained.float_kind
        found = launcher.call(
            analyse_file, path, contract, network, kind, folder, pixels, classes
        ).value
    return ExplainResult(
        artifact=path,
        format=explained.artifact.format,
        model=contract.model,
        reference=str(float_file) if float_file is not None else "keras",
        image_source=images,
        unlabelled=chosen.unlabelled,
        overlap=chosen.overlap,
        file_faults=explained.faults,
        notes=explained.artifact.notes or None,
        **{field.name: getattr(found, field.name) for field in fields(found)},
    )


def identify(path: Path | str, float_file: Path | str | None, stated: InputOptions) -> Explained:
    """Check that a file can be explained, and find its float network; in a limited process."""
    artifact = registry.load_artifact(path)
    require_classes(artifact)
    reader = registry.anatomy_reader(artifact.path)
    with interpreting(path):
        described = registry.runtime_for(artifact.path).describe(artifact.path)
    _require_quantized(path, described)
    with interpreting(path):
        reader.read(artifact.path)  # raises where it cannot be explained
    own = artifact.contract is not None
    if not own and float_file is None:
        raise DataError(
            f"{path} has no EdgeZoo contract, so neither its preprocessing nor the network "
            "that it was made from is known.",
            "Give both: --preprocessing unit|tf|caffe|torch, and --float FILE.tflite with the "
            "float32 network.",
        )
    if not own or stated.given():
        artifact, session = open_as_stated(path, stated)
        session.close()
        require_classes(artifact)
    if float_file is None:
        return Explained(artifact, None, artifact.required_contract().input_kind, described.faults)
    beside = registry.load_artifact(float_file)
    quantized = registry.runtime_for(beside.path).describe(beside.path).quantized
    half = beside.contract is not None and beside.contract.precision != "float32"
    if beside.format != "tflite" or quantized or half:
        raise UsageError(
            f"--float {float_file} is not a float32 .tflite file.",
            "Layers are simulated in TFLite's float kernels, for every format: give the float32 "
            ".tflite of the same network.",
        )
    if beside.contract is not None and own:
        common_contract([artifact, beside])
    kind = beside.contract.input_kind if beside.contract else None
    return Explained(artifact, beside.path, kind, described.faults)


def _require_quantized(path: Path | str, described: Description) -> None:
    if described.quantized:
        return
    types = sorted({found.weights for found in described.weighted} - {"float32"})
    why = f"{path} is not quantized"
    if types:
        why = f"{path} has weights in {', '.join(types)} and activations in float"
    raise RefusedError(
        f"{why}, so there is no loss of integer activations to explain.",
        "Explain an int8 file; `edgezoo verify` compares a float file with its source.",
    )


def _rebuild(
    explained: Explained,
    weights: str | None,
    folder: Path,
    pixels: Path,
    progress: Callable[[str], None],
    launcher: process.Launcher,
) -> None:
    """Build the Keras network again, store its outputs, and export and run its float file."""
    contract = replace(
        explained.contract,
        precision="float32",
        input_dtype="float32",
        output_dtype="float32",
        calibration=None,
        quantization=None,
        resizes=False,
    )
    job = ExportJob(explained.artifact.format, "float32", contract.input_kind)
    intermediates = registry.exporter(job.format).intermediates(contract, job)
    progress("Building the Keras network")
    wanted: tuple[Intermediate, ...] = tuple(sorted({"float.tflite", *intermediates}))
    network = source_network(contract, weights)
    asked = (children.Question(pixels, folder / _SOURCE_SCORES),)
    made = launcher.call(
        children.make_source, folder, network, contract, wanted, questions=asked
    ).value
    check_weights(contract, made.weights_sha256)
    progress("Exporting its float file")
    float_job = children.FileJob(job, "float-file")
    exported = launcher.call(children.export_files, folder, contract, (float_job,), None).value
    launcher.call(children.predict_files, exported, pixels, (folder / _FLOAT_SCORES,))


def analyse_file(
    path: Path,
    contract: InputContract,
    float_file: Path,
    float_kind: InputKind | None,
    scratch: Path,
    pixels: Path,
    labels: list[int] | None,
) -> Explanation:
    """What the child process of `explain_file` does.

    Args:
        path: the quantized file.
        contract: of it.
        float_file, float_kind: see `Explained`.
        scratch: a folder; has the answers of the Keras network and its float file if these exist.
        pixels, labels: the stored images, and their classes where they are known.
    """
    artifact = registry.load_artifact(path, contract)
    reference = Reference(float_file, partial(normalize, how=contract.normalization))
    if float_kind is not None:
        target = scratch / "centred.tflite"
        reference = centred(float_file, target, float_kind, contract.normalization)
    images, classes = np.load(pixels, mmap_mode="r"), None if labels is None else np.asarray(labels)
    scores = _scores(scratch / _SOURCE_SCORES), _scores(scratch / _FLOAT_SCORES)
    analysis = analyse(artifact, reference, images, *scores, classes)
    overflows = portability.check(artifact.path)
    layers = () if overflows is None else overflows.layers
    can_overflow = {layer.name: layer.can_overflow for layer in layers}
    model = registry.models().get(contract.model)
    findings = find(analysis, contract, model, can_overflow)
    return with_verdict(analysis, findings, conclude(analysis, findings))


def _scores(path: Path) -> NDArray[np.float32] | None:
    return np.load(path) if path.exists() else None
