"""One trace, one frozen graph, one conversion: what all exporters start from.

Needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import Normalization
from edgezoo.formats import operators, tflite_flatbuffer

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

INPUT_NAME = "image"
# From here on, 16 MB, it had better not see more than one number of it either.
_HUGE_KERNEL = 2**22
# Powers of two that mark stand-ins: products with them are exact, and far from over- or underflow.
_MARKS = [sign * power for power in range(1, 61) for sign in (1, -1)]


def write_tflite(
    model: keras.Model, size: int, how: Normalization | None, output: str, path: Path
) -> None:
    """Trace a Keras network once and convert it to a float32 TFLite file of static shape.

    Args:
        model: takes float32 NHWC, normalised as its family expects.
        size: height and width in pixels.
        how: a first operation that normalises RGB pixels, for networks whose channels differ or
            are swapped; None leaves the bare network.
        output: what the signature calls the output.
        path: where to write; input (1, size, size, 3).
    """
    kernels = _large_kernels(model)
    converted = _converted(model, size, how, kernels)
    if not _put_back(converted, kernels):
        converted = _converted(model, size, how, [])
    tflite_flatbuffer.add_signature(converted, INPUT_NAME, output)
    tflite_flatbuffer.rename_layers(converted)
    tflite_flatbuffer.write_model(converted, path)


def _converted(
    model: keras.Model, size: int, how: Normalization | None, kernels: list[_Kernel]
) -> Any:
    """What TensorFlow's converter makes of a network, with stand-ins in place of some kernels."""
    import tensorflow as tf

    before = _normalizer(how) if how else lambda x: x
    signature = [tf.TensorSpec((1, size, size, 3), tf.float32, name=INPUT_NAME)]

    def inference(image: tf.Tensor) -> tf.Tensor:
        with _stand_ins(kernels):
            return model(before(image), training=False)

    traced = tf.function(inference, input_signature=signature).get_concrete_function()
    # Without the object that has the variables the converter freezes the graph itself. With it,
    # it takes a saved model instead, whose variables it loses.
    return tflite_flatbuffer.parse(
        tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    )


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel that the converter does not get to see.

    It copies a graph's constants some twenty times: ResNet50 took 8.5 CPU seconds and 3.7 GB so,
    with stand-ins 4 and 1.8, VGG16 74 and 12, with stand-ins 14 and 4.6. They are ones, but for
    the last input channel, which has a power of two: whatever batch norm an output channel is
    multiplied with is what the ones become, and which kernel it was, shape and power tell. Huge
    ones have the power everywhere, which costs least, and are not found where a batch norm
    follows: no classifier has one behind its dense layers.

    Attributes:
        layer, attribute: where the network has it; (…, inputs, outputs).
        mark: the exponent, other than 0; kernels of one shape have different ones.
    """

    layer: keras.Layer
    attribute: str
    mark: int

    @property
    def variable(self) -> keras.Variable:
        """What the layer really has there."""
        return vars(self.layer)[self.attribute]

    @property
    def huge(self) -> bool:
        """Whether its stand-in is one number."""
        return math.prod(self.shape) >= _HUGE_KERNEL

    @property
    def shape(self) -> tuple[int, ...]:
        """As TFLite has it: outputs first."""
        return (self.variable.shape[-1], *self.variable.shape[:-1])


def _large_kernels(model: keras.Model) -> list[_Kernel]:
    """Kernels that stand-ins can replace; as many of each shape as there are marks."""
    import keras

    attributes = {
        keras.layers.Conv2D: "_kernel",
        keras.layers.Dense: "_kernel",
        keras.layers.SeparableConv2D: "pointwise_kernel",
    }
    kernels: list[_Kernel] = []
    alike: Counter[tuple[int, ...]] = Counter()
    for layer in _layers(model):
        attribute = attributes.get(type(layer), "")
        kernel = vars(layer).get(attribute)
        if kernel is None or kernel.dtype != "float32" or kernel.shape[-2] < 2:
            continue
        shape = tuple(kernel.shape)
        if math.prod(shape) >= operators.LARGE_KERNEL and alike[shape] < len(_MARKS):
            kernels.append(_Kernel(layer, attribute, _MARKS[alike[shape]]))
            alike[shape] += 1
    return kernels


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Each layer once, also of networks inside the network."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


@contextlib.contextmanager
def _stand_ins(kernels: list[_Kernel]) -> Iterator[None]:
    """While a graph is traced, let stand-ins take the place of kernels.

    They are computed in the graph, which holds a few numbers of each.
    """
    import tensorflow as tf

    kept = [kernel.variable for kernel in kernels]
    try:
        for kernel in kernels:
            *space, inputs, outputs = kernel.variable.shape
            ones, mark = tf.constant(1.0), tf.constant(2.0**kernel.mark)
            if kernel.huge:
                stand_in = tf.fill((*space, inputs, outputs), mark)
            else:
                parts = [
                    tf.fill((*space, inputs - 1, outputs), ones),
                    tf.fill((*space, 1, outputs), mark),
                ]
                stand_in = tf.concat(parts, len(space))
            # Not by setattr: Keras counts what it is given among the layer's variables.
            vars(kernel.layer)[kernel.attribute] = stand_in
        yield
    finally:
        for kernel, variable in zip(kernels, kept, strict=True):
            vars(kernel.layer)[kernel.attribute] = variable


def _put_back(converted: Any, kernels: list[_Kernel]) -> bool:
    """Give each layer its kernel, times what the converter multiplied the stand-in with.

    Returns:
        Whether all were found: the converter may have made something else of one.
    """
    import numpy as np

    wanted = {(kernel.shape, kernel.mark): kernel for kernel in kernels}
    shapes = {kernel.shape for kernel in kernels}
    found = set[tuple[tuple[int, ...], int]]()
    for tensor in converted.subgraphs[0].tensors:
        if tuple(tensor.shape) not in shapes or tflite_flatbuffer.tensor_dtype(tensor) != "float32":
            continue
        values = tflite_flatbuffer.constant(converted, tensor)
        if values is None:
            continue
        mark, factors = _read_stand_in(values)
        key = (values.shape, mark)
        if key in wanted:
            kernel = np.moveaxis(wanted[key].variable.numpy(), -1, 0)
            if factors is not None:
                kernel = kernel * factors
            tflite_flatbuffer.set_constant(converted, tensor, kernel)
            found.add(key)
    return found == wanted.keys()


def _read_stand_in(values: NDArray[np.float32]) -> tuple[int, NDArray[np.float32] | None]:
    """The mark of a stand-in, outputs first, and what each output was multiplied with, if it was.

    The mark is 0 where the values are no stand-in.
    """
    import numpy as np

    factors = values[(slice(None), *[slice(1)] * (values.ndim - 1))]
    if (values == factors.flat[0]).all():
        fraction, exponent = math.frexp(float(factors.flat[0]))
        return (exponent - 1 if fraction == 0.5 else 0), None
    (there,) = factors.reshape(-1).nonzero()
    if not there.size:
        return 0, None
    ratio = values[there[0]].flat[-1] / factors.flat[there[0]]
    fraction, exponent = math.frexp(float(ratio))
    same = (values[..., :-1] == factors).all()
    marked = (values[..., -1:] == factors * np.float32(ratio)).all()
    return (exponent - 1 if fraction == 0.5 and same and marked else 0), factors


def _normalizer(how: Normalization) -> Callable[[Any], Any]:
    """Swap, scale and offset of the channels as one 1x1 convolution, which quantizers know."""
    import numpy as np
    import tensorflow as tf

    kernel = np.diag(how.scale).astype(np.float32)
    if how.channel_order == "BGR":
        kernel = kernel[::-1]
    kernel4d = kernel.reshape(1, 1, 3, 3)
    bias = np.asarray(how.offset, np.float32)
    return lambda x: tf.nn.bias_add(
        tf.nn.conv2d(x, kernel4d, 1, "VALID"), bias, name="normalize/BiasAdd"
    )
