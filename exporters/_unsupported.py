"""Layers and functions of Keras that TFLite, from which all formats are made, does not have.

Found by `benchmarks/layer_sweep.py`. They are named before any work starts; what is not listed here
is found by the converter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.core.typed_json import Json

_POOLING = "TFLite pools over two axes; pool over pairs of axes by two layers"
_SPECTRUM = "TFLite has no complex numbers; compute the spectrum outside of the network"
_FUNCTION = "TFLite has no such function; express it by others, or leave it to the program"
LAYERS = {
    "AdaptiveAveragePooling3D": _POOLING,
    "AdaptiveMaxPooling3D": _POOLING,
    "AveragePooling3D": _POOLING,
    "CategoryEncoding": "TFLite does not count; use keras.ops.one_hot",
    "MaxPooling3D": _POOLING,
    "MelSpectrogram": _SPECTRUM,
    "RandomCrop": "Keras 3 does not crop outside of training, so the next layers do not fit; use "
    "CenterCrop or Resizing",
    "STFTSpectrogram": _SPECTRUM,
}
FUNCTIONS = (
    "Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Cosh Cumprod Erf Erfc Sinh Tan FFT FFT2 IFFT2 "
    "RFFT IRFFT STFT ISTFT"
)
_RESIZERS = ("Resizing", "UpSampling2D", "Resize")
_INTERPOLATIONS = ("nearest", "bilinear")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")


def refuse_unsupported(name: str, config: Json) -> None:
    """Refuse a network with a layer or a function that no format can have.

    Args:
        name: of the network, for the message.
        config: its JSON for Keras 3.

    Raises:
        RefusedError: with all such layers, and what to use in their place.
    """
    found = dict(_found(config))
    if found:
        layers = ", ".join(found)
        ways = "; ".join(dict.fromkeys(found.values()))
        raise RefusedError(f"{name} cannot be exported because of {layers}.", f"{ways}.")


def _found(value: Any) -> Iterator[tuple[str, str]]:
    """Yield a description and the way out of each layer that cannot be exported."""
    if isinstance(value, list):
        for item in value:
            yield from _found(item)
    elif isinstance(value, dict):
        kind, facts = value.get("class_name"), value.get("config")
        if isinstance(kind, str) and isinstance(facts, dict):
            way = _way_out(kind, str(value.get("module") or ""), facts)
            if way:
                yield f"{facts.get('name', kind)} ({kind}{way[0]})", way[1]
        for item in value.values():
            yield from _found(item)


def _way_out(kind: str, module: str, facts: Json) -> tuple[str, str] | None:
    """Return the argument that rules a layer out, if any, and what to use; None for others."""
    if kind in LAYERS:
        return "", LAYERS[kind]
    if kind in FUNCTIONS.split() and ".ops." in module:
        return "", _FUNCTION
    word = facts.get("interpolation")
    if kind in _RESIZERS and word is not None and word not in _INTERPOLATIONS:
        return f", {word}", "TFLite interpolates by nearest or bilinear alone"
    dilated = facts.get("dilation_rate", 1)
    if kind in _TRANSPOSED and dilated not in (1, [1], [1, 1], [1, 1, 1]):
        return ", dilated", "TFLite's transposed convolutions have no dilation; use UpSampling2D"
    return None
