"""A user's network instead of a model of the zoo.

A path becomes the same facts that a name stands for, so the steps after it treat both alike.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, counted
from edgezoo.core.files import file_sha256
from edgezoo.core.labels import preprocessing_mode, read_labels
from edgezoo.core.paths import expanded
from edgezoo.core.spec import (
    NORMALIZATIONS,
    USUAL_RESIZE,
    BuildArguments,
    ModelSpec,
    Resize,
    WeightsFile,
)
from edgezoo.formats.keras_files import load_network, reading
from edgezoo.formats.keras_files.reading import KerasFile
from edgezoo.images.preprocessing import normalize
from edgezoo.networks.weights import LocatedWeights
from edgezoo.system import sandbox

if TYPE_CHECKING:
    import keras

SOURCE = "network"  # source of weights that are in the network's own file
_PROBABILITIES = "softmax"
_SUM_TOLERANCE = 1e-3  # of float32 sums of probabilities; other outputs are off by far more
_PROBES = 2


@dataclass(frozen=True, slots=True)
class UserModel:
    """A user's network file; passed between processes as JSON.

    Attributes:
        path: a `.keras` or `.h5` file, or the folder of a SavedModel.
        preprocessing: a key of `spec.NORMALIZATIONS`.
        trust: code in the file may run.
        values_sha256: of the weights' values, if recorded in the file.
    """

    path: Path
    preprocessing: str
    resize: Resize = USUAL_RESIZE
    trust: bool = False
    values_sha256: str | None = None

    def spec(self, size: int) -> ModelSpec:
        """Return facts like those of a model of the zoo; unpublished ones are 0 or None."""
        stored = sum(file.stat().st_size for file in _files(self.path))
        return ModelSpec(
            name=self.path.stem,
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
            weights=WeightsFile(self.path.name, ""),
            weights_licence="",
            resize=self.resize,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A user's network with everything that a job needs.

    Attributes:
        arguments: `classes` is None if it is only known after building the network.
        labels: class names in the order of the output; empty if unknown.
    """

    user_model: UserModel
    arguments: BuildArguments
    weights: LocatedWeights
    labels: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """See `UserModel.spec`."""
        return self.user_model.spec(self.arguments.input_size or 0)


def choose(
    path: str | Path,
    given: BuildArguments,
    *,
    weights: str | Path = "imagenet",
    preprocessing: str | None = None,
    labels: Path | None = None,
    trust: bool = False,
) -> Chosen:
    """Read a network file, and complete the arguments with the facts in it.

    Args:
        path: of the file or folder.
        given: input size, whether there is a top, the output layer.
        weights: must have its default.
        preprocessing, labels: for a file without a contract.
        trust: code in the file may run.

    Raises:
        UsageError: the network does not support an argument, or the file contradicts it.
        DataError: the file cannot be used, or has another number of outputs than labels.
        RefusedError: there are several inputs or outputs, or outputs are not probabilities.
    """
    place = expanded(path)
    limited = sandbox.Sandbox((place,), sandbox.limits_for([place], trust=trust))
    return limited.call(_read, place, given, str(weights), preprocessing, labels, trust)


def _read(
    path: Path,
    given: BuildArguments,
    weights: str,
    preprocessing: str | None,
    labels: Path | None,
    trust: bool,
) -> Chosen:
    """Do what `choose` does, in a limited process."""
    found = reading.usable(path, trust)
    if weights != "imagenet":
        message = f"{path} contains its own weights, so --weights {weights} does not apply."
        raise UsageError(message, "Omit --weights.")
    inside = InputContract.from_json(found.contract) if found.contract else None
    size = _size(found, given.input_size, inside)
    arguments = BuildArguments(size, given.include_top, output_layer=given.output_layer)
    _check_third_party(path, given, arguments)
    classified = arguments.output_kind == "probabilities"
    names = _labels(path, inside, labels) if classified else ()
    recorded = inside.weights.sha256 if inside and inside.weights.source == SOURCE else None
    how, place = _preprocessing(path, inside, preprocessing), path.resolve()
    resize = inside.resize if inside else USUAL_RESIZE
    if classified:
        arguments = replace(arguments, classes=_classes(found, names, labels))
    located = LocatedWeights(SOURCE, place, recorded or content_hash(path), path.name)
    return Chosen(UserModel(place, how, resize, trust, recorded), arguments, located, names)


def _check_third_party(path: Path, given: BuildArguments, taken: BuildArguments) -> None:
    """Refuse arguments that would change a finished network."""
    given = replace(given, pooling=None if given.pooling == "none" else given.pooling)
    for name in BuildArguments.__slots__:
        if name != "input_size" and getattr(given, name) != getattr(taken, name):
            raise UsageError(
                f"{path} is a finished network, which --{name.replace('_', '-')} cannot change.",
                "Omit it.",
            )


