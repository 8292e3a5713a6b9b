"""Rewrites the JSON of a network that Keras 2 (TensorFlow 2.0 to 2.15) wrote, for Keras 3.

Nothing is imported or built. What Keras 3 does otherwise is mapped to the old meaning, or refused;
arguments that Keras 3 no longer has are dropped where their value changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.core.typed_json import Json
from edgezoo.formats.keras_files.tf_functions import HINT, REGISTERED, names_tensor, op_layer

# Where Keras 3 keeps what Keras 2 kept in modules of its own.
MODELS = {
    "Functional": "keras.src.models.functional",
    "Model": "keras.src.models.functional",
    "Sequential": "keras",
}
_OLD_MODULES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")
# V1 and V2 of TensorFlow 1, and layers that only CuDNN ran.
_RENAMED = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "RandomHeight": "Identity",  # trained with other heights; passes images through afterwards
    "RandomWidth": "Identity",
}
_REGISTERED = {"ThresholdedReLU": "EdgeZoo>ThresholdedReLU"}
_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
_GONE = {
    "LocallyConnected1D": "a locally connected layer",
    "LocallyConnected2D": "a locally connected layer",
    "DenseFeatures": "feature columns",
    "CuDNNLSTM": "an LSTM for CuDNN alone",
    "CuDNNGRU": "a GRU for CuDNN alone",
}
_ANY = object()
# Arguments that Keras 3 does not have, and the values that change nothing. Initializers, which the
# stored weights replace, and penalties on weights are of training alone.
_DROPPED: dict[str, tuple[Any, ...]] = {
    "adjustment": (None,),
    "auto_vectorize": (_ANY,),
    "batch_size": (_ANY,),
    "causal": (False,),
    "dynamic": (False,),
    "fused": (_ANY,),
    "implementation": (_ANY,),
    "input_dim_shape": (_ANY,),
    "input_length": (_ANY,),
    "key_shape": (_ANY,),
    "noise_shape": (None,),
    "query_shape": (_ANY,),
    "ragged": (False,),
    "renorm": (False,),
    "renorm_clipping": (_ANY,),
    "renorm_momentum": (_ANY,),
    "rng_type": (_ANY,),
    "softmax_robust_masking": (False,),
    "time_major": (False,),
    "value_shape": (_ANY,),
    "virtual_batch_size": (None,),
}
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
_UNGROUPED = (
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
)
_WITHOUT_TRAINABLE = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Discretization")
_IDENTITIES = ("RandomHeight", "RandomWidth")
HARD_SIGMOID = "EdgeZoo>keras2_hard_sigmoid"
# Classes and functions of `own_layers`, by which a converted configuration names them.
OWN = frozenset({HARD_SIGMOID, REGISTERED, *_REGISTERED.values()})


def is_keras2(version: Any, config: Json) -> bool:
    """Whether Keras 2 wrote a file: by its version, or by the form of its nodes."""
    if isinstance(version, str) and version[:1].isdigit():
        return int(version.split(".")[0]) < 3
    return "module" not in config


def converted(config: Json) -> Json:
    """Return the JSON of the same network for Keras 3.

    Args:
        config: a network: a class name and its configuration.

    Raises:
        RefusedError: an argument or a layer has no counterpart in Keras 3.
    """
    changed: Json = _object(config)
    return changed


def _object(named: Json) -> Json:
    """Convert a dictionary that names a class, and what is inside of it."""
    name, module = named.get("class_name"), named.get("module")
    if not isinstance(name, str) or not _of_keras(module, named.get("registered_name"), name):
        return named
    if name in _GONE:
        raise RefusedError(f"Keras 3 has no counterpart of {name}, {_GONE[name]} of Keras 2.", HINT)
    inner = named.get("config")
    if name in MODELS and isinstance(inner, list):  # before Keras 2.3
        inner = {"name": name.lower(), "layers": inner}
    if name in _OP_LAYERS or not isinstance(inner, dict):
        return named
    kept = {key: value for key, value in named.items() if key in ("name", "inbound_nodes")}
    renamed = _RENAMED.get(name, name)
    home = MODELS.get(name) or _home(module)
    result = {"module": home, "class_name": renamed, "registered_name": None, **kept}
    if name in _REGISTERED:
        result |= {"module": None, "registered_name": _REGISTERED[name]}
    if name in MODELS:
        return {**result, "config": _network(renamed, inner)}
    if name in _IDENTITIES:
        return {**result, "config": {"name": inner.get("name", name.lower())}}
    if name == "RandomCrop":
        # Outside of training Keras 2 cuts to the ratio of the sides and resizes; Keras 3 does
        # nothing at all.
        size = {key: inner.get(key) for key in ("name", "height", "width")}
        return {
            **result,
            "class_name": "Resizing",
            "config": {**size, "crop_to_aspect_ratio": True},
        }
    return {**result, "config": _arguments(name, inner)}


def _of_keras(module: Any, registered: Any, name: str) -> bool:
    """Whether a class is Keras' own; what is not, is left as it is, and judged so."""
    if registered not in (None, name):
        return False
    return (
        module is None
        or (isinstance(module, str) and module.startswith(tuple(f"{m}." for m in _OLD_MODULES)))
        or module in _OLD_MODULES
    )


def _home(module: Any) -> str:
    """Return the module of Keras 3 for one of Keras 2."""
    words = str(module or "").split(".")
    for kind in ("initializers", "regularizers", "constraints", "activations"):
        if kind in words:
            return f"keras.{kind}"
    return "keras.layers"


