"""Gives random weights realistic statistics, so that outputs differ between images and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgezoo.calibration import synthetic
from edgezoo.core.spec import Frame, Normalization
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import keras

_STATISTICS_IMAGES = 32
# Standard deviation of the logits over images. Trained ImageNet networks
# have 2 to 4; the default initialisation gives about 0.01, less than a step of an 8-bit output.
_LOGIT_SPREAD = 4.0
# Beta of the batch norms. With 0, random layers are chaotic: each amplifies small differences more
# than large ones, and 8-bit rounding errors dominate the output. Around 2, nearly all values pass
# the ReLU, so the network is almost linear, and int8 files have an SQNR of 9 to 14 dB at 32 px.
_UNTRAINED_SHIFT = 2.0
# Factor of residual branches. With 1, int8 files of squeeze-and-excitation networks have 4 dB at
# 32 px, with 0.25 they have 7; smaller factors do not improve it.
_BRANCH_GAIN = 0.25


def settle(
    network: keras.Model, size: int | Frame, how: Normalization, seed: int, classifies: bool
) -> None:
    """Estimate batch-norm statistics on synthetic images, and spread the logits.

    A network with Keras' initial statistics (mean 0, variance 1) has nearly the same output for
    all images, so agreement and SQNR measured on it would be meaningless.

    Args:
        network: takes float32 (n, height, width, channels).
        size: of its input; a number for a square of RGB pixels.
        how: normalisation of the pixels.
        seed: of the images.
        classifies: the last layer with weights computes logits.
    """
    frame = Frame.of(size)
    images = np.stack(list(synthetic.frames(_STATISTICS_IMAGES, frame, seed)))
    batch = normalize(images, how)
    _settle_norms(network, batch)
    if classifies:
        _spread_logits(network, batch)


def _settle_norms(network: keras.Model, batch: NDArray[np.float32]) -> None:
    """Set each batch norm's statistics to those of its own input, in one pass.

    In training mode each batch norm normalises by the statistics of the batch, so the layers after
    it already see settled values; momentum 0 stores exactly these statistics.
    """
    import keras
    import tensorflow as tf

    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
        if layer.center:
            layer.beta.assign(layer.beta * 0 + _UNTRAINED_SHIFT)
    if norms:
        _calm_branches(network)
        _centre_kernels(network)
        # As a graph: called directly, a Keras network keeps every layer's output until the end,
        # more than 20 GB for NASNetLarge.
        tf.function(lambda images: network(images, training=True))(batch)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _calm_branches(network: keras.Model) -> None:
    """Scale down residual branches, which add little to their input in trained networks.

    Scales the batch norm at the end of a branch. An input of an addition ends a branch if another
    input of the addition is an ancestor of it.
    """
    import keras

    for layer in network.layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        inputs = _before(layer)
        for end in inputs:
            last = end
            while isinstance(last, (keras.layers.Dropout, keras.layers.Activation)):
                (last,) = _before(last)
            if not (isinstance(last, keras.layers.BatchNormalization) and last.scale):
                continue
            if any(other is not end and _comes_from(end, other) for other in inputs):
                last.gamma.assign(last.gamma * _BRANCH_GAIN)


def _comes_from(layer: keras.Layer, source: keras.Layer) -> bool:
    """Whether a layer depends on another one."""
    seen, waiting = set[str](), [layer]
    while waiting:
        for found in _before(waiting.pop()):
            if found is source:
                return True
            if found.name not in seen:
                seen.add(found.name)
                waiting.append(found)
    return False


def _before(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers whose outputs a layer takes."""
    nodes = layer._inbound_nodes
    return [x._keras_history.operation for x in nodes[0].input_tensors] if nodes else []


def _spread_logits(network: keras.Model, batch: NDArray[np.float32]) -> None:
    """Scale the last layer so that logits differ between images as in trained networks."""
    head = [x for x in network.layers if x.weights][-1]
    parts = np.array_split(batch, 4)
    probabilities = np.concatenate([network.predict_on_batch(part) for part in parts])
    # The network ends in a softmax: its logarithm is the logits up to a constant per image.
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    logits -= logits.mean(1, keepdims=True)
    kernel, bias = head.get_weights()
    factor = _LOGIT_SPREAD / max(float(logits.std(0).mean()), 1e-12)
    head.set_weights([kernel * factor, (bias - logits.mean(0)) * factor])


def _centre_kernels(network: keras.Model) -> None:
    """Make the kernels sum to zero over their input channels.

    With inputs that are all positive, sums would otherwise differ far more between channels than
    between images. Where no batch norm follows directly (ResNetV2, DenseNet), the int8 range
    would be spent on the former. Kernels on the colours of the input do not change.
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
