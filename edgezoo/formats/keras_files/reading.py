"""Read the description of a network in a Keras file, as JSON and HDF5: nothing is built or run.

`.keras` is a zip of `config.json`, `metadata.json` and `model.weights.h5`; `.h5` has the same JSON
in attributes (https://keras.io/guides/serialization_and_saving/). Sizes are checked before anything
is unpacked, and HDF5 files that would read other files are refused.
"""

from __future__ import annotations

import importlib
import os
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from edgezoo.core import lfs, registry
from edgezoo.core.artifact import CONTRACT_KEY
from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.files import not_a_file, open_regular, require_utf8
from edgezoo.core.paths import expanded
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.core.typed_json import Json, parse_json
from edgezoo.formats.keras_files import saved_model
from edgezoo.formats.keras_files.allowed import third_party_code
from edgezoo.formats.keras_files.network_config import network_config

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST_JSON = 64 * 2**20
_LARGEST_WEIGHTS = 8 * 2**30
# Trained weights hardly compress; a file of zeros does, by a factor of 1000. Small files may.
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
_HINT = "Use only files from sources that you trust; --trust loads it anyway."


Shape = tuple[int | None, ...]
Shapes = tuple[Shape | None, ...]


@dataclass(frozen=True, slots=True)
class KerasFile:
    """The description of a network in a user's file.

    Attributes:
        path: the `.keras` or `.h5` file, or the folder of a SavedModel.
        kind: "keras", "h5" or "savedmodel".
        code: descriptions of what is code or may lead to code; empty if the file is only data.
        inputs, outputs: shapes including the batch, None for dynamic sizes; a shape is None if the
            file does not state it, and the tuples are None if it does not even state their number.
        activation: of the output: "softmax", "linear", …; None if the file does not state it.
        contract: as `InputContract.to_json` writes it, if EdgeZoo wrote the file.
        weights_only: the file has weights without a network.
        config: the network's JSON, as it is loaded; None of a SavedModel.
        written_by: version of Keras that wrote it, as far as the file states it.
        names: of the layers at the inputs, and at the outputs; empty if the file does not state
            them.
    """

    path: Path
    kind: Literal["keras", "h5", "savedmodel"]
    code: tuple[str, ...] = ()
    inputs: Shapes | None = None
    outputs: Shapes | None = None
    activation: str | None = None
    contract: Json | None = None
    weights_only: bool = False
    config: Json | None = None
    written_by: str | None = None
    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def is_user_model(word: str | Path) -> bool:
    """Return whether a word is a network file or the folder of a SavedModel, not a name."""
    path = expanded(word)
    return path.suffix.lower() in (".keras", ".h5", ".hdf5") or os.path.isfile(
        path / SAVED_MODEL_FILE
    )


def read(path: Path) -> KerasFile:
    """Read the description of a network without building it.

    Raises:
        DataError: the file does not exist, is damaged, or exceeds a limit when unpacked.
    """
    require_utf8(path)
    if os.path.isdir(path):
        return _of_saved_model(path)
    if not os.path.isfile(path):
        raise not_a_file(path)
    lfs.require_content(path)
    try:
        # By its ending, as in Keras: a file can be a zip and an HDF5 file at the same time.
        return _of_zip(path) if path.suffix.lower() == ".keras" else _of_hdf5(path)
    except RefusedError as refusal:
        message = f"{path} cannot be read by Keras 3: {refusal.message}"
        raise RefusedError(message, refusal.hint) from refusal
    except RecursionError as error:
        raise DataError(f"{path} is nested deeper than any network.") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is not a complete Keras file: {_reason(error)}.") from error


