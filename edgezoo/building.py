"""The only module that builds Keras models."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo import registry
from edgezoo.calibration import synthetic
from edgezoo.errors import DataError, RefusedError, UsageError
from edgezoo.preprocessing import normalize
from edgezoo.spec import ModelSpec
from edgezoo.weights import LocatedWeights, locate

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

CLASSES = 1000
_STATISTICS_PICTURES = 32
# Standard deviation of an untrained network's logits over pictures. Trained ImageNet networks
# have 2 to 4; the default initialisation gives about 0.01, which no 8-bit output can show.
_LOGIT_SPREAD = 4.0
# Shift of an untrained network's batch norms. With 0, random layers are chaotic: each enlarges
# small differences more than large ones, and 8-bit rounding drowns the answer. Around 2, nearly
# all values pass the ReLU, as if the network were linear, and rounding leaves 9 to 14 dB at 32 px.
_UNTRAINED_SHIFT = 2.0


def check_options(
    spec: ModelSpec, alpha: float | None, depth_multiplier: int | None, input_size: int | None
) -> tuple[float | None, int | None, int]:
    """Fill in defaults and refuse what the family cannot do.

    Returns:
        alpha, depth multiplier (None for families without them) and input size in pixels.

    Raises:
        UsageError: an option that the family does not have, or an illegal value.
    """
    if spec.width is None and (alpha is not None or depth_multiplier is not None):
        option = "--alpha" if alpha is not None else "--depth-multiplier"
        raise UsageError(f"{spec.name} has no {option}.", _having(option))
    size = spec.default_input_size if input_size is None else input_size
    if size < spec.min_input_size:
        raise UsageError(
            f"{spec.name} cannot take {size} px pictures.",
            f"Its smallest input size is {spec.min_input_size} px.",
        )
    if spec.width is None:
        return None, None, size
    alpha = 1.0 if alpha is None else alpha
    if not 0 < alpha < float("inf"):
        raise UsageError(f"--alpha {alpha:g} is not a width.", "Give a number above 0.")
    least = spec.width.least_alpha
    if alpha < least:
        raise UsageError(
            f"--alpha {alpha:g} leaves a layer without a channel.", f"At least {least:g}."
        )
    if not spec.width.depth_multiplier:
        if depth_multiplier is not None:
            option = "--depth-multiplier"
            raise UsageError(f"{spec.name} has no {option}.", _having(option))
        return alpha, None, size
    multiplier = 1 if depth_multiplier is None else depth_multiplier
    if multiplier < 1:
        raise UsageError(
            f"--depth-multiplier {multiplier} is illegal.", "Give a whole number of 1 or more."
        )
    return alpha, multiplier, size


def _having(option: str) -> str:
    """Which models have an option, in a sentence."""
    names = [
        spec.name
        for spec in registry.models().values()
        if spec.width and (option == "--alpha" or spec.width.depth_multiplier)
    ]
    return f"Models with it: {', '.join(names)}."


def build(
    model: str,
    *,
    alpha: float | None = None,
    depth_multiplier: int | None = None,
    input_size: int | None = None,
    weights: str = "imagenet",
    seed: int = 0,
) -> keras.Model:
    """Build a classifier of the zoo with its weights.

    Args:
        model: a name of the zoo, such as "mobilenet".
        alpha: width of a MobileNet, any float above 0; ImageNet's weights exist for some.
        depth_multiplier: of MobileNet's depthwise convolutions; 1 with ImageNet's weights.
        input_size: height and width in pixels; the family's default where None.
        weights: "imagenet", "random" (seeded, with estimated batch-norm statistics) or a file.
        seed: of random weights.

    Returns:
        A Keras model: float32 (n, size, size, 3), normalised as `preprocess_input` of the
        family does, to probabilities (n, 1000).

    Raises:
        UsageError, RefusedError, DataError: as `edgezoo export` reports them.
    """
    spec = registry.model(model)
    alpha, depth_multiplier, size = check_options(spec, alpha, depth_multiplier, input_size)
    check_weights_options(weights, depth_multiplier)
    located = locate(spec, alpha, size, weights)
    return build_located(spec, alpha, depth_multiplier, size, located, seed)


def multiply_adds(network: keras.Model) -> int:
    """Multiply-adds of one picture in convolutions and dense layers, from their shapes.

    Pooling, activations, additions and batch norms (which fold into convolutions) do not count,
    as is usual in papers on small networks.
    """
    import math

    import keras

    total = 0
    for layer in network.layers:
        kernels = [weight for weight in layer.weights if "kernel" in weight.name]
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif kernels:
            positions = math.prod(layer.output.shape[1:3])
            total += positions * sum(math.prod(kernel.shape) for kernel in kernels)
    return total


def check_weights_options(weights: str, depth_multiplier: int | None) -> None:
    """Refuse what ImageNet's weights do not cover."""
    if weights == "imagenet" and depth_multiplier not in (None, 1):
        raise RefusedError(
            f"There are no ImageNet weights for depth multiplier {depth_multiplier}.",
            "Use 1, or --weights random or a file.",
        )


