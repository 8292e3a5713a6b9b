"""Loads weights files into Keras networks, by position, with messages about what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError

if TYPE_CHECKING:
    import h5py
    import keras

    # Name of each layer, with names and values of its tensors.
    Layers = list[tuple[str, list[tuple[str, h5py.Dataset]]]]

_SHOWN = 300  # characters of Keras' messages, some of which print whole layers
_HINT = "Check the model, --alpha, --depth-multiplier, --classes, --no-top and the file."


def load_weights(network: keras.Model, path: Path, what: str, headless: bool) -> None:
    """Load a weights file.

    Args:
        network: to load into.
        path: an HDF5 file like Keras' published ImageNet weights, or a file of Keras 3.
        what: name of the network in messages.
        headless: the network has no top, and further layers in the file are ignored.

    Raises:
        DataError: the file contains the weights of another network, or cannot be read.
    """
    import h5py

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                group = file.get("model_weights", file)
                if "layer_names" in group.attrs:
                    _assign(network, _stored(group), headless)
                    return
        _load_by_name(network, path)
    except Exception as error:  # h5py and Keras raise OSError, ValueError, KeyError, …
        known, name = isinstance(error, _MisfitError), type(error).__name__
        why = str(error) if known else f"it cannot be read ({name})"
        message = f"{path} does not contain the weights of this {what}: {why}."
        raise DataError(message, _HINT) from error


def _load_by_name(network: keras.Model, path: Path) -> None:
    """Load a file of Keras 3, by the names of attributes; Keras reports what does not fit."""
    try:
        network.load_weights(str(path))
    except ValueError as error:
        message = " ".join(str(error).split())
        shown = message if len(message) <= _SHOWN else f"{message[:_SHOWN]} …"
        raise _MisfitError(f"Keras reports: {shown.removesuffix('.')}") from error


class _MisfitError(Exception):
    """What does not fit, as a clause."""


def _stored(group: h5py.Group) -> Layers:
    """Return the layers of a file that have weights, in order."""
    layers = []
    for layer in group.attrs["layer_names"]:
        held = group[layer]
        tensors = [(_text(name), held[name]) for name in held.attrs["weight_names"]]
        if tensors:
            layers.append((_text(layer), tensors))
    return layers


def _assign(network: keras.Model, stored: Layers, headless: bool) -> None:
    """Assign weights by position, after checking that all of them fit.

    Names do not help: Keras numbers layers per process, as in conv2d_7, and files keep the numbers.
    """
    layers = [layer for layer in network.layers if layer.weights]
    for layer, (name, tensors) in zip(layers, stored, strict=False):
        if len(tensors) != len(layer.weights):
            raise _MisfitError(
                f"layer {name} has {len(tensors)} tensors, the network's {layer.name} takes "
                f"{len(layer.weights)}"
            )
        for (tensor, values), weight in zip(tensors, layer.weights, strict=True):
            if values.shape != tuple(weight.shape):
                raise _MisfitError(
                    f"tensor {tensor} has the shape {_shape(values.shape)}, the network's "
                    f"{layer.name}/{weight.name} takes {_shape(weight.shape)}"
                )
    if len(stored) < len(layers) or (len(stored) > len(layers) and not headless):
        raise _MisfitError(
            f"it has {len(stored)} layers with weights, the network {len(layers)}; those that "
            "are in both fit"
        )
    for layer, (_, tensors) in zip(layers, stored, strict=False):
        layer.set_weights([values[()] for _, values in tensors])


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape)) or "of a number"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
