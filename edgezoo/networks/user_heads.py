"""What the output of a user's network is: classes by softmax, logits or sigmoids, or features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.artifact import BINARY
from edgezoo.core.errors import RefusedError
from edgezoo.core.spec import Frame, Head, Normalization
from edgezoo.formats.keras_files.reading import KerasFile
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import keras

_SUM_TOLERANCE = 1e-3  # of float32 sums of probabilities; other outputs are off by far more
_PROBES = 2
_HEADS: dict[str, Head] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "sigmoid",
    "linear": "logits",
    # Its softmax is the same as that of the logits.
    "log_softmax": "logits",
}
_SUMS = ("Dense", "Conv2D")  # layers whose plain outputs are logits
_PASSING = ("Flatten", "Reshape", "Dropout", "Identity", "InputLayer")
_PROBABILITIES: Head = "softmax"
_OPTIONS = (
    "If they are classes all the same, say how: --head softmax, logits, sigmoid or "
    "sigmoid-logits. Features are exported with --no-top."
)


def classes(outputs: int, head: Head) -> int:
    """Return the number of classes of an output: one sigmoid tells two apart."""
    return BINARY if outputs == 1 and head in ("sigmoid", "sigmoid-logits") else outputs


def of_file(found: KerasFile, stated: Head | None, labels: tuple[str, ...]) -> Head | None:
    """Return what a network's outputs are, by its file; None if that takes building it.

    Raises:
        RefusedError: they are not classes.
    """
    shape = found.outputs[0] if found.outputs else None
    outputs = shape[-1] if shape else None
    if stated == "features":
        raise not_classes(found.path, "are features, as --head says")
    if stated is None and found.activation is None:
        return None
    ends = _HEADS.get(found.activation or "")
    if stated is not None and ends is not None and not _agree(stated, ends):
        raise RefusedError(
            f"--head {stated} contradicts {found.path}, which ends in {found.activation}.",
            "Omit --head.",
        )
    head = stated or ends
    if head is None:
        raise not_classes(found.path, f"end in {found.activation}")
    return None if outputs is None else _checked(head, outputs, stated, labels, found.path)


def _agree(stated: Head, ends: Head) -> bool:
    """Whether outputs that end in such a way may be what an option says."""
    return stated == ends or (stated == "sigmoid-logits" and ends == "logits")


def _checked(
    head: Head, outputs: int, stated: Head | None, labels: tuple[str, ...], path: Path
) -> Head:
    """Return the head of a number of outputs: one value is no softmax."""
    if outputs > 1 or head in ("sigmoid", "sigmoid-logits"):
        return head
    if head == "logits" and (stated is not None or len(labels) == BINARY):
        return "sigmoid-logits"
    why = "a softmax over one value is 1 for every image"
    if head != _PROBABILITIES:
        why = "no sigmoid ends the network, so it may be a measured number as well as a class"
    raise RefusedError(
        f"{path} gives one value, and {why}.",
        "If it is the logit of the second of two classes, say --head sigmoid-logits.",
    )


def not_classes(path: Path | str, why: str) -> RefusedError:
    """Return the refusal of a network whose outputs are no classes."""
    return RefusedError(
        f"The outputs of {path} {why}, so they are not probabilities of classes.", _OPTIONS
    )


def of_network(
    network: keras.Model,
    stated: Head | None,
    labels: tuple[str, ...],
    how: Normalization,
    frame: Frame,
    path: Path,
) -> tuple[Head, int]:
    """Return what a built network's outputs are, and how many; by their values on noise if needed.

    Raises:
        RefusedError: they are not classes.
    """
    answers = _answers(network, how, frame)
    if sum(n > 1 for n in answers.shape[1:]) > 1:
        text = " x ".join(map(str, answers.shape[1:]))
        raise not_classes(path, f"are a map of {text}")
    answers = answers.reshape(len(answers), -1)
    head = stated or _HEADS.get(_last_activation(network))
    if head is None and _sum_to_one(answers):
        head = _PROBABILITIES
    if head is None:
        sums = float(answers.sum(1)[0])
        raise not_classes(path, f"sum to {sums:.3g} behind no activation of a classifier")
    outputs = int(answers.shape[1])
    return _checked(head, outputs, stated, labels, path), outputs


def _last_activation(network: keras.Model) -> str:
    """Return the activation behind a network's last layer; "" for none that tells classes."""
    layer: Any = network.layers[-1]
    for layer in reversed(network.layers):
        if type(layer).__name__ not in _PASSING:
            break
    if hasattr(layer, "layers"):
        return _last_activation(layer)
    kind = type(layer).__name__
    if kind == "Softmax":
        return _PROBABILITIES
    if kind == "TFSMLayer":
        return ""
    word = getattr(getattr(layer, "activation", None), "__name__", "")
    return "" if word == "linear" and kind not in _SUMS else word


def finished(
    network: keras.Model, head: Head | None, how: Normalization, frame: Frame, path: Path
) -> keras.Model:
    """Check the outputs on noise, and make probabilities of logits.

    Raises:
        RefusedError: the outputs are not what they should be.
    """
    import keras

    answers = _answers(network, how, frame)
    _check(answers.reshape(len(answers), -1), head or _PROBABILITIES, path)
    if head == "logits":
        end: Any = keras.layers.Softmax(name="edgezoo_softmax")
    elif head == "sigmoid-logits":
        end = keras.layers.Activation("sigmoid", name="edgezoo_sigmoid")
    else:
        return network
    outputs = end(network.outputs[0])
    whole: keras.Model = keras.Model(network.inputs, outputs, name=network.name)
    return whole


def note(head: Head | None, path: Path | str) -> str | None:
    """Return what to say about outputs that are made into probabilities; None for nothing."""
    if head == "logits":
        return f"{path} ends in logits: a softmax behind them makes probabilities of classes."
    if head == "sigmoid-logits":
        return f"{path} ends in logits: a sigmoid behind each makes a probability of it."
    return None


def _answers(network: keras.Model, how: Normalization, frame: Frame) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).integers(0, 256, (_PROBES, *frame.shape), np.uint8)
    return np.asarray(network.predict_on_batch(normalize(noise, how)), np.float32)


def _sum_to_one(answers: NDArray[np.float32]) -> bool:
    near = np.abs(answers.sum(1) - 1) <= _SUM_TOLERANCE
    return answers.shape[1] > 1 and bool(near.all()) and float(answers.min()) >= 0


def _check(answers: NDArray[np.float32], head: Head, path: Path) -> None:
    alone = _sum_to_one(answers)
    if head == _PROBABILITIES and not alone:
        raise not_classes(path, f"sum to {float(answers.sum(1)[0]):.3g}")
    if head == "sigmoid" and not (answers.min() >= 0 and answers.max() <= 1):
        raise not_classes(path, "go beyond 0 to 1")
    if head == "logits" and alone:
        raise RefusedError(
            f"The outputs of {path} sum to 1 already: they are probabilities, not logits.",
            "Omit --head, or give --head softmax.",
        )
