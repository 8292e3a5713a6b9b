"""A user's network instead of a model of the zoo.

A path becomes the same facts that a name stands for, so the steps after it treat both alike.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import BINARY, InputContract
from edgezoo.core.errors import DataError, RefusedError, UsageError, counted
from edgezoo.core.files import file_sha256
from edgezoo.core.input_options import InputOptions
from edgezoo.core.labels import read_labels
from edgezoo.core.paths import expanded
from edgezoo.core.spec import (
    CUSTOM,
    STRETCH,
    BuildArguments,
    Frame,
    Head,
    ModelSpec,
    Normalization,
    Resize,
    WeightsFile,
)
from edgezoo.formats.keras_files import load_network, reading
from edgezoo.formats.keras_files.reading import KerasFile
from edgezoo.networks import user_heads
from edgezoo.networks.weights import LocatedWeights
from edgezoo.system import sandbox

if TYPE_CHECKING:
    import keras

SOURCE = "network"  # source of weights that are in the network's own file
_NO_OPTIONS = InputOptions()


@dataclass(frozen=True, slots=True)
class UserModel:
    """A user's network file; passed between processes as JSON.

    Attributes:
        path: a `.keras` or `.h5` file, or the folder of a SavedModel.
        normalization: how images become its input; of one channel for grey images.
        trust: code in the file may run.
        values_sha256: of the weights' values, if recorded in the file.
        head: what its output values are, by the file or an option; None for features, and where
            only building the network shows it.
        stated_head: by an option alone.
    """

    path: Path
    normalization: Normalization
    resize: Resize = STRETCH
    trust: bool = False
    values_sha256: str | None = None
    head: Head | None = None
    stated_head: Head | None = None

    @property
    def channels(self) -> int:
        """Of the input: 3 for RGB, 1 for grey."""
        return len(self.normalization.scale)

    def spec(self, size: int) -> ModelSpec:
        """Return facts like those of a model of the zoo; unpublished ones are 0 or None."""
        stored = sum(file.stat().st_size for file in _files(self.path))
        return ModelSpec(
            name=self.path.stem,
            family=SOURCE,
            keras_name="",
            preprocessing=self.normalization.mode,
            own_normalization=self.normalization,
            channels=self.channels,
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
        notes: sentences about what was assumed.
    """

    user_model: UserModel
    arguments: BuildArguments
    weights: LocatedWeights
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """See `UserModel.spec`."""
        return self.user_model.spec(self.arguments.input_size or 0)


def choose(
    path: str | Path,
    given: BuildArguments,
    stated: InputOptions = _NO_OPTIONS,
    *,
    weights: str | Path = "imagenet",
    trust: bool = False,
) -> Chosen:
    """Read a network file, and complete the arguments with the facts in it.

    Args:
        path: of the file or folder.
        given: input size, whether there is a top, the output layer.
        stated: for a file without a contract.
        weights: must have its default.
        trust: code in the file may run.

    Raises:
        UsageError: the network does not support an argument, or the file contradicts it.
        DataError: the file cannot be used, or has another number of outputs than labels.
        RefusedError: there are several inputs or outputs, or outputs are not of classes.
    """
    place = expanded(path)
    limited = sandbox.Sandbox((place,), sandbox.limits_for([place], trust=trust))
    return limited.call(_read, place, given, stated, str(weights), trust)


def _read(
    path: Path, given: BuildArguments, stated: InputOptions, weights: str, trust: bool
) -> Chosen:
    """Do what `choose` does, in a limited process."""
    found = reading.usable(path, trust)
    if weights != "imagenet":
        message = f"{path} contains its own weights, so --weights {weights} does not apply."
        raise UsageError(message, "Omit --weights.")
    inside = InputContract.from_json(found.contract) if found.contract else None
    frame = _frame(found, given, inside)
    width = None if frame.width == frame.height else frame.width
    arguments = BuildArguments(
        frame.height, given.include_top, output_layer=given.output_layer, input_width=width
    )
    _check_third_party(path, given, arguments)
    classified = arguments.output_kind == "probabilities"
    names = _labels(path, inside, stated.labels) if classified else ()
    recorded = inside.weights.sha256 if inside and inside.weights.source == SOURCE else None
    how = _normalization(path, inside, stated, frame.channels)
    resize, notes = _resize(path, inside, stated)
    model = UserModel(path.resolve(), how, resize, trust, recorded)
    if classified:
        head = user_heads.of_file(found, stated.asked_head(), names)
        model = replace(model, head=head, stated_head=stated.asked_head())
        count = _classes(found, head, names, stated.labels)
        arguments = replace(arguments, classes=count)
    elif stated.head is not None:
        raise UsageError("--head describes the classes of a network.", "Omit it with --no-top.")
    located = LocatedWeights(SOURCE, model.path, recorded or content_hash(path), path.name)
    return Chosen(model, arguments, located, names, notes)