def build_located(
    spec: ModelSpec,
    alpha: float | None,
    depth_multiplier: int | None,
    size: int,
    located: LocatedWeights,
    seed: int,
) -> keras.Model:
    """Build with weights that are known to be on this machine."""
    registry.require_packages(("keras", "tensorflow"), "export", "Building a model")
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.utils.set_random_seed(seed)
    options: dict[str, Any] = {"input_shape": (size, size, 3), "weights": None}
    if alpha is not None:
        options["alpha"] = alpha
    if depth_multiplier is not None:
        options["depth_multiplier"] = depth_multiplier
    function = getattr(importlib.import_module(spec.module), spec.keras_name)
    network: keras.Model = function(**options)
    if located.path is not None:
        _load_weights(network, spec, located.path)
    else:
        pictures = _stack(synthetic.pictures(_STATISTICS_PICTURES, size, seed))
        _settle_statistics(network, normalize(pictures, spec.normalization))
    return network


def _stack(pictures: Any) -> NDArray[np.uint8]:
    import numpy as np

    return np.stack(list(pictures))


def _load_weights(network: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Load by position, as Keras does for its own files, and explain what does not fit."""
    try:
        network.load_weights(str(path))
    except Exception as error:  # h5py and Keras raise OSError, ValueError, KeyError, …
        raise DataError(
            f"{path} does not hold the weights of this {spec.name}: {_misfit(network, path)}.",
            "Check model, --alpha, --depth-multiplier and the file.",
        ) from error


def _misfit(network: keras.Model, path: Path) -> str:
    """The first difference between a model and a legacy weights file, in words."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            stored = {}
            for layer in group.attrs["layer_names"]:
                names = group[layer].attrs["weight_names"]
                if len(names):
                    stored[_text(layer)] = [tuple(group[layer][name].shape) for name in names]
    except Exception as error:  # not a legacy file, or damaged: its own words must do
        return f"it cannot be read as one ({type(error).__name__})"
    wanted = {
        layer.name: [tuple(w.shape) for w in layer.weights]
        for layer in network.layers
        if layer.weights
    }
    if len(stored) != len(wanted):
        return f"the file has {len(stored)} layers with weights, the model {len(wanted)}"
    for (theirs, have), (ours, need) in zip(stored.items(), wanted.items(), strict=True):
        if have != need:
            return f"layer {theirs} has shapes {have}, the model's {ours} takes {need}"
    return "its layers fit, but a value could not be read"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _settle_statistics(network: keras.Model, batch: NDArray[np.float32]) -> None:
    """Estimate batch-norm statistics on pictures, and spread the classes of an untrained head.

    A network with default statistics gives nearly the same output for everything: nothing that
    is measured on it means anything. One pass in training mode with momentum 0 sets each layer's
    statistics to those of the batch that reaches it.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
        if layer.center:
            layer.beta.assign(layer.beta * 0 + _UNTRAINED_SHIFT)
    if norms:
        _centre_kernels(network)
        # As a graph: called directly, a Keras network keeps every layer's output to the end, which
        # is more than 20 GB for NASNetLarge.
        tf.function(lambda pictures: network(pictures, training=True))(batch)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    head = [x for x in network.layers if x.weights][-1]
    parts = np.array_split(batch, 4)
    probabilities = np.concatenate([network.predict_on_batch(part) for part in parts])
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    logits -= logits.mean(1, keepdims=True)
    kernel, bias = head.get_weights()
    factor = _LOGIT_SPREAD / max(float(logits.std(0).mean()), 1e-12)
    head.set_weights([kernel * factor, (bias - logits.mean(0)) * factor])


def _centre_kernels(network: keras.Model) -> None:
    """Let the kernels of an untrained network sum to zero over their input channels.

    Inputs that are positive throughout otherwise become sums that differ far more from channel
    to channel than from picture to picture, and where no batch norm follows at once (ResNetV2,
    DenseNet) 8 bits are spent on the former. Kernels on colours stay as they are.
    """
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.layers.SeparableConv2D):
            kernel = layer.pointwise_kernel
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel
        else:
            continue
        if kernel.shape[2] > 3:
            kernel.assign(kernel - keras.ops.mean(kernel, axis=2, keepdims=True))
