"""Reads what a Keras file says of its network, as JSON and HDF5 alone: nothing is built or run.

`.keras` is a zip of `config.json`, `metadata.json` and `model.weights.h5`; `.h5` holds the same
JSON in attributes (https://keras.io/guides/serialization_and_saving/). Sizes are checked before
anything is unpacked, and HDF5 files that would read other files are refused.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgezoo.core.artifact import CONTRACT_KEY
from edgezoo.core.errors import DataError, MissingError, RefusedError
from edgezoo.core.files import not_a_file
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.core.typed_json import parse_json
from edgezoo.formats.keras_files import saved_model
from edgezoo.formats.keras_files.allowed import foreign_code

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST_JSON = 64 * 2**20
_LARGEST_WEIGHTS = 8 * 2**30
# Trained weights do not shrink; a file of zeros does, by 1000, and small ones may.
_MOST_RATIO, _ANY_RATIO = 50, 100 * 2**20
_MOST_OBJECTS = 200_000
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_HINT = "Use only files of people whom you trust; --trust loads it all the same."


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What a user's network file says of itself.

    Attributes:
        path: the `.keras` or `.h5` file, or the folder of a SavedModel.
        kind: "keras", "h5" or "savedmodel".
        code: what in it is code or may lead to code, in words; empty where it is only data.
        inputs, outputs: shapes with the batch in front, None for open sizes; a shape is None where
            the file does not tell it; the tuples are None where not even their number is told.
        activation: of the output: "softmax", "linear", …; None where the file does not tell it.
        contract: of `InputContract.to_json`, where EdgeZoo wrote the file.
        weights_only: it holds weights without a network.
    """

    path: Path
    kind: str
    code: tuple[str, ...] = ()
    inputs: tuple[tuple[int | None, ...] | None, ...] | None = None
    outputs: tuple[tuple[int | None, ...] | None, ...] | None = None
    activation: str | None = None
    contract: dict[str, Any] | None = None
    weights_only: bool = False


def is_user_model(word: str | Path) -> bool:
    """Whether a word stands for a network file or a SavedModel's folder, not for a name."""
    path = Path(word).expanduser()
    return path.suffix.lower() in (".keras", ".h5", ".hdf5") or os.path.isfile(
        path / SAVED_MODEL_FILE
    )


def read(path: Path) -> KerasFile:
    """Look at a file without building anything.

    Raises:
        DataError: no such file, a damaged one, or one that is larger inside than it may be.
    """
    if os.path.isdir(path):
        return _of_saved_model(path)
    if not os.path.isfile(path):
        raise not_a_file(path)
    try:
        # By the ending, as Keras does: a file can be a zip and an HDF5 file at once.
        return _of_zip(path) if path.suffix.lower() == ".keras" else _of_hdf5(path)
    except RecursionError as error:
        raise DataError(f"{path} is nested deeper than any network.") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is not a whole Keras file: {_words(error)}.") from error


def usable(path: Path, trust: bool = False) -> KerasFile:
    """A file that may be loaded: one network of one picture and one output, and no code.

    Args:
        path: the file or folder.
        trust: code is allowed.

    Raises:
        DataError: it cannot be read, holds code, or has no network.
        RefusedError: several inputs or outputs.
    """
    found = read(path)
    if found.weights_only:
        raise DataError(
            f"{path} holds weights without a network.",
            "Name the model and give the file with --weights, or save the whole network.",
        )
    if found.code and not trust:
        more = f" and {len(found.code) - 2} more" if len(found.code) > 2 else ""
        raise DataError(
            f"{path} carries {', '.join(found.code[:2])}{more}, so loading it could run code of "
            "whoever made it.",
            _HINT,
        )
    for what, shapes in (("inputs", found.inputs), ("outputs", found.outputs)):
        if shapes is not None and len(shapes) != 1:
            raise RefusedError(
                f"{path} has {len(shapes)} {what}, and EdgeZoo takes networks with one.",
                "Save a keras.Model(inputs, outputs) of the one that is wanted.",
            )
    return found


