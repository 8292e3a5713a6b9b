"""Makes an untrained network answer as a trained one would: with spread, on all its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgezoo.calibration import synthetic
from edgezoo.core.spec import Normalization
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

_STATISTICS_PICTURES = 32
# Standard deviation of an untrained network's logits over pictures. Trained ImageNet networks
# have 2 to 4; the default initialisation gives about 0.01, which no 8-bit output can show.
_LOGIT_SPREAD = 4.0
# Shift of an untrained network's batch norms. With 0, random layers are chaotic: each enlarges
# small differences more than large ones, and 8-bit rounding drowns the answer. Around 2, nearly
# all values pass the ReLU, as if the network were linear, and rounding leaves 9 to 14 dB at 32 px.
_UNTRAINED_SHIFT = 2.0
# Of what a residual branch adds. With 1, squeeze-and-excitation networks answer 8-bit rounding
# with 4 dB at 32 px where they have 7 with a quarter; less brings nothing more.
_BRANCH_GAIN = 0.25


def settle(
    network: keras.Model, size: int, how: Normalization, seed: int, classifies: bool
) -> None:
    """Estimate batch-norm statistics on drawn pictures, and spread the classes.

    A network with default statistics gives nearly the same output for everything: nothing that
    is measured on it means anything.

    Args:
        network: takes float32 (n, size, size, 3).
        size: height and width in pixels.
        how: what pixels become.
        seed: of the pictures.
        classifies: its last layer with weights gives logits.
    """
    import numpy as np

    pictures = np.stack(list(synthetic.images(_STATISTICS_PICTURES, size, seed)))
    batch = normalize(pictures, how)
    _settle_norms(network, batch)
    if classifies:
        _spread_logits(network, batch)


def _settle_norms(network: keras.Model, batch: NDArray[np.float32]) -> None:
    """Set each batch norm's statistics to those of the batch that reaches it.

    By one pass in training mode with momentum 0.
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
        # As a graph: called directly, a Keras network keeps every layer's output to the end, which
        # is more than 20 GB for NASNetLarge.
        tf.function(lambda pictures: network(pictures, training=True))(batch)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _calm_branches(network: keras.Model) -> None:
    """Let residual branches add little to what they branch off, as in trained networks.

    Scales the batch norm that ends a branch, where an addition takes it and what it comes from.
    """
    import keras

    for layer in network.layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        before = _before(layer)
        for end in before:
            last = end
            while isinstance(last, (keras.layers.Dropout, keras.layers.Activation)):
                (last,) = _before(last)
            if not (isinstance(last, keras.layers.BatchNormalization) and last.scale):
                continue
            if any(other is not end and _comes_from(end, other) for other in before):
                last.gamma.assign(last.gamma * _BRANCH_GAIN)


def _comes_from(layer: keras.Layer, source: keras.Layer) -> bool:
    """Whether a layer is computed from another one."""
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
    """The layers that a layer takes from."""
    nodes = layer._inbound_nodes
    return [x._keras_history.operation for x in nodes[0].input_tensors] if nodes else []


def _spread_logits(network: keras.Model, batch: NDArray[np.float32]) -> None:
    """Scale the last layer until logits differ from picture to picture as trained ones do."""
    import numpy as np

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
