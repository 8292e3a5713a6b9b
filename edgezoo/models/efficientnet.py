"""EfficientNetB0: inverted residuals with squeeze-and-excitation and swish, scaled together.

M. Tan and Q. V. Le, ICML 2019. The network normalizes inside and takes raw pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import ModelSpec, Resize
from edgezoo.models._published import published

if TYPE_CHECKING:
    import keras

_BASE = "https://storage.googleapis.com/keras-applications/"
_STD = (0.229, 0.224, 0.225)


def EfficientNetB0(**options: Any) -> keras.Model:
    """Keras' EfficientNetB0 as built for ImageNet's weights, whichever weights it has.

    The published weights contain the standard deviation of ImageNet where Keras expects a variance.
    Keras corrects this by one more division, but only if it loads these weights itself
    (https://github.com/tensorflow/tensorflow/issues/49930): built without them and loaded from the
    same file, its network receives colours that it was not trained on. Here the division is always
    present.
    """
    import keras

    network = keras.applications.EfficientNetB0(**options)

    def call(layer: keras.Layer, *inputs: Any, **arguments: Any) -> Any:
        outputs = layer(*inputs, **arguments)
        if isinstance(layer, keras.layers.Normalization):
            scale = [deviation**-0.5 for deviation in _STD]
            return keras.layers.Rescaling(scale, name="normalization_scale")(outputs)
        return outputs

    return keras.models.clone_model(network, call_function=call)


SPECS = (
    ModelSpec(
        name="efficientnetb0",
        family="efficientnet",
        keras_name="EfficientNetB0",
        module=__name__,
        preprocessing="raw",
        resize=Resize(filter="bicubic"),
        default_input_size=224,
        min_input_size=32,
        parameters=5_330_571,
        multiply_adds=385_814_752,
        depth=132,
        size_mb=29.0,
        top1=0.771,
        top5=0.933,
        paper="https://arxiv.org/abs/1905.11946",
        weights=published(
            "efficientnetb0.h5",
            "902e53a9f72be733fc0bcb005b3ebbac",
            "50bc09e76180e00e4465e1a485ddc09d",
            base=_BASE,
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
)
