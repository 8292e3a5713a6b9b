"""From pixels through a session to probabilities, whatever types stand at the file's border."""

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
from edgezoo.core.protocols import Session, TensorInfo
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def to_input(
    pixels: NDArray[np.uint8], contract: InputContract, wanted: TensorInfo
) -> NDArray[Any]:
    """Pixels in the dtype, range and layout that the file takes.

    Args:
        pixels: RGB, shape (n, size, size, 3).
        contract: of the file.
        wanted: the file's input tensor.

    Returns:
        shape (n, size, size, 3), or (n, 3, size, size) where the contract's layout is NCHW. For a
        file that resizes by itself, a frame stands round the pixels, which its crop cuts off again.

    Raises:
        DataError: an input type for which no rule is known.
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
            levels = np.rint(values / wanted.scale) + wanted.zero_point
            values = np.clip(levels, limits.min, limits.max)
        values = values.astype(wanted.dtype)
    elif wanted.dtype == "int8":
        values = (pixels.astype(np.int16) - 128).astype(np.int8)
    elif wanted.dtype in ("uint8", "float32", "float16"):
        values = pixels.astype(wanted.dtype)
    else:
        raise DataError(f"The input {wanted.name} has the type {wanted.dtype}, which is unknown.")
    return np.moveaxis(values, -1, 1) if contract.layout == "NCHW" else values


def _framed(pixels: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """Pictures on which the file's own resize has nothing to do, since their shorter side fits."""
    import numpy as np

    size = contract.input_size
    border = contract.resize.shorter_side(size) - size
    sides = (border // 2, border - border // 2)
    return np.pad(pixels, ((0, 0), sides, sides, (0, 0)))


def dequantize(raw: NDArray[Any], info: TensorInfo) -> NDArray[np.float32]:
    """Real values of a raw output, by the tensor's own scale and zero point."""
    import numpy as np

    values = raw.astype(np.float32)
    if info.scale is not None and info.zero_point is not None:
        values = (values - np.float32(info.zero_point)) * np.float32(info.scale)
    return values


def predict(
    session: Session, contract: InputContract, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Scores of each class, or features.

    Args:
        session: an open artifact.
        contract: of that artifact.
        pixels: RGB, shape (n, size, size, 3).

    Returns:
        float32, shape (n, classes); a background class in front of `contract.classes` others
        is left out. Features have the shape (n, *contract.output_shape).

    Raises:
        DataError: the file cannot be run, or gives another number of values.
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
            f"The file of {contract.model} gives {scores.shape[1]} values, and its contract says "
            f"{contract.classes} classes."
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
    """Open a file; one that EdgeZoo did not make needs `preprocessing`.

    Args:
        path: .tflite, .onnx, .xml, .keras, .h5 or a SavedModel's folder.
        preprocessing: "tf", "caffe", "torch" or "raw" (also "none"), for a file without a contract.
        labels: a text file with a class name a line, for a file without a contract.
        device, threads: where to run.
        runtime: name of another runtime than the usual one of the format.
        trust: code in a network of Keras may run.

    Raises:
        UsageError, MissingError, DataError: what stands in the way, in words.
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
    """Check that some file needs what its user says of it.

    Raises:
        UsageError: each carries a contract, which says it already.
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
            f"{names} {carry} own contract, which tells the labels.", "Leave --labels out."
        )


def require_classes(artifact: Artifact) -> None:
    """Check that a file names classes, before anything is made of its output.

    Raises:
        RefusedError: it gives features.
    """
    contract = artifact.contract
    if contract is not None and contract.output_kind == "features":
        shape = " x ".join(map(str, contract.output_shape))
        raise RefusedError(
            f"{artifact.path} gives features ({shape}), no classes.",
            "Take them from edgezoo.open_artifact in Python, or export the model with its top.",
        )


def third_party_contract(
    artifact: Artifact, session: Session, preprocessing: str, labels: Path | str | None
) -> InputContract:
    """What to assume of a file that EdgeZoo did not make.

    The size and layout come from its input tensor; 1001 outputs mean a background class in
    front of ImageNet's 1000.
    """
    with interpreting(artifact.path):
        tensor, outputs = session.inputs[0], session.outputs[0].shape[-1]
    if len(tensor.shape) != 4 or 3 not in (tensor.shape[1], tensor.shape[3]):
        raise DataError(
            f"{artifact.path} takes shape {tensor.shape}, which is not one RGB picture."
        )
    if min(tensor.shape[1:]) < 1:
        raise DataError(
            f"{artifact.path} takes pictures of any size, and which one is meant is not known.",
            "Export it first, with --input-size.",
        )
    if max(tensor.shape[1:]) > LARGEST_SIDE or not 0 < outputs <= MOST_CLASSES:
        raise DataError(f"{artifact.path} takes {tensor.shape} and gives {outputs} values.")
    nchw = tensor.shape[1] == 3
    names = read_labels(Path(labels)) if labels is not None else ()
    classes = 1000 if outputs == 1001 else outputs
    if len(names) == outputs == classes + 1:
        names = names[1:]
    if names and len(names) != classes:
        raise DataError(
            f"{labels} has {counted(len(names), 'label')}, and the file has {outputs} outputs."
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
        layout="NCHW" if nchw else "NHWC",
        labels=names,
    )