def contract_facts(model: UserModel | None, resize: Resize) -> dict[str, Any]:
    """Return the fields of a contract on resize, channels, numbers and head of a network."""
    mode = None if resize.mode == "crop" else resize.mode
    facts: dict[str, Any] = {"crop_fraction": resize.crop_fraction, "resize_filter": resize.filter}
    facts["resize_mode"] = mode
    if model is None:
        return facts
    how = model.normalization
    facts["channels"] = 1 if model.channels == 1 else None
    facts["color_order"] = "GREY" if model.channels == 1 else "RGB"
    facts["custom_normalization"] = how if how.mode == CUSTOM else None
    # Logits get their softmax or sigmoid when the network is loaded.
    facts["head"] = "sigmoid" if model.head in ("sigmoid", "sigmoid-logits") else None
    facts["stated_head"] = model.stated_head
    return facts


def _check_third_party(path: Path, given: BuildArguments, taken: BuildArguments) -> None:
    """Refuse arguments that would change a finished network."""
    given = replace(given, pooling=None if given.pooling == "none" else given.pooling)
    for name in BuildArguments.__slots__:
        if name not in ("input_size", "input_width") and getattr(given, name) != getattr(
            taken, name
        ):
            raise UsageError(
                f"{path} is a finished network, which --{name.replace('_', '-')} cannot change.",
                "Omit it.",
            )


def _frame(found: KerasFile, given: BuildArguments, inside: InputContract | None) -> Frame:
    """Return height, width and channels, where the network takes colour or grey images."""
    shape = found.inputs[0] if found.inputs else None
    if shape is not None and (len(shape) != 4 or shape[3] not in (3, 1, None)):
        raise RefusedError(
            f"{found.path} takes {_text(shape)}, and EdgeZoo feeds images: (height, width, 3) in "
            "colour, or (height, width, 1) in grey.",
            "Save a network that takes them.",
        )
    height, width = (shape[1], shape[2]) if shape is not None else (None, None)
    wanted = (given.input_size, given.input_width or given.input_size)
    for side, asked in zip((height, width), wanted, strict=True):
        if side is not None and asked not in (None, side):
            takes = f"{height} x {width}" if height != width else f"{height} px"
            asks = wanted[0] if wanted[0] == wanted[1] else f"{wanted[0]}x{wanted[1]}"
            raise UsageError(
                f"{found.path} takes {takes} images, not {asks} px.", "Omit --input-size."
            )
    known = inside.frame if inside else None
    size = height or wanted[0] or (known.height if known else None)
    across = width or wanted[1] or (known.width if known else None)
    if size is None or across is None or min(size, across) < 1:
        raise UsageError(
            f"{found.path} takes images of any size.", "Choose one with --input-size PX."
        )
    channels = (shape[3] if shape is not None else None) or (known.channels if known else 3)
    return Frame(size, across, channels)


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape[1:])})"


def _normalization(
    path: Path, inside: InputContract | None, stated: InputOptions, channels: int
) -> Normalization:
    how = stated.normalization()
    if inside is None and how is None:
        raise UsageError(
            f"{path} does not record how its images were normalised.",
            "Give --preprocessing unit (0 to 1), tf (-1 to 1), caffe, torch, or none for pixels "
            "0 to 255; or --scale and --offset. With labelled images, edgezoo evaluate "
            "--find-preprocessing finds out.",
        )
    if inside is not None and how is not None and how.mode != inside.preprocessing:
        raise UsageError(
            f"{path} contains its own preprocessing ({inside.preprocessing}).",
            "Omit --preprocessing.",
        )
    chosen = inside.normalization if inside is not None else how
    assert chosen is not None
    try:
        return chosen.of_channels(channels)
    except ValueError as error:
        raise UsageError(
            f"{path} takes grey images, and {error}.",
            "Give --preprocessing unit, tf or none, or one --scale and one --offset.",
        ) from error