def _words(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _of_zip(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist()]
        if len(set(names)) != len(names) or {_CONFIG, _WEIGHTS} - {*names}:
            raise ValueError(f"it holds {', '.join(names[:5]) or 'nothing'}")
        other_files = [name for name in names if name not in (_CONFIG, _METADATA, _WEIGHTS)]
        config = _json(archive, _CONFIG)
        metadata = _json(archive, _METADATA) if _METADATA in names else {}
        weights = archive.getinfo(_WEIGHTS)
        if weights.file_size > max(_ANY_RATIO, _MOST_RATIO * weights.compress_size):
            raise ValueError(f"its weights claim {weights.file_size >> 20} MiB from nearly nothing")
        if weights.file_size > _LARGEST_WEIGHTS:
            raise ValueError(f"its weights claim more than {_LARGEST_WEIGHTS >> 30} GiB")
        with archive.open(_WEIGHTS) as stream:
            links = _check_hdf5(stream)
    code = (*foreign_code(config), *(f"the file {name}" for name in other_files), *links)
    inside = metadata.get(CONTRACT_KEY)
    contract = inside if isinstance(inside, dict) else None
    return KerasFile(path, "keras", code, contract=contract, **_border(config))


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _LARGEST_JSON:
        raise ValueError(f"its {name} claims more than {_LARGEST_JSON >> 20} MiB")
    with archive.open(name) as stream:
        # A lying header: no more than the limit is ever unpacked.
        text = stream.read(_LARGEST_JSON + 1)
    return _parsed(text)


def _parsed(text: Any) -> dict[str, Any]:
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise ValueError("its configuration is no text")
    if len(text) > _LARGEST_JSON:
        raise ValueError(f"its configuration has more than {_LARGEST_JSON >> 20} MiB")
    facts = parse_json(text)
    if not isinstance(facts, dict):
        raise ValueError("its configuration is no JSON object")
    return facts


def _of_hdf5(path: Path) -> KerasFile:
    h5py = _h5py()
    with path.open("rb") as stream, h5py.File(stream, "r") as file:
        links = _look_through(file)
        text, training = file.attrs.get("model_config"), file.attrs.get("training_config")
        if text is None:
            return KerasFile(path, "h5", links, weights_only=True)
        config = _parsed(text)
        code = foreign_code(config) + (foreign_code(_parsed(training)) if training else ())
    return KerasFile(path, "h5", (*code, *links), **_border(config))


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingError(
            "Reading a network of Keras needs h5py, which is not installed.",
            'Run: pip install "edgezoo[export]"',
        ) from error
    return h5py


def _check_hdf5(stream: IO[bytes]) -> tuple[str, ...]:
    with _h5py().File(stream, "r") as file:
        return _look_through(file)


def _look_through(file: Any) -> tuple[str, ...]:
    """What in an HDF5 file leads outside of it, in words.

    Raises:
        ValueError: more objects, or arrays that would unpack to more, than any network has.
    """
    h5py = _h5py()
    found: list[str] = []
    total, objects, waiting = 0, 0, [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            objects += 1
            link = group.get(name, getlink=True)
            if objects > _MOST_OBJECTS:
                raise ValueError(f"it holds more than {_MOST_OBJECTS} arrays")
            if not isinstance(link, h5py.HardLink):
                found.append(f"a link to {getattr(link, 'filename', link.path)}")
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                total += int(item.nbytes)
                if item.external or item.is_virtual:
                    found.append("arrays that are read from other files")
    if total > _LARGEST_WEIGHTS:
        raise ValueError(f"its arrays claim {total >> 30} GiB")
    return tuple(found)


def _border(config: dict[str, Any]) -> dict[str, Any]:
    """Shapes at the border of a network and its last activation, as far as its JSON tells them."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    known = config.get("class_name") in ("Functional", "Model", "Sequential")
    if not known or not isinstance(inner, dict) or not isinstance(layers, list) or not layers:
        return {}
    by_name = {layer["config"]["name"]: layer for layer in layers}
    if config["class_name"] == "Sequential":
        first = layers[0]["config"]
        shape = first.get("batch_shape") or first.get("batch_input_shape")
        shape = shape or inner.get("build_input_shape")
        ends, order = [layers[-1]["config"]["name"]], [layer["config"]["name"] for layer in layers]
        inputs: tuple[Any, ...] = (tuple(shape) if shape else None,)
    else:
        starts, ends = _names(inner["input_layers"]), _names(inner["output_layers"])
        inputs = tuple(_input_shape(by_name[name]) for name in starts)
        order = []
    outputs = tuple(_output_shape(name, by_name, order) for name in ends)
    last = by_name[ends[0]]["config"] if len(ends) == 1 else {}
    return {"inputs": inputs, "outputs": outputs, "activation": _activation(ends, by_name, last)}


def _names(ends: Any) -> list[str]:
    """Layers at one end of a functional network: ["name", 0, 0], or a nest of such."""
    if isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str):
        return [ends[0]]
    nested = ends.values() if isinstance(ends, dict) else ends
    return [name for end in nested for name in _names(end)]


def _input_shape(layer: dict[str, Any]) -> tuple[int | None, ...] | None:
    facts = layer["config"]
    shape = facts.get("batch_shape") or facts.get("batch_input_shape")
    return tuple(shape) if shape else None


def _activation(ends: list[str], by_name: dict[str, Any], last: dict[str, Any]) -> str | None:
    if len(ends) == 1 and by_name[ends[0]]["class_name"] == "Softmax":
        return "softmax"
    word = last.get("activation")
    if isinstance(word, dict):
        word = word.get("config")
    return word if isinstance(word, str) else None


_PASSING = ("Activation", "Softmax", "Dropout", "ReLU", "Identity")
_MOST_PASSED = 8


def _output_shape(
    name: str, by_name: dict[str, Any], order: list[str]
) -> tuple[int | None, ...] | None:
    """(None, n) where the last layers are a dense layer and what keeps its shape; else None."""
    for _ in range(_MOST_PASSED):
        layer = by_name[name]
        kind, facts = layer["class_name"], layer["config"]
        if kind == "Dense":
            return (None, facts["units"])
        if kind == "Reshape" and len(facts["target_shape"]) == 1:
            return (None, facts["target_shape"][0])
        if kind not in _PASSING:
            return None
        before = _before(layer) if not order else order[max(0, order.index(name) - 1)]
        if before is None or before not in by_name or before == name:
            return None
        name = before
    return None


def _before(layer: dict[str, Any]) -> str | None:
    """The layer whose output a layer takes; None where that is not one."""
    nodes = layer.get("inbound_nodes") or []
    if len(nodes) != 1:
        return None
    node = nodes[0]
    if isinstance(node, dict):  # Keras 3
        tensors = [
            argument["config"]["keras_history"][0]
            for argument in node.get("args", [])
            if isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__"
        ]
        return tensors[0] if len(tensors) == 1 else None
    return node[0][0] if len(node) == 1 else None  # Keras 2: [["name", 0, 0, {}]]


def _of_saved_model(path: Path) -> KerasFile:
    facts = saved_model.read(path)
    return KerasFile(path, "savedmodel", facts.code, inputs=facts.inputs, outputs=facts.outputs)
