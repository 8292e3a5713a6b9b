"""Load a user's network with Keras, after it was checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.heartbeat import alive
from edgezoo.formats.keras_files import own_layers, saved_model
from edgezoo.formats.keras_files.reading import KerasFile, usable

if TYPE_CHECKING:
    import keras


def load(path: Path, trust: bool = False) -> keras.Model:
    """Load a network with one input and one output.

    The file is checked here, in the process that loads it, even if it was checked before. Keras'
    own safe mode stays on unless the file is trusted.

    Args:
        path: `.keras`, `.h5` or the folder of a SavedModel.
        trust: let code in the file run.

    Raises:
        DataError: it contains code, is damaged, or Keras cannot load it.
        RefusedError: it has several inputs or outputs.
    """
    found = usable(path, trust)

    alive()
    try:
        if found.kind == "savedmodel":
            network = _wrapped(found)
        else:
            network = _loaded(found, trust)
    except Exception as error:  # a third-party file can make Keras raise any exception
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be loaded by Keras: {reason.rstrip('.')}.") from error
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise RefusedError(f"{path} is not a network with one input and one output.")
    return network


def _loaded(found: KerasFile, trust: bool) -> keras.Model:
    """Build the network from the JSON that was examined, and load its weights."""
    import keras

    if found.code or found.config is None:  # trusted: Keras reads its code in its own way
        return keras.models.load_model(str(found.path), compile=False, safe_mode=not trust)
    own = own_layers.objects()
    with keras.saving.custom_object_scope(own):
        network = keras.saving.deserialize_keras_object(found.config, custom_objects=own)
    network.load_weights(str(found.path))
    return network


def values_hash(network: keras.Model) -> str:
    """Return the SHA-256 of the values of all weights, in the network's order."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(values.tobytes())
    return digest.hexdigest()


def _wrapped(found: KerasFile) -> keras.Model:
    """Wrap the signature of a SavedModel in a Keras network."""
    import keras

    assert found.inputs is not None and found.inputs[0] is not None
    facts = saved_model.read(found.path)
    image = keras.Input(found.inputs[0][1:])
    layer = keras.layers.TFSMLayer(str(found.path), call_endpoint=facts.signature)
    answer = layer(image)
    (output,) = answer.values() if isinstance(answer, dict) else (answer,)
    return keras.Model(image, output)
