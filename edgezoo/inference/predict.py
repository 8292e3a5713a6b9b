"""From pixels through a session to probabilities, for any input and output type of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, interpreting
from edgezoo.core.heartbeat import alive
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.sequences import OneOrMany
from edgezoo.inference import assumed, heads
from edgezoo.inference.conversion import dequantize, to_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgezoo.core.protocols import Runtime, Session

_NO_OPTIONS = InputOptions()


def predict(
    session: Session, contract: InputContract, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return the probability of each class, or features.

    Args:
        session: an open artifact.
        contract: of that artifact.
        pixels: RGB or grey, shape (n, height, width, channels).

    Returns:
        float32, shape (n, classes), without a background class before `contract.classes` others.
        Features have the shape (n, *contract.output_shape).

    Raises:
        DataError: the file cannot be run, or produces another number of values.
    """
    values = values_of(session, contract, pixels)
    return values if contract.output_kind == "features" else heads.probabilities(values, contract)


def values_of(
    session: Session, contract: InputContract, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return the real values of the output, which are not probabilities where it gives logits.

    Arguments and errors are those of `predict`. The order of logits is that of their classes,
    also where a softmax rounds their probabilities to 0.
    """
    with interpreting(f"The file of {contract.model}"):
        batch = to_input(pixels, contract, session.inputs[0])
        values = dequantize(session.run(batch), session.outputs[0])
        if contract.output_kind == "features":
            return values.reshape(len(values), *contract.output_shape)
    if values.shape[1] == contract.values + 1:
        values = values[:, 1:]
    if values.shape[1] != contract.values:
        raise DataError(
            f"The file of {contract.model} produces {values.shape[1]} values, but its contract "
            f"has {contract.classes} classes."
        )
    return values


def open_artifact(
    path: Path | str,
    *,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: Path | str | None = None,
    head: str | None = None,
    output_name: str | None = None,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    trust: bool = False,
) -> tuple[Artifact, Session]:
    """Open a file; a file without a contract needs at least its preprocessing.

    Args:
        path: a .tflite, .onnx, .xml, .keras or .h5 file, or a SavedModel folder.
        preprocessing: "unit", "tf", "caffe", "torch" or "raw" (also "none"), for a file without a
            contract.
        scale, offset: of each channel in the network's order or of all, instead: input = pixel *
            scale + offset.
        bgr: the channels of such a file are blue, green, red.
        resize: "stretch" (the default of such a file), "fit" or "crop".
        crop_fraction: of "crop".
        input_size: height and width of a file that takes images of any size.
        labels: a text file with one class name per line, for such a file.
        head: what its outputs are: "softmax", "logits", "sigmoid", "sigmoid-logits", "features".
        output_name: of its outputs, the one to read.
        device, threads: where to run.
        runtime: name of a runtime to use instead of the usual one of the format.
        trust: allow a Keras model to run the code that it contains.

    Raises:
        UsageError: an unknown name, or preprocessing for a file that has its own.
        RefusedError: several inputs or outputs, or a preprocessing that does not fit.
        MissingError: the device or the runtime is not available.
        DataError: the file is damaged, or its preprocessing is not known.
    """
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
    return open_as_stated(path, stated, device, runtime, threads, trust)


def open_as_stated(
    path: Path | str,
    stated: InputOptions = _NO_OPTIONS,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    trust: bool = False,
) -> tuple[Artifact, Session]:
    """Do what `open_artifact` does; `stated` is for a file without a contract."""
    registry.require_device(device)
    artifact = registry.load_artifact(path, trust=trust)
    require_third_party([artifact], stated)
    alive()
    opener = registry.runtime_for(artifact.path, runtime)
    with interpreting(path):
        session = opener.open(artifact, device, threads)
    alive()
    if artifact.contract is not None:
        return artifact, session
    try:
        found = _described(artifact, session, opener, stated)
    except BaseException:
        session.close()
        raise
    if found is None:
        session.close()
    described = found or artifact
    described.required_contract()
    return described, session


def _described(
    artifact: Artifact, session: Session, opener: Runtime, stated: InputOptions
) -> Artifact | None:
    """Return a file without a contract with the one to assume; see `assumed.describe`."""
    with interpreting(artifact.path):
        hints = opener.hints(artifact.path)
    return assumed.describe(artifact, session, hints, stated)


def require_output(session: Session, contract: InputContract) -> None:
    """Choose the output of a contract in another session of the same file."""
    names = [tensor.name for tensor in session.outputs]
    if contract.output_name is not None and contract.output_name in names:
        session.choose_output(names.index(contract.output_name))


def require_third_party(artifacts: Sequence[Artifact], stated: InputOptions) -> None:
    """Check that at least one file needs what options state.

    Raises:
        UsageError: every file contains a contract that defines it.
    """
    given = stated.given()
    if not given or any(artifact.contract is None for artifact in artifacts):
        return
    carry = "carries its" if len(artifacts) == 1 else "carry their"
    names = ", ".join(str(artifact.path) for artifact in artifacts)
    modes = {a.contract.preprocessing: None for a in artifacts if a.contract is not None}
    if set(given) - {"--labels"}:
        option = next(name for name in given if name != "--labels")
        own = "contract, which defines what"
        what = f"{own} {option} says"
        if option in ("--preprocessing", "--scale", "--offset", "--bgr"):
            what = f"preprocessing ({', '.join(modes)})"
        raise UsageError(f"{names} {carry} own {what}.", f"Leave {option} out.")
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
        if contract.weights.source == "unknown":
            raise assumed.not_classes(artifact.path, contract.output_shape)
        shape = " x ".join(map(str, contract.output_shape))
        raise RefusedError(
            f"{artifact.path} produces features ({shape}) instead of classes.",
            "Read them with edgezoo.open_artifact in Python, or export the model with its top.",
        )
