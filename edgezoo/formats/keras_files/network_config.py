"""From the JSON of a Keras file to the network that is judged and loaded: the same object.

What belongs to training is left out, Keras 2 is converted, and half floats become float32: a
policy such as mixed_float16 is about training, and its weights are float32.
"""

from __future__ import annotations

from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.core.typed_json import Json
from edgezoo.formats.keras_files import keras2

_TRAINING = ("compile_config", "optimizer_config", "training_config")
_HALF = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
_FLOAT = "float32"


def network_config(config: Json, version: Any) -> Json:
    """Return what is loaded of a network's JSON.

    Args:
        config: as it is in the file.
        version: of Keras, as the file states it.

    Raises:
        RefusedError: Keras 2 wrote what Keras 3 does not have, or Keras quantized the network.
    """
    kept: Json = _without_training(config)
    if keras2.is_keras2(version, config):
        kept = keras2.converted(kept)
    elif "module" not in kept and kept.get("class_name") in keras2.MODELS:
        kept = {**kept, "module": keras2.MODELS[kept["class_name"]], "registered_name": None}
    in_float: Json = _in_float32(kept)
    return in_float


def _without_training(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_training(item) for item in value]
    if isinstance(value, dict):
        return {k: _without_training(v) for k, v in value.items() if k not in _TRAINING}
    return value


def _in_float32(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_float32(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy"):
        raise RefusedError(
            "Its layers are quantized by Keras, and EdgeZoo quantizes networks itself.",
            "Save the network before model.quantize(...).",
        )
    return {
        key: _FLOAT if key == "dtype" and _policy(item) in _HALF else _in_float32(item)
        for key, item in value.items()
    }


def _policy(value: Any) -> Any:
    """Return the name of a type or of a policy."""
    inner = value.get("config") if isinstance(value, dict) else None
    return inner.get("name") if isinstance(inner, dict) else value