def _size(found: KerasFile, wanted: int | None, inside: InputContract | None) -> int:
    """Return height and width in pixels, where the network takes a square of RGB pixels."""
    shape = found.inputs[0] if found.inputs else None
    if shape is not None and (len(shape) != 4 or shape[3] not in (3, None)):
        raise RefusedError(
            f"{found.path} takes {_text(shape)}, and EdgeZoo feeds RGB images, (height, width, 3).",
            "Save a network that takes them.",
        )
    height, width = (shape[1], shape[2]) if shape is not None else (None, None)
    if height != width:
        raise RefusedError(
            f"{found.path} takes images of {height} x {width} pixels, and EdgeZoo feeds squares.",
            "Save a network that takes squares.",
        )
    if height is not None and wanted not in (None, height):
        raise UsageError(
            f"{found.path} takes {height} px images, not {wanted} px.", "Omit --input-size."
        )
    size = height or wanted or (inside.input_size if inside else None)
    if size is None or size < 1:
        raise UsageError(
            f"{found.path} takes images of any size.", "Choose one with --input-size PX."
        )
    return size


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape[1:])})"


def _preprocessing(path: Path, inside: InputContract | None, word: str | None) -> str:
    mode = preprocessing_mode(word)
    if inside is None and mode is None:
        raise UsageError(
            f"{path} does not record how its images were normalised.",
            "Give --preprocessing tf, caffe, torch, or none for pixels 0 to 255.",
        )
    if inside is not None and mode not in (None, inside.preprocessing):
        raise UsageError(
            f"{path} contains its own preprocessing ({inside.preprocessing}).",
            "Omit --preprocessing.",
        )
    return mode or (inside.preprocessing if inside else "")


def _labels(path: Path, inside: InputContract | None, file: Path | None) -> tuple[str, ...]:
    if file is None:
        return inside.labels if inside else ()
    if inside is not None and inside.labels:
        raise UsageError(f"{path} contains its own labels.", "Omit --labels.")
    return read_labels(file)


def _classes(found: KerasFile, labels: tuple[str, ...], file: Path | None) -> int | None:
    """Return the number of classes; None if it is only known after building the network."""
    if found.activation not in (None, _PROBABILITIES):
        raise _not_probabilities(found.path, f"end in {found.activation}")
    shape = found.outputs[0] if found.outputs else None
    if shape is None or shape[-1] is None:
        return None
    check_labels(labels, shape[-1], file or found.path)
    return shape[-1]


def check_labels(labels: tuple[str, ...], outputs: int, where: Path | str) -> None:
    """Raise DataError unless there are as many labels as outputs, or none."""
    if labels and len(labels) != outputs:
        raise DataError(
            f"{where} has {counted(len(labels), 'label')}, and the network has {outputs} outputs.",
            "Give a file with one label per line, in the order of the outputs.",
        )


def _not_probabilities(path: Path, why: str) -> RefusedError:
    return RefusedError(
        f"The outputs of {path} {why}, so they are not probabilities of classes.",
        "Save keras.Sequential([network, keras.layers.Softmax()]), or export it as features with "
        "--no-top.",
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def content_hash(path: Path) -> str:
    """Return the SHA-256 of the file; for a SavedModel, of its files' hashes in order."""
    hashes = [file_sha256(file) for file in _files(path)]
    if not path.is_dir():
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def load(user_model: UserModel, arguments: BuildArguments) -> keras.Model:
    """Load the network, and check what its file does not record.

    Raises:
        DataError: it cannot be loaded, or its weights are not those of its contract.
        RefusedError: its input or output is not that of a classifier.
    """
    path = user_model.path
    network = load_network.load(path, user_model.trust)
    if user_model.values_sha256 not in (None, load_network.values_hash(network)):
        raise DataError(
            f"The weights in {path} are not those that the contract in the file names.",
            "Save the network again without the contract, or fine-tune again.",
        )
    size, shape = arguments.input_size, tuple(network.input_shape)
    if len(shape) != 4 or shape[1] not in (size, None) or shape[2] not in (size, None):
        raise RefusedError(f"{path} takes {_text(shape)}, not {size} px images.")
    if arguments.output_kind == "probabilities":
        _check_probabilities(network, user_model, arguments.input_size or 0)
    return network


def _check_probabilities(network: keras.Model, user_model: UserModel, size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (_PROBES, size, size, 3), np.uint8)
    answers = network.predict_on_batch(normalize(noise, NORMALIZATIONS[user_model.preprocessing]))
    if answers.ndim != 2 or answers.shape[1] < 2:
        raise _not_probabilities(user_model.path, f"have the shape {_text(answers.shape)}")
    sums = answers.sum(1)
    if answers.min() < 0 or not all(math.isclose(s, 1, abs_tol=_SUM_TOLERANCE) for s in sums):
        raise _not_probabilities(user_model.path, f"sum to {float(sums[0]):.3g}")
