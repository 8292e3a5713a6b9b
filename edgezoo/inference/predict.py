"""From pixels through a session to probabilities, for any input and output type of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import LARGEST_SIDE, MOST_CLASSES, Artifact, InputContract, WeightsRecord
from edgezoo.core.errors import DataError, RefusedError, UsageError, counted, interpreting
from edgezoo.core.heartbeat import alive
from edgezoo.core.labels import preprocessing_mode, read_labels
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgezoo.core.protocols import Session, TensorInfo


def to_input(
    pixels: NDArray[np.uint8], contract: InputContract, wanted: TensorInfo
) -> NDArray[Any]:
    """Convert pixels to the dtype, range and layout that the file takes.

    For a file that resizes by itself, the pixels get a border, which its crop cuts off again.

    Args:
        pixels: RGB, shape (n, size, size, 3).
        contract: of the file.
        wanted: the file's input tensor.

    Raises:
        DataError: the input type is unknown, or an integer without quantization.
    """
    import numpy as np

    if contract.resizes:
        pixels = _framed(pixels, contract)
    if contract.input_kind == "normalized":
        values: NDArray[Any] = normalize(pixels, contract.normalization)
        if wanted.dtype in ("uint8", "int8"):
            if wanted.scale is None or wanted.zero_point is None:
                raise DataError(f"The {wanted.dtype} input {wanted.name} has no quantization.")
            limits = np.iinfo(wanted.dtype)
            quantized = np.rint(values / wanted.scale) + wanted.zero_point
            values = np.clip(quantized, limits.min, limits.max)
        values = values.astype(wanted.dtype)
    elif wanted.dtype == "int8":
        values = (pixels.astype(np.int16) - 128).astype(np.int8)
    elif wanted.dtype in ("uint8", "float32", "float16"):
        values = pixels.astype(wanted.dtype)
    else:
        raise DataError(f"The input {wanted.name} has the type {wanted.dtype}, which is unknown.")
    return np.moveaxis(values, -1, 1) if contract.layout == "NCHW" else values


def _framed(pixels: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """Add a border, so that the file's own resize keeps every pixel: the shorter side fits."""
    import numpy as np

    border = contract.resize.shorter_side(contract.input_size) - contract.input_size
    sides = (border // 2, border - border // 2)
    return np.pad(pixels, ((0, 0), sides, sides, (0, 0)))


def dequantize(raw: NDArray[Any], info: TensorInfo) -> NDArray[np.float32]:
    """Convert a raw output to real values, by the tensor's scale and zero point."""
    import numpy as np

    values = raw.astype(np.float32)
    if info.scale is not None and info.zero_point is not None:
        values = (values - np.float32(info.zero_point)) * np.float32(info.scale)
    return values


def predict(
    session: Session, contract: InputContract, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return the scores of each class, or features.

    Args:
        session: an open artifact.
        contract: of that artifact.
        pixels: RGB, shape (n, size, size, 3).

    Returns:
        float32, shape (n, classes), without a background class before `contract.classes` others.
        Features have the shape (n, *contract.output_shape).

    Raises:
        DataError: the file cannot be run, or produces another number of values.
    """
    with interpreting(f"The file of {contract.model}"):
        batch = to_input(pixels, contract, session.inputs[0])
        scores = dequantize(session.run(batch), session.outputs[0])
        if contract.output_kind == "features":
            return scores.reshape(len(scores), *contract.output_shape)
    if scores.shape[1] == contract.classes + 1:
        return scores[:, 1:]
    if scores.shape[1] != contract.classes:
        raise DataError(
            f"The file of {contract.model} produces {scores.shape[1]} values, but its contract "
            f"has {contract.classes} classes."
        )
    return scores


def open_artifact(
    path: Path | str,
    *,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    trust: bool = False,
) -> tuple[Artifact, Session]:
    """Open a file; a third-party file needs `preprocessing`.

    Args:
        path: a .tflite, .onnx, .xml, .keras or .h5 file, or a SavedModel folder.
        preprocessing: "tf", "caffe", "torch" or "raw" (also "none"), for a file without a contract.
        labels: a text file with one class name per line, for a file without a contract.
        device, threads: where to run.
        runtime: name of a runtime to use instead of the usual one of the format.
        trust: allow a Keras model to run the code that it contains.

    Raises:
        UsageError: an unknown name, or preprocessing for a file that has its own.
        MissingError: the device or the runtime is not available.
        DataError: the file is damaged, or has no contract.
    """
    preprocessing = preprocessing_mode(preprocessing)
    registry.require_device(device)
    artifact = registry.load_artifact(path, trust=trust)
    require_third_party([artifact], preprocessing, labels)
    alive()
    opener = registry.runtime_for(artifact.path, runtime)
    with interpreting(path):
        session = opener.open(artifact, device, threads)
    alive()
    if artifact.contract is None and preprocessing is not None:
        contract = third_party_contract(artifact, session, preprocessing, labels)
        artifact = replace(artifact, contract=contract)
    if artifact.contract is None:
        session.close()
    artifact.required_contract()
    return artifact, session


def require_third_party(
    artifacts: Sequence[Artifact], preprocessing: str | None, labels: Path | str | None
) -> None:
    """Check that at least one file needs preprocessing and labels.

    Raises:
        UsageError: every file contains a contract that defines them.
    """
    if any(artifact.contract is None for artifact in artifacts):
        return
    carry = "carries its" if len(artifacts) == 1 else "carry their"
    names = ", ".join(str(artifact.path) for artifact in artifacts)
    if preprocessing is not None:
        modes = {a.contract.preprocessing: None for a in artifacts if a.contract is not None}
        raise UsageError(
            f"{names} {carry} own preprocessing ({', '.join(modes)}).", "Leave --preprocessing out."
        )
    if labels is not None:
        raise UsageError(
            f"{names} {carry} own contract, which defines the labels.", "Leave --labels out."
        )


def require_classes(artifact: Artifact) -> None:
    """Check that a file produces classes, before its output is used as such.

    Raises:
        RefusedError: it produces features.
    """
    contract = artifact.contract
    if contract is not None and contract.output_kind == "features":
        shape = " x ".join(map(str, contract.output_shape))
        raise RefusedError(
            f"{artifact.path} produces features ({shape}) instead of classes.",
            "Read them with edgezoo.open_artifact in Python, or export the model with its top.",
        )


def third_party_contract(
    artifact: Artifact, session: Session, preprocessing: str, labels: Path | str | None
) -> InputContract:
    """Return the contract to assume for a third-party file.

    The size and layout come from its input tensor; 1001 outputs mean a background class before
    ImageNet's 1000.
    """
    with interpreting(artifact.path):
        tensor, outputs = session.inputs[0], session.outputs[0].shape[-1]
    if len(tensor.shape) != 4 or 3 not in (tensor.shape[1], tensor.shape[3]):
        raise DataError(f"{artifact.path} takes shape {tensor.shape}, which is not one RGB image.")
    if min(tensor.shape[1:]) < 1:
        raise DataError(
            f"{artifact.path} takes images of any size, and the right size is not known.",
            "Export it first, with --input-size.",
        )
    if max(tensor.shape[1:]) > LARGEST_SIDE or not 0 < outputs <= MOST_CLASSES:
        raise DataError(f"{artifact.path} takes {tensor.shape} and produces {outputs} values.")
    names = read_labels(Path(labels)) if labels is not None else ()
    classes = 1000 if outputs == 1001 else outputs
    if len(names) == outputs == classes + 1:
        names = names[1:]
    if names and len(names) != classes:
        raise DataError(
            f"{labels} has {counted(len(names), 'label')}, but the file has {outputs} outputs."
        )
    return InputContract(
        model=artifact.path.stem,
        precision="int8" if tensor.dtype in ("uint8", "int8") else "float32",
        input_size=tensor.shape[2],
        preprocessing=preprocessing,
        weights=WeightsRecord("unknown", ""),
        classes=classes,
        input_kind="normalized",
        input_dtype=tensor.dtype,
        output_dtype=session.outputs[0].dtype,
        layout="NCHW" if tensor.shape[1] == 3 else "NHWC",
        labels=names,
    )