def usable(path: Path, trust: bool = False) -> KerasFile:
    """Check that a file may be loaded: a network with one input and one output, and no code.

    Args:
        path: the file or folder.
        trust: allow code.

    Raises:
        DataError: it cannot be read, contains code, or has no network.
        RefusedError: it has several inputs or outputs.
    """
    found = read(path)
    if found.weights_only:
        raise DataError(
            f"{path} has weights without a network.",
            "Name the model and pass the file with --weights, or save the whole network.",
        )
    if found.code and not trust:
        more = f" and {len(found.code) - 2} more" if len(found.code) > 2 else ""
        raise DataError(
            f"{path} contains {', '.join(found.code[:2])}{more}, so loading it could run code of "
            "its author.",
            _HINT,
        )
    sides = (("inputs", found.inputs), ("outputs", found.outputs))
    for (what, shapes), names in zip(sides, found.names, strict=True):
        if shapes is not None and len(shapes) != 1:
            listed = f" ({', '.join(names)})" if names else ""
            raise RefusedError(
                f"{path} has {len(shapes)} {what}{listed}; EdgeZoo takes networks with one.",
                "Save a keras.Model(inputs, outputs) with one of them.",
            )
    return found


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _of_zip(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist()]
        # Of two entries with one name, Keras could read the one that is not checked here.
        if len(set(names)) != len(names) or {_CONFIG, _WEIGHTS} - {*names}:
            raise ValueError(f"it contains {', '.join(names[:5]) or 'nothing'}")
        other_files = [name for name in names if name not in (_CONFIG, _METADATA, _WEIGHTS)]
        config = _json(archive, _CONFIG)
        metadata = _json(archive, _METADATA) if _METADATA in names else {}
        weights = archive.getinfo(_WEIGHTS)
        if weights.file_size > max(_ANY_RATIO, _MOST_RATIO * weights.compress_size):
            raise ValueError(
                f"its weights claim to unpack to {weights.file_size >> 20} MiB from almost nothing"
            )
        if weights.file_size > _LARGEST_WEIGHTS:
            raise ValueError(f"its weights claim more than {_LARGEST_WEIGHTS >> 30} GiB")
        with archive.open(_WEIGHTS) as stream:
            links = _check_hdf5(stream)
    version = metadata.get("keras_version")
    config = network_config(config, version)
    code = (*third_party_code(config), *(f"the file {name}" for name in other_files), *links)
    inside = metadata.get(CONTRACT_KEY)
    contract = inside if isinstance(inside, dict) else None
    found = KerasFile(path, "keras", code, *_interface(config), contract=contract, config=config)
    return replace(found, written_by=_text_or_none(version), names=_ends(config))


def _json(archive: zipfile.ZipFile, name: str) -> Json:
    if archive.getinfo(name).file_size > _LARGEST_JSON:
        raise ValueError(f"its {name} claims more than {_LARGEST_JSON >> 20} MiB")
    with archive.open(name) as stream:
        # Never unpack more than the limit: the size in the header may be false.
        text = stream.read(_LARGEST_JSON + 1)
    return _parsed(text)


def _parsed(text: Any) -> Json:
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise ValueError("its configuration is not text")
    if len(text) > _LARGEST_JSON:
        raise ValueError(f"its configuration has more than {_LARGEST_JSON >> 20} MiB")
    facts = parse_json(text)
    if not isinstance(facts, dict):
        raise ValueError("its configuration is not a JSON object")
    return facts


def _of_hdf5(path: Path) -> KerasFile:
    h5py = _h5py()
    with open_regular(path) as stream, h5py.File(stream, "r") as file:
        links = _links_out(file)
        text, version = file.attrs.get("model_config"), file.attrs.get("keras_version")
        if text is None:
            return KerasFile(path, "h5", links, weights_only=True)
    config = network_config(_parsed(text), version)
    code = (*third_party_code(config), *links)
    found = KerasFile(path, "h5", code, *_interface(config), config=config)
    return replace(found, written_by=_text_or_none(version), names=_ends(config))


def _text_or_none(version: Any) -> str | None:
    version = version.decode() if isinstance(version, bytes) else version
    return version if isinstance(version, str) else None


def _h5py() -> Any:
    registry.require_packages(("h5py",), "export", "Reading a Keras file")
    return importlib.import_module("h5py")


def _check_hdf5(stream: IO[bytes]) -> tuple[str, ...]:
    with _h5py().File(stream, "r") as file:
        return _links_out(file)


