"""A user's own network in the place of a model of the zoo.

A path becomes the same facts that a name stands for, so that what comes after it knows no
difference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, counted
from edgezoo.core.files import file_sha256
from edgezoo.core.labels import preprocessing_mode, read_labels
from edgezoo.core.spec import USUAL_RESIZE, BuildArguments, ModelSpec, Resize, WeightsFile
from edgezoo.formats.keras_files import load_network, reading
from edgezoo.formats.keras_files.reading import KerasFile
from edgezoo.images.preprocessing import normalize
from edgezoo.networks.weights import LocatedWeights

if TYPE_CHECKING:
    import keras

SOURCE = "network"  # of weights that are part of a network's own file
_PROBABILITIES = "softmax"
_SUM_TOLERANCE = 1e-3  # float32 sums of probabilities; what is none is off by far more
_PROBES = 2


@dataclass(frozen=True, slots=True)
class UserModel:
    """What tells a user's network; goes between processes as JSON.

    Attributes:
        path: a `.keras` or `.h5` file, or the folder of a SavedModel.
        preprocessing: a key of `spec.NORMALIZATIONS`.
        trust: code in the file may run.
        values_sha256: of the weights' values, where the file tells it.
    """

    path: str
    preprocessing: str
    resize: Resize = USUAL_RESIZE
    trust: bool = False
    values_sha256: str | None = None

    def spec(self, size: int) -> ModelSpec:
        """The facts that stand for a model of the zoo; what nobody has published is 0 or None."""
        path = Path(self.path)
        stored = sum(file.stat().st_size for file in _files(path))
        return ModelSpec(
            name=path.stem,
            family=SOURCE,
            keras_name="",
            preprocessing=self.preprocessing,
            default_input_size=size,
            min_input_size=1,
            parameters=stored // 4,
            multiply_adds=0,
            depth=0,
            size_mb=stored / 2**20,
            top1=0.0,
            top5=None,
            paper="",
            weights=WeightsFile(path.name, ""),
            weights_licence="",
            resize=self.resize,
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> UserModel:
        """From what `dataclasses.asdict` gave, after a way through JSON."""
        return cls(**{**facts, "resize": Resize(**facts["resize"])})


@dataclass(frozen=True, slots=True)
class Chosen:
    """A user's network with all that a job needs.

    `classes` is open in `arguments` where only building the network tells it. `labels` are class
    names in the order of the output; empty where unknown.
    """

    own: UserModel
    arguments: BuildArguments
    weights: LocatedWeights
    labels: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """See `UserModel.spec`."""
        return self.own.spec(self.arguments.input_size or 0)


def choose(
    word: str,
    given: BuildArguments,
    *,
    weights: str = "imagenet",
    preprocessing: str | None = None,
    labels: Path | None = None,
    trust: bool = False,
) -> Chosen:
    """Look at a file and complete the arguments with what it tells.

    Args:
        word: the path.
        given: input size, whether it has a top, a layer to cut at.
        weights: must be left as it is.
        preprocessing, labels: for a file that does not tell them itself.
        trust: code in the file may run.

    Raises:
        UsageError: an argument that the network cannot have, or that contradicts the file.
        DataError: a file that cannot be used, or labels of another number than its outputs.
        RefusedError: several inputs or outputs, or outputs that are no probabilities.
    """
    path = Path(word).expanduser()
    found = reading.usable(path, trust)
    if weights != "imagenet":
        raise UsageError(
            f"{path} holds its own weights, so --weights {weights} cannot be meant.",
            "Leave --weights out.",
        )
    inside = InputContract.from_json(found.contract) if found.contract else None
    size = _size(found, given.input_size, inside)
    arguments = BuildArguments(size, given.include_top, output_layer=given.output_layer)
    _check_third_party(path, given, arguments)
    classified = arguments.output_kind == "probabilities"
    names = _labels(path, inside, labels) if classified else ()
    told = inside.weights.sha256 if inside and inside.weights.source == SOURCE else None
    own = UserModel(
        str(path.resolve()),
        _preprocessing(path, inside, preprocessing),
        inside.resize if inside else USUAL_RESIZE,
        trust,
        told,
    )
    if classified:
        arguments = replace(arguments, classes=_classes(found, names, labels))
    located = LocatedWeights(SOURCE, path.resolve(), told or content_hash(path), path.name)
    return Chosen(own, arguments, located, names)


def _check_third_party(path: Path, given: BuildArguments, taken: BuildArguments) -> None:
    """Refuse arguments that shape a network which is there already."""
    given = replace(given, pooling=None if given.pooling == "none" else given.pooling)
    for name in BuildArguments.__slots__:
        if name != "input_size" and getattr(given, name) != getattr(taken, name):
            raise UsageError(
                f"{path} is a finished network, which --{name.replace('_', '-')} cannot change.",
                "Leave it out.",
            )


def _size(found: KerasFile, wanted: int | None, inside: InputContract | None) -> int:
    """Height and width in pixels.

    Raises:
        RefusedError: the network takes no square of RGB pixels.
        UsageError: it takes another size, or any, and none was given.
    """
    shape = found.inputs[0] if found.inputs else None
    if shape is not None and (len(shape) != 4 or shape[3] not in (3, None)):
        raise RefusedError(
            f"{found.path} takes {_words(shape)}, and EdgeZoo feeds RGB pictures, "
            "(height, width, 3).",
            "Save a network that takes them.",
        )
    height, width = (shape[1], shape[2]) if shape is not None else (None, None)
    if height != width:
        raise RefusedError(
            f"{found.path} takes pictures of {height} x {width} pixels, and EdgeZoo feeds squares.",
            "Save a network that takes squares.",
        )
    if height is not None and wanted not in (None, height):
        raise UsageError(
            f"{found.path} takes {height} px pictures, not {wanted} px.", "Leave --input-size out."
        )
    size = height or wanted or (inside.input_size if inside else None)
    if size is None or size < 1:
        raise UsageError(
            f"{found.path} takes pictures of any size.", "Say which with --input-size PX."
        )
    return size


def _words(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape[1:])})"


def _preprocessing(path: Path, inside: InputContract | None, word: str | None) -> str:
    mode = preprocessing_mode(word)
    if inside is None and mode is None:
        raise UsageError(
            f"{path} does not tell how its pictures were normalised.",
            "Say it with --preprocessing tf, caffe, torch, or none for pixels 0 to 255.",
        )
    if inside is not None and mode not in (None, inside.preprocessing):
        raise UsageError(
            f"{path} carries its own preprocessing ({inside.preprocessing}).",
            "Leave --preprocessing out.",
        )
    return mode or (inside.preprocessing if inside else "")


def _labels(path: Path, inside: InputContract | None, file: Path | None) -> tuple[str, ...]:
    if file is None:
        return inside.labels if inside else ()
    if inside is not None and inside.labels:
        raise UsageError(f"{path} carries its own labels.", "Leave --labels out.")
    return read_labels(file)


def _classes(found: KerasFile, labels: tuple[str, ...], file: Path | None) -> int | None:
    """Number of classes; None where only building the network tells.

    Raises:
        DataError: there are more or fewer labels.
        RefusedError: the output is no probabilities of classes.
    """
    if found.activation not in (None, _PROBABILITIES):
        raise _no_probabilities(found.path, f"end in {found.activation}")
    shape = found.outputs[0] if found.outputs else None
    if shape is None or shape[-1] is None:
        return None
    check_labels(labels, shape[-1], file or found.path)
    return shape[-1]


def check_labels(labels: tuple[str, ...], outputs: int, where: Path | str) -> None:
    """Compare the number of labels with that of outputs.

    Raises:
        DataError: they differ.
    """
    if labels and len(labels) != outputs:
        raise DataError(
            f"{where} has {counted(len(labels), 'label')}, and the network has {outputs} outputs.",
            "Give a file with one label a line, in the order of the outputs.",
        )


def _no_probabilities(path: Path | str, why: str) -> RefusedError:
    return RefusedError(
        f"The outputs of {path} {why}, so they are no probabilities of classes.",
        "Save keras.Sequential([network, keras.layers.Softmax()]), or export it as features with "
        "--no-top.",
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def content_hash(path: Path) -> str:
    """SHA-256 of the file; of a SavedModel, of its files' hashes in order."""
    hashes = [file_sha256(file) for file in _files(path)]
    if not path.is_dir():
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def load(own: UserModel, arguments: BuildArguments) -> keras.Model:
    """Load the network, and check what its file could not tell.

    Raises:
        DataError: it cannot be loaded, or its weights are not those that it names.
        RefusedError: its input or output is not what a classifier's is.
    """
    network = load_network.load(Path(own.path), own.trust)
    if own.values_sha256 not in (None, load_network.values_hash(network)):
        raise DataError(
            f"The weights in {own.path} are not those that the contract inside it names.",
            "Save the network anew without the contract, or fine-tune again.",
        )
    size = arguments.input_size
    shape = tuple(network.input_shape)
    if len(shape) != 4 or shape[1] not in (size, None) or shape[2] not in (size, None):
        raise RefusedError(f"{own.path} takes {_words(shape)}, no {size} px pictures.")
    if arguments.output_kind == "probabilities":
        _check_probabilities(network, own, arguments)
    return network


def _check_probabilities(network: keras.Model, own: UserModel, arguments: BuildArguments) -> None:
    import numpy as np

    size = arguments.input_size or 0
    noise = np.random.default_rng(0).integers(0, 256, (_PROBES, size, size, 3), np.uint8)
    answers = network.predict_on_batch(normalize(noise, own.spec(size).normalization))
    if answers.ndim != 2 or answers.shape[1] < 2:
        raise _no_probabilities(own.path, f"have the shape {_words(answers.shape)}")
    sums = answers.sum(1)
    if answers.min() < 0 or not all(math.isclose(s, 1, abs_tol=_SUM_TOLERANCE) for s in sums):
        raise _no_probabilities(own.path, f"sum to {float(sums[0]):.3g}")
