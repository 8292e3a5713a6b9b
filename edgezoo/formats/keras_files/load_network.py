"""Load a user's network with Keras, after it was checked."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import DataError, RefusedError
from edgezoo.core.heartbeat import alive
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.formats.keras_files import own_layers, saved_model
from edgezoo.formats.keras_files.reading import KerasFile, usable

if TYPE_CHECKING:
    import keras

_MOST_REASON = 400  # characters of what Keras says
_FINGERPRINT = "fingerprint.pb"


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
        raise _not_loaded(found, error) from error
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise RefusedError(f"{path} is not a network with one input and one output.")
    return network


def _not_loaded(found: KerasFile, error: Exception) -> DataError:
    """Return what is told where Keras fails: the cause, and the versions if they may be it."""
    import keras

    text = str(error).strip()
    # Keras tells the cause behind the whole configuration of the layer.
    cause = text.rpartition("Exception encountered:")[2].strip() or type(error).__name__
    cause = " ".join(cause.split())
    if len(cause) > _MOST_REASON:
        cause = f"{cause[:_MOST_REASON]}…"
    written = found.written_by
    if written is None or written == keras.__version__:
        hint = "Save it again with model.save(file) where it loads, and check that it loads there."
    else:
        hint = (
            f"Keras {written} wrote it, and Keras {keras.__version__} is here: install the other "
            "version, or save the network as a SavedModel with model.export(folder)."
        )
    return DataError(f"{found.path} cannot be loaded by Keras: {cause.rstrip('.')}.", hint)


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
    with _without_slots(found.path) as folder:
        layer = keras.layers.TFSMLayer(str(folder), call_endpoint=facts.signature)
    answer = layer(image)
    (output,) = answer.values() if isinstance(answer, dict) else (answer,)
    return keras.Model(image, output)


@contextlib.contextmanager
def _without_slots(folder: Path) -> Iterator[Path]:
    """Give the folder of a SavedModel whose optimizer has no slots.

    TensorFlow 2.0 to 2.10 saved the variables of an optimizer as its slots, and only an optimizer
    of Keras 2 can take them up again. No signature reads them. The copy has links to all other
    files, and lives while the network is loaded.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    message.ParseFromString((folder / SAVED_MODEL_FILE).read_bytes())
    nodes = [node for graph in message.meta_graphs for node in graph.object_graph_def.nodes]
    if not any(node.slot_variables for node in nodes):
        yield folder
        return
    for node in nodes:
        node.ClearField("slot_variables")
    with tempfile.TemporaryDirectory(prefix="edgezoo-") as copy:
        for entry in folder.resolve().iterdir():
            if entry.name not in (SAVED_MODEL_FILE, _FINGERPRINT):
                Path(copy, entry.name).symlink_to(entry)
        Path(copy, SAVED_MODEL_FILE).write_bytes(message.SerializeToString())
        yield Path(copy)