def _links_out(file: Any) -> tuple[str, ...]:
    """Describe what in an HDF5 file refers to other files.

    Raises:
        ValueError: more objects, or larger arrays, than any network has, or a group in several
            places, whose number of paths can grow without limit.
    """
    h5py = _h5py()
    found: list[str] = []
    total, objects, waiting = 0, 0, [file]
    seen = {_address(file)}
    while waiting:
        group = waiting.pop()
        for name in group:
            objects += 1
            link = group.get(name, getlink=True)
            if objects > _MOST_OBJECTS:
                raise ValueError(f"it has more than {_MOST_OBJECTS} arrays")
            if not isinstance(link, h5py.HardLink):
                found.append(f"a link to {getattr(link, 'filename', link.path)}")
                continue
            item = group[name]
            known = (place := _address(item)) in seen
            seen.add(place)
            if isinstance(item, h5py.Group):
                if known:
                    raise ValueError(f"its group {item.name} is in several places")
                waiting.append(item)
            elif known:
                continue
            elif isinstance(item, h5py.Dataset):
                total += int(item.nbytes)
                if item.external or item.is_virtual:
                    found.append("arrays that are read from other files")
    if total > _LARGEST_WEIGHTS:
        raise ValueError(f"its arrays claim {total >> 30} GiB")
    return tuple(found)


def _address(item: Any) -> int:
    """Return where an object is in its file, whatever path led to it."""
    return int(_h5py().h5o.get_info(item.id).addr)


def _interface(config: Json) -> tuple[Shapes | None, Shapes | None, str | None]:
    """Return input and output shapes and the last activation, as far as the JSON states them."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    known = config.get("class_name") in ("Functional", "Model", "Sequential")
    if not known or not isinstance(inner, dict) or not isinstance(layers, list) or not layers:
        return None, None, None
    by_name = {layer["config"]["name"]: layer for layer in layers}
    if config["class_name"] == "Sequential":
        first = layers[0]["config"]
        shape = first.get("batch_shape") or first.get("batch_input_shape")
        shape = shape or inner.get("build_input_shape")
        ends, order = [layers[-1]["config"]["name"]], [layer["config"]["name"] for layer in layers]
        inputs: Shapes = (tuple(shape) if shape else None,)
    else:
        starts, ends = _names(inner["input_layers"]), _names(inner["output_layers"])
        inputs = tuple(_input_shape(by_name[name]) for name in starts)
        order = []
    outputs = tuple(_output_shape(name, by_name, order) for name in ends)
    last = by_name[ends[0]]["config"] if len(ends) == 1 else {}
    return inputs, outputs, _activation(ends, by_name, last)


def _ends(config: Json) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the layers at both ends of a functional network."""
    inner = config.get("config")
    if not isinstance(inner, dict) or not {"input_layers", "output_layers"} <= inner.keys():
        return (), ()
    return tuple(_names(inner["input_layers"])), tuple(_names(inner["output_layers"]))


def _names(ends: Any) -> list[str]:
    """Return layers at one end of a functional network: ["name", 0, 0], possibly nested."""
    if isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str):
        return [ends[0]]
    nested = ends.values() if isinstance(ends, dict) else ends
    return [name for end in nested for name in _names(end)]


def _input_shape(layer: Json) -> Shape | None:
    facts = layer["config"]
    shape = facts.get("batch_shape") or facts.get("batch_input_shape")
    return tuple(shape) if shape else None


def _activation(ends: list[str], by_name: Json, last: Json) -> str | None:
    if len(ends) == 1 and by_name[ends[0]]["class_name"] == "Softmax":
        return "softmax"
    word = last.get("activation")
    if isinstance(word, dict):
        word = word.get("config")
    return word if isinstance(word, str) else None


_PASSING = ("Activation", "Softmax", "Dropout", "ReLU", "Identity")
_MOST_PASSED = 8


def _output_shape(name: str, by_name: Json, order: list[str]) -> Shape | None:
    """Return (None, n) if the last layers are a dense layer and layers that keep its shape."""
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


def _before(layer: Json) -> str | None:
    """Return the layer whose output a layer takes; None for several."""
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
