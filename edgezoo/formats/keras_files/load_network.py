"""Loads a user's network with Keras, after it was looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.heartbeat import alive
from edgezoo.formats.keras_files import saved_model
from edgezoo.formats.keras_files.reading import KerasFile, usable

if TYPE_CHECKING:
    import keras


def load(path: Path, trust: bool = False) -> keras.Model:
    """A network that takes one picture and gives one output.

    The file is looked at here, in the process that loads it, whoever looked at it before. Keras'
    own safe mode stays on unless the file is trusted.

    Args:
        path: `.keras`, `.h5` or the folder of a SavedModel.
        trust: let code in the file run.

    Raises:
        DataError: it holds code, is damaged, or Keras cannot load it.
        RefusedError: several inputs or outputs.
    """
    found = usable(path, trust)
    import keras

    alive()
    try:
        if found.kind == "savedmodel":
            network = _wrapped(found)
        else:
            network = keras.models.load_model(str(path), compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises whatever a third-party file leads to
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be loaded by Keras: {reason.rstrip('.')}.") from error
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise RefusedError(f"{path} is no network of one input and one output.")
    return network


def values_hash(network: keras.Model) -> str:
    """SHA-256 of the values of all weights, in the network's order."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(values.tobytes())
    return digest.hexdigest()


def _wrapped(found: KerasFile) -> keras.Model:
    """A SavedModel as a Keras network around its signature."""
    import keras

    assert found.inputs is not None and found.inputs[0] is not None
    facts = saved_model.read(found.path)
    image = keras.Input(found.inputs[0][1:])
    layer = keras.layers.TFSMLayer(str(found.path), call_endpoint=facts.signature)
    answer = layer(image)
    (output,) = answer.values() if isinstance(answer, dict) else (answer,)
    return keras.Model(image, output)