def _arguments(layer: str, given: Json) -> Json:
    """Convert the arguments of a layer."""
    kept: Json = {}
    for key, value in given.items():
        if key.endswith(_OF_TRAINING) or (key == "activity_regularizer"):
            continue
        if key == "groups" and layer in _UNGROUPED:
            _require(layer, key, value, (1,))
        elif key in _DROPPED and not (layer == "Dropout" and key == "noise_shape"):
            _require(layer, key, value, _DROPPED[key])
        elif key == "trainable" and layer in _WITHOUT_TRAINABLE:
            continue
        elif key == "dtype" and layer == "Discretization":
            continue  # of its output in Keras 2; Keras 3 casts the input to it
        elif key == "batch_input_shape":
            if layer == "InputLayer":
                kept["batch_shape"] = value
        elif key.endswith("activation") and _function_name(value) == "hard_sigmoid":
            kept[key] = _registered_function(HARD_SIGMOID)
        elif key == "axis" and layer == "BatchNormalization" and isinstance(value, list):
            _require(layer, key, len(value), (1,))
            kept[key] = value[0]
        else:
            kept[key] = _value(value)
    return kept


def _require(layer: str, key: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if _ANY not in allowed and value not in allowed:
        raise RefusedError(
            f"{key}={value!r} of {layer}, as Keras 2 wrote it, has no counterpart in Keras 3.", HINT
        )


def _function_name(value: Any) -> Any:
    """Return the name of a function that JSON names in one of two ways."""
    return value.get("config") if isinstance(value, dict) else value


def _registered_function(name: str) -> Json:
    return {"module": None, "class_name": "function", "config": name, "registered_name": name}


def _value(value: Any) -> Any:
    """Convert what is inside of an argument: layers that are wrapped, for instance."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
        return _object(value)
    return {key: _value(item) for key, item in value.items()}


def _network(kind: str, given: Json) -> Json:
    """Convert the configuration of a functional or sequential network."""
    layers = [layer for layer in given.get("layers", ()) if isinstance(layer, dict)]
    name = given.get("name", "network")
    if kind == "Sequential":
        return {"name": name, "layers": [*_sequence(layers, given)]}
    kinds = {str(layer.get("name")): layer.get("class_name") for layer in layers}
    ends = {key: _ends(given.get(key), kinds) for key in ("input_layers", "output_layers")}
    converted_layers = []
    for layer in layers:
        if layer.get("class_name") in _OP_LAYERS:
            converted_layers.append(op_layer(layer, kinds, tensor))
            continue
        changed = _object(layer)
        nodes = layer.get("inbound_nodes") or []
        changed["inbound_nodes"] = [_node(node, kinds) for node in nodes]
        converted_layers.append(changed)
    # Which weights of a network inside of a network come first in an .h5 file depends on this.
    trainable = given.get("trainable", True)
    return {"name": name, "trainable": trainable, "layers": converted_layers, **ends}


def _sequence(layers: list[Json], given: Json) -> Iterator[Json]:
    """Convert the layers of a Sequential, the input in front: Keras 2 keeps its shape elsewhere."""
    first: Any = layers[0].get("config") if layers else None
    if isinstance(first, dict) and layers[0].get("class_name") != "InputLayer":
        shape = first.get("batch_input_shape") or given.get("build_input_shape")
        if shape and layers[0].get("class_name") not in MODELS:
            config = {"batch_shape": shape, "name": f"{first.get('name', 'first')}_input"}
            yield {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": config,
                "registered_name": None,
            }
    for layer in layers:
        yield _object(layer)


def _ends(ends: Any, kinds: Json) -> Any:
    """Convert the inputs or outputs of a network: ["name", node, tensor], possibly nested."""
    if isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str):
        first = ends[1] - 1 if kinds.get(ends[0]) == "Sequential" else ends[1]
        return [ends[0], max(0, first), ends[2]]
    if isinstance(ends, list):
        return [_ends(end, kinds) for end in ends]
    if isinstance(ends, dict):
        return {key: _ends(end, kinds) for key, end in ends.items()}
    return ends


def tensor(place: Any, kinds: Json) -> Json:
    """Return a tensor between layers as Keras 3 writes it: layer, call and place among outputs.

    A network inside of a network counts its calls from 1 in Keras 2.
    """
    name, call, index = place[:3]
    if kinds.get(name) in MODELS:
        call = max(0, call - 1)
    history = {"shape": [None], "dtype": "float32", "keras_history": [name, call, index]}
    return {"class_name": "__keras_tensor__", "config": history}


def _node(node: Any, kinds: Json) -> Json:
    """Convert one call of a layer: [["name", 0, 0, {arguments}], …]."""
    if isinstance(node, dict):
        return node
    places = [node] if isinstance(node[0], str) else node
    tensors = [tensor(place, kinds) for place in places]
    arguments: Json = {}
    for place in places:
        arguments |= place[3] if len(place) > 3 else {}
    words = {
        key: _argument(value, kinds)
        for key, value in arguments.items()
        if value is not None and key != "training"
    }
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": words}


def _argument(value: Any, kinds: Json) -> Any:
    """Convert an argument of a call; a tensor is ["name", node, tensor]."""
    if names_tensor(value, kinds):
        return tensor(value, kinds)
    return [_argument(item, kinds) for item in value] if isinstance(value, list) else value
