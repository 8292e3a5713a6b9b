"""Functions of TensorFlow that Keras 2 wrote as layers: TFOpLambda and SlicingOpLambda.

Keras 2 turns `tf.nn.relu6(x)` or `x * 2.0` on a symbolic tensor into a layer that names the
function. Those below only compute; others are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgezoo.core.errors import RefusedError
from edgezoo.core.typed_json import Json

REGISTERED = "EdgeZoo>TensorFlowFunction"
_CONSTANT = "_CONSTANT_VALUE"
_SLICE = "__operators__.getitem"
_MATH = """
abs acos add argmax argmin asin atan ceil cos cumsum divide divide_no_nan equal erf exp expm1 floor
floordiv floormod greater greater_equal l2_normalize less less_equal log log1p log_sigmoid
logical_and logical_not logical_or maximum minimum mod multiply multiply_no_nan negative not_equal
pow reciprocal reciprocal_no_nan reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean
reduce_min reduce_prod reduce_std reduce_sum reduce_variance round rsqrt scalar_mul sigmoid sign sin
softplus softsign sqrt square squared_difference subtract tan tanh top_k truediv
"""
_NN = """
avg_pool avg_pool2d batch_normalization bias_add conv2d depth_to_space depthwise_conv2d elu gelu
l2_normalize leaky_relu local_response_normalization log_softmax max_pool max_pool2d moments relu
relu6 selu sigmoid silu softmax softplus softsign space_to_depth swish tanh
"""
_TOP = """
add argmax argmin broadcast_to cast clip_by_value concat convert_to_tensor einsum exp expand_dims
gather identity matmul maximum minimum multiply one_hot ones_like pad pow reduce_max reduce_mean
reduce_min reduce_prod reduce_sum repeat reshape reverse shape sigmoid split sqrt square squeeze
stack stop_gradient strided_slice subtract tanh tensordot tile transpose unstack where zeros_like
"""
_IMAGE = """
adjust_brightness adjust_contrast central_crop crop_to_bounding_box flip_left_right flip_up_down
grayscale_to_rgb per_image_standardization resize rgb_to_grayscale rot90
"""
FUNCTIONS = frozenset(
    [
        *(f"math.{name}" for name in _MATH.split()),
        *(f"nn.{name}" for name in _NN.split()),
        *(f"image.{name}" for name in _IMAGE.split()),
        *_TOP.split(),
        *(f"__operators__.{name}" for name in ("add", "getitem")),
        *("linalg.matmul", "linalg.l2_normalize"),
    ]
)
HINT = (
    "Save it as a SavedModel in the TensorFlow that made it: model.export(folder), or "
    "tf.saved_model.save(model, folder) before 2.13; EdgeZoo reads that folder."
)

Tensor = Callable[[Any, Json], Json]


def op_layer(layer: Json, kinds: Json, tensor: Tensor) -> Json:
    """Convert a layer of Keras 2 that calls a function of TensorFlow.

    Args:
        layer: the layer of a functional network, with its one call.
        kinds: class names of all layers by their names.
        tensor: writes ["name", node, tensor] for Keras 3.

    Returns:
        A layer of EdgeZoo, whose configuration has the function and its arguments; tensors among
        them are numbered, and are the arguments of the call.

    Raises:
        RefusedError: the function is not one of those that only compute.
    """
    facts = layer.get("config")
    function = facts.get("function") if isinstance(facts, dict) else None
    nodes = layer.get("inbound_nodes") or []
    if function not in FUNCTIONS or not isinstance(facts, dict) or len(nodes) != 1:
        name = function if isinstance(function, str) else layer.get("class_name")
        raise RefusedError(
            f"It calls the function tf.{name} of TensorFlow as a layer, which is not among those "
            "that EdgeZoo reads.",
            HINT,
        )
    found: list[Json] = []

    def argument(value: Any) -> Any:
        if names_tensor(value, kinds):
            found.append(tensor(value, kinds))
            return {"tensor": len(found) - 1}
        return [argument(item) for item in value] if isinstance(value, list) else value

    (node,) = nodes
    several = not isinstance(node[0], str)
    places = node if several else [node]
    words = dict(places[0][3]) if len(places[0]) > 3 else {}
    words.pop("name", None)
    values = [place[2] if place[0] == _CONSTANT else argument([*place[:3]]) for place in places]
    first = values if several else values[0]
    config = {
        "name": facts.get("name"),
        "function": function,
        "first": first,
        "words": {key: argument(value) for key, value in words.items()},
    }
    return {
        "module": None,
        "class_name": "TensorFlowFunction",
        "registered_name": REGISTERED,
        "config": config,
        "name": layer.get("name"),
        "inbound_nodes": [{"args": found, "kwargs": {}}],
    }


def names_tensor(value: Any, kinds: Json) -> bool:
    """Whether JSON names a tensor: ["name", node, tensor] with the name of a layer."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in kinds
        and all(isinstance(number, int) for number in value[1:3])
    )


def call(function: str, first: Any, words: Json, tensors: tuple[Any, ...]) -> Any:
    """Compute a function of `FUNCTIONS`; needs TensorFlow.

    Raises:
        ValueError: it is none of them.
    """
    import tensorflow as tf

    if function not in FUNCTIONS:
        raise ValueError(f"{function} is no function that EdgeZoo calls")

    def filled(value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"tensor"}:
            return tensors[value["tensor"]]
        return [filled(item) for item in value] if isinstance(value, list) else value

    start, given = filled(first), {key: filled(value) for key, value in words.items()}
    if function == _SLICE:
        return start[tuple(map(_index, given["slice_spec"]))]
    if function == "__operators__.add":
        return start + given["y"]
    target: Any = tf
    for name in function.split("."):
        target = getattr(target, name)
    if function == "cast":
        return tf.cast(start, _dtype(given))
    return target(start, **given)


def _dtype(given: Json) -> str:
    """Return the type of a cast: half floats are of a policy for training."""
    word = given["dtype"]
    word = word.get("config", word) if isinstance(word, dict) else word
    return "float32" if word in ("float16", "bfloat16", "float64") else str(word)


def _index(part: Any) -> Any:
    """Return an index, a slice, an ellipsis or a new axis."""
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return ...
    if isinstance(part, dict):
        return slice(*(part.get(key) for key in ("start", "stop", "step")))
    return part
