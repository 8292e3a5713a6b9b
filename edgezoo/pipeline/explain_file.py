"""`edgezoo explain`: where a quantized file loses accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgezoo.calibration import sources
from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, interpreting
from edgezoo.core.protocols import ExportJob
from edgezoo.core.spec import InputKind
from edgezoo.explanation.analysis import analyse
from edgezoo.explanation.as_json import record
from edgezoo.explanation.findings import find
from edgezoo.explanation.reference import Reference, centred
from edgezoo.explanation.verdict import conclude
from edgezoo.images.preprocessing import normalize
from edgezoo.inference.predict import open_artifact, require_classes
from edgezoo.inspection import portability
from edgezoo.pipeline import explain_images
from edgezoo.pipeline.verify_files import check_weights, common_contract, source_network
from edgezoo.system import process, sandbox

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEPS = "edgezoo.pipeline.children"
_SOURCE_SCORES, _FLOAT_SCORES = "source.npy", "float-file.npy"


@dataclass(frozen=True, slots=True)
class Explained:
    """What is explained, and beside what.

    Attributes:
        artifact: the quantized file with its contract, or what was told of it.
        float_file: a float32 .tflite of the same network in place of the Keras network.
        float_kind: what that takes; None where it is not EdgeZoo's and so not normalised inside.
    """

    artifact: Artifact
    float_file: Path | None
    float_kind: InputKind | None

    @property
    def contract(self) -> InputContract:
        """Of the quantized file."""
        return self.artifact.required_contract()

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` turns it back."""
        artifact = self.artifact
        return {
            "path": str(artifact.path),
            "format": artifact.format,
            "files": [str(file) for file in artifact.files],
            "contract": self.contract.to_json(),
            "float_file": str(self.float_file) if self.float_file else None,
            "float_kind": self.float_kind,
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Explained:
        """Read what `to_json` wrote."""
        files = tuple(Path(file) for file in facts["files"])
        contract = InputContract.from_json(facts["contract"])
        artifact = Artifact(Path(facts["path"]), facts["format"], files, contract)
        beside = facts["float_file"]
        return cls(artifact, Path(beside) if beside else None, facts["float_kind"])


def explain_file(
    path: Path | str,
    *,
    images: str = "synthetic",
    count: int = 64,
    float_file: Path | str | None = None,
    weights: str | None = None,
    preprocessing: str | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
    debug: bool = False,
) -> dict[str, Any]:
    """Say where a quantized file loses accuracy, by cause and by layer.

    Args:
        path: an int8 .tflite, .onnx or .xml.
        images: "synthetic", a folder (a folder a class gives top-1 too) or an .npz of pixels.
        count: how many images.
        float_file: a float32 .tflite of the same network, to compare with in place of the Keras
            network, which is then not built.
        weights: the file that the network's weights came from, where it was a file.
        preprocessing: "tf", "caffe" or "torch", for a file without a contract.
        seed: of the choice of images.
        progress: called with what is being done.
        debug: let child processes write to this terminal.

    Returns:
        The object that docs/schemas/explain.json describes.

    Raises:
        RefusedError: the file is not quantized, or of a format that cannot be looked into.
        UsageError: the float file belongs to another network, or weights are given beside it.
        DataError: a damaged file, images or weights that are not here.
    """
    if float_file is not None and weights is not None:
        raise UsageError(
            f"--weights {weights} does nothing beside --float, in whose place the Keras network "
            "would be built.",
            "Give one of the two.",
        )
    explain_images.require(images)
    files = [path, *([float_file] if float_file is not None else [])]
    explained = Explained.from_json(
        sandbox.call(
            "edgezoo.pipeline.explain_file:identify",
            files,
            sandbox.limits_for([*map(Path, files)]),
            debug=debug,
            path=path,
            float_file=float_file,
            preprocessing=preprocessing,
        )
    )
    contract = explained.contract
    with TemporaryDirectory(prefix="edgezoo-explain-") as scratch:
        folder = Path(scratch)
        chosen = explain_images.choose(images, contract, count, seed)
        labels, why_not = explain_images.labels_of(chosen, images, contract)
        pixels = str(sources.store(chosen, contract.input_size, folder, "images").path)
        if explained.float_file is None:
            _rebuild(explained, weights, folder, pixels, progress, debug)
        progress("Running the file layer by layer")
        facts = process.call(
            "edgezoo.pipeline.explain_file:analyse_file",
            {
                "path": str(path),
                "contract": contract.to_json(),
                "float_file": str(explained.float_file or folder / "float.tflite"),
                "float_kind": explained.float_kind,
                "scratch": scratch,
                "pixels": pixels,
                "labels": labels,
            },
            debug,
        )
    facts.pop("_usage")
    return {
        "artifact": str(path),
        "format": explained.artifact.format,
        "model": contract.model,
        "reference": str(float_file) if float_file is not None else "keras",
        "image_source": images,
        "unlabelled": why_not,
        "overlap": explain_images.overlap(chosen, images, contract),
        **facts,
    }


def identify(
    path: Path | str, float_file: Path | str | None, preprocessing: str | None
) -> dict[str, Any]:
    """Check that the file can be explained, and find its float network: an `Explained` as JSON.

    It runs in a process of its own, since the files may come from anybody.
    """
    return _identified(path, float_file, preprocessing).to_json()


def _identified(
    path: Path | str, float_file: Path | str | None, preprocessing: str | None
) -> Explained:
    artifact = registry.load_artifact(path)
    require_classes(artifact)
    reader = registry.anatomy_reader(artifact.path)
    with interpreting(path):
        quantized = registry.runtime_for(artifact.path).describe(artifact.path).quantized
    if not quantized:
        raise RefusedError(
            f"{path} is not quantized, so there is no loss of quantization to explain.",
            "Explain an int8 file; `edgezoo verify` compares a float file with its source.",
        )
    with interpreting(path):
        reader.read(artifact.path)  # says what cannot be looked into
    if artifact.contract is None and (float_file is None or preprocessing is None):
        raise DataError(
            f"{path} carries no EdgeZoo contract, so neither its preprocessing nor the network "
            "that it was made from is known.",
            "Say both: --preprocessing tf|caffe|torch, and --float FILE.tflite with the float32 "
            "network.",
        )
    if artifact.contract is None or preprocessing is not None:
        artifact, session = open_artifact(path, preprocessing=preprocessing)
        session.close()
    if float_file is None:
        return Explained(artifact, None, artifact.required_contract().input_kind)
    beside = registry.load_artifact(float_file)
    quantized = registry.runtime_for(beside.path).describe(beside.path).quantized
    half = beside.contract is not None and beside.contract.precision != "float32"
    if beside.format != "tflite" or quantized or half:
        raise UsageError(
            f"--float {float_file} is not a float32 .tflite file.",
            "Layers are simulated in TFLite's float kernels, for every format: give the float32 "
            ".tflite of the same network.",
        )
    if beside.contract is not None and preprocessing is None:
        common_contract([artifact, beside])
    kind = beside.contract.input_kind if beside.contract is not None else None
    return Explained(artifact, beside.path, kind)


def _rebuild(
    explained: Explained,
    weights: str | None,
    folder: Path,
    pixels: str,
    progress: Callable[[str], None],
    debug: bool,
) -> None:
    """Build the Keras network again, note its answers, and export and run its float file."""
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
    made = process.call(
        f"{_STEPS}:make_source",
        {
            "network": source_network(contract, weights),
            "directory": str(folder),
            "contract": contract.to_json(),
            "intermediates": sorted({"float.tflite", *intermediates}),
            "questions": {pixels: str(folder / _SOURCE_SCORES)},
        },
        debug,
    )
    check_weights(contract, made)
    progress("Exporting its float file")
    (path,) = process.call(
        f"{_STEPS}:export_files",
        {
            "directory": str(folder),
            "contract": contract.to_json(),
            "jobs": [{"job": asdict(job), "stem": "float-file"}],
            "calibration": None,
        },
        debug,
    )["paths"]
    process.call(
        f"{_STEPS}:predict_files",
        {"paths": [path], "pixels": pixels, "outputs": [str(folder / _FLOAT_SCORES)]},
        debug,
    )


def analyse_file(
    path: str,
    contract: dict[str, Any],
    float_file: str,
    float_kind: InputKind | None,
    scratch: str,
    pixels: str,
    labels: list[int] | None,
) -> dict[str, Any]:
    """What the child process of `explain_file` does.

    Args:
        path: the quantized file.
        contract: of it, as JSON.
        float_file, float_kind: see `Explained`.
        scratch: a folder, with the answers of the Keras network and its float file where these
            were made.
        pixels: the stored images.
        labels: their classes, where they are known.
    """
    import numpy as np

    told = InputContract.from_json(contract)
    artifact = registry.load_artifact(path, told)
    folder = Path(scratch)
    reference = Reference(Path(float_file), partial(normalize, how=told.normalization))
    if float_kind is not None:
        target = folder / "centred.tflite"
        reference = centred(Path(float_file), target, float_kind, told.normalization)
    analysis = analyse(
        artifact,
        reference,
        np.load(pixels, mmap_mode="r"),
        _scores(folder / _SOURCE_SCORES),
        _scores(folder / _FLOAT_SCORES),
        np.asarray(labels) if labels is not None else None,
    )
    overflows = portability.check(artifact.path)
    findings = find(analysis, told, registry.models().get(told.model), overflows)
    return record(analysis, findings, conclude(analysis, findings))


def _scores(path: Path) -> NDArray[np.float32] | None:
    import numpy as np

    return np.load(path) if path.exists() else None