def _resize(
    path: Path, inside: InputContract | None, stated: InputOptions
) -> tuple[Resize, tuple[str, ...]]:
    """Return how images become the input, and what to say about it."""
    asked = stated.resized(STRETCH)
    if inside is not None:
        if asked not in (None, inside.resize):
            raise UsageError(
                f"{path} contains its own resize ({inside.resize.mode}).", "Omit --resize."
            )
        return inside.resize, ()
    return (asked, ()) if asked is not None else (STRETCH, (stretched(path),))


def stretched(path: Path | str) -> str:
    """Return what to say where images are stretched because nothing is known."""
    return (
        f"{path} does not record how images become its input: the whole image is resized to it "
        "(--resize stretch; fit and crop are others)."
    )


def _labels(path: Path, inside: InputContract | None, file: str | Path | None) -> tuple[str, ...]:
    if file is None:
        return inside.labels if inside else ()
    if inside is not None and inside.labels:
        raise UsageError(f"{path} contains its own labels.", "Omit --labels.")
    return read_labels(Path(file))


def _classes(
    found: KerasFile, head: Head | None, labels: tuple[str, ...], file: str | Path | None
) -> int | None:
    """Return the number of classes; None if it is only known after building the network."""
    shape = found.outputs[0] if found.outputs else None
    if head is None or shape is None or shape[-1] is None:
        return None
    classes = user_heads.classes(shape[-1], head)
    check_labels(labels, classes, file or found.path)
    return classes


def check_labels(labels: tuple[str, ...], outputs: int, where: Path | str) -> None:
    """Raise DataError unless there are as many labels as classes, or none."""
    if labels and len(labels) != outputs:
        one = " One sigmoid tells two classes apart: the second is what its value says."
        raise DataError(
            f"{where} has {counted(len(labels), 'label')}, and the network has {outputs} outputs.",
            "Give a file with one label per line, in the order of the outputs."
            + (one if outputs == BINARY else ""),
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

    A network that ends in logits gets the softmax or sigmoid that makes them probabilities, and
    one that takes integers takes float32 pixels of the same values.

    Raises:
        DataError: it cannot be loaded, or its weights are not those of its contract.
        RefusedError: its input or output is not that of a classifier.
    """
    network, frame = _loaded(user_model, arguments)
    if arguments.output_kind == "probabilities":
        how, path = user_model.normalization, user_model.path
        return user_heads.finished(network, user_model.head, how, frame, path)
    return network


def examine(
    user_model: UserModel, arguments: BuildArguments, labels: tuple[str, ...]
) -> tuple[Head, int]:
    """Return what the outputs of a network are, and how many; see `user_heads.of_network`."""
    network, frame = _loaded(user_model, arguments)
    how, path = user_model.normalization, user_model.path
    return user_heads.of_network(network, user_model.stated_head, labels, how, frame, path)


def _loaded(user_model: UserModel, arguments: BuildArguments) -> tuple[keras.Model, Frame]:
    """Load a network, in float32, and what it takes."""
    path = user_model.path
    network = load_network.load(path, user_model.trust)
    if user_model.values_sha256 not in (None, load_network.values_hash(network)):
        raise DataError(
            f"The weights in {path} are not those that the contract in the file names.",
            "Save the network again without the contract, or fine-tune again.",
        )
    size = arguments.input_size or 0
    frame = Frame(size, arguments.input_width or size, user_model.channels)
    shape = tuple(network.input_shape)
    fits = len(shape) == 4 and all(
        given in (None, wanted) for given, wanted in zip(shape[1:], frame.shape, strict=True)
    )
    if not fits:
        raise RefusedError(f"{path} takes {_text(shape)}, not {frame.text} px images.")
    return _in_floats(network, user_model), frame


def _in_floats(network: keras.Model, user_model: UserModel) -> keras.Model:
    """Return a network that takes float32; one that takes integers is built again for that."""
    import keras

    kind = str(network.inputs[0].dtype)
    if kind.startswith("float"):
        return network
    how = user_model.normalization
    if how.mode != "raw":
        raise RefusedError(
            f"{user_model.path} takes {kind} pixels and normalises them itself, which "
            f"--preprocessing {how.mode} contradicts.",
            "Give --preprocessing none.",
        )
    image = keras.Input(network.input_shape[1:], dtype="float32", name=network.inputs[0].name)
    twin = keras.models.clone_model(network, input_tensors=image)
    twin.set_weights(network.get_weights())
    return twin
