"""Traces, freezes and converts a Keras network once: the start of all exports.

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

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.spec import Frame, Normalization
from edgezoo.formats import operators, tflite_flatbuffer

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

INPUT_NAME = "image"
# From this size on, 16 MB, the placeholder is one number as well.
_HUGE_KERNEL = 2**22
# Powers of two that mark placeholders: products with them are exact, far from over- and underflow.
_MARKS = [sign * power for power in range(1, 61) for sign in (1, -1)]


def write_tflite(
    model: keras.Model, frame: Frame, how: Normalization | None, output: str, path: Path
) -> None:
    """Trace a Keras network once and convert it to a float32 TFLite file of static shape.

    Args:
        model: takes float32 NHWC, normalized as its family expects; here (1, height, width,
            channels).
        how: a first operation that normalizes RGB pixels, for networks whose channels differ or
            are swapped; None for the network alone.
        output: name of the output in the signature.
    """
    kernels = _large_kernels(model)
    converted = _converted(model, frame, how, kernels)
    if not _put_back(converted, kernels):
        converted = _converted(model, frame, how, [])
    tflite_flatbuffer.add_signature(converted, INPUT_NAME, output)
    tflite_flatbuffer.rename_layers(converted)
    tflite_flatbuffer.write_model(converted, path)


def _converted(
    model: keras.Model, frame: Frame, how: Normalization | None, kernels: list[_Kernel]
) -> Any:
    """Convert a network by TensorFlow, with placeholders for some kernels."""
    import tensorflow as tf

    before = _normalizer(how) if how else lambda x: x
    signature = [tf.TensorSpec((1, *frame.shape), tf.float32, name=INPUT_NAME)]

    def inference(image: tf.Tensor) -> tf.Tensor:
        with _placeholders(kernels), _for_inference(model):
            return model(before(image), training=False)

    traced = tf.function(inference, input_signature=signature).get_concrete_function()
    # Given the concrete function alone, the converter freezes the graph itself. Given the object
    # that has the variables too, it writes a saved model, and loses the variables of placeholders.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    return tflite_flatbuffer.parse(converter.convert())


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel that is hidden from the converter behind a placeholder.

    The converter copies a graph's constants some twenty times: ResNet50 took 8.5 CPU seconds and
    3.7 GB, with placeholders 4 and 1.8; VGG16 74 and 12, with placeholders 14 and 4.6.

    The converter also folds batch norms: it multiplies each output channel of a kernel by a
    factor. A placeholder is 1 everywhere but in the last input channel, where it is a power of
    two. So after the conversion the ones have become the factor, and shape and power identify the
    kernel. Placeholders of huge kernels have the power everywhere, which costs least, and are not
    found where a batch norm follows: no classifier has one behind its dense layers.

    Attributes:
        layer, attribute: where the network has it; shape (…, inputs, outputs).
        mark: the exponent, not 0; kernels of one shape have different ones.
    """

    layer: keras.Layer
    attribute: str
    mark: int

    @property
    def variable(self) -> keras.Variable:
        """The layer's own kernel."""
        return vars(self.layer)[self.attribute]

    @property
    def huge(self) -> bool:
        """Whether its placeholder is one number."""
        return math.prod(self.shape) >= _HUGE_KERNEL

    @property
    def shape(self) -> tuple[int, ...]:
        """In TFLite: outputs first."""
        return (self.variable.shape[-1], *self.variable.shape[:-1])


def _large_kernels(model: keras.Model) -> list[_Kernel]:
    """Return kernels that placeholders can replace; as many of each shape as there are marks."""
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
    """Yield each layer once, also of networks inside the network."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


@contextlib.contextmanager
def _placeholders(kernels: list[_Kernel]) -> Iterator[None]:
    """Replace kernels by placeholders, computed from a few numbers, while a graph is traced."""
    import tensorflow as tf

    kept = [kernel.variable for kernel in kernels]
    try:
        for kernel in kernels:
            *space, inputs, outputs = kernel.variable.shape
            ones, mark = tf.constant(1.0), tf.constant(2.0**kernel.mark)
            if kernel.huge:
                placeholder = tf.fill((*space, inputs, outputs), mark)
            else:
                plain = tf.fill((*space, inputs - 1, outputs), ones)
                marked = tf.fill((*space, 1, outputs), mark)
                placeholder = tf.concat([plain, marked], len(space))
            # Not by setattr, which Keras would track as one of the layer's variables.
            vars(kernel.layer)[kernel.attribute] = placeholder
        yield
    finally:
        for kernel, variable in zip(kernels, kept, strict=True):
            vars(kernel.layer)[kernel.attribute] = variable


@contextlib.contextmanager
def _for_inference(model: keras.Model) -> Iterator[None]:
    """Take out of layers, while a graph is traced, what no converter takes and no answer needs.

    A recurrent layer's loop becomes a WHILE with graphs of its own, which no quantizer looks into:
    its steps are written one by one. An augmentation layer draws a seed, which changes a variable,
    although it passes images through. Keras' argmax tells -0.0 from 0.0 by bits.
    """
    import keras
    import tensorflow as tf
    from keras.src.backend.tensorflow import numpy as functions

    changes: list[tuple[keras.Layer, str, object]] = []
    for part in (part for layer in _layers(model) for part in _parts(layer)):
        if vars(part).get("unroll") is False:
            changes.append((part, "unroll", True))
        seeds = (k for k, v in vars(part).items() if isinstance(v, keras.random.SeedGenerator))
        changes += [(part, name, 0) for name in seeds]
    before = [(part, name, vars(part)[name]) for part, name, _ in changes]
    argmax, argmin = functions.argmax, functions.argmin

    def plain(reduce: Callable[..., Any]) -> Callable[..., Any]:
        def of(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
            flat = tf.reshape(x, [-1]) if axis is None else x
            found = reduce(flat, axis=0 if axis is None else axis, output_type=tf.int32)
            return tf.expand_dims(found, axis) if keepdims and axis is not None else found

        return of

    try:
        functions.argmax, functions.argmin = plain(tf.argmax), plain(tf.argmin)
        for part, name, value in changes:
            vars(part)[name] = value
        yield
    finally:
        functions.argmax, functions.argmin = argmax, argmin
        for part, name, value in before:
            vars(part)[name] = value


def _parts(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yield a layer and the layers that it wraps."""
    yield layer
    for name in ("layer", "forward_layer", "backward_layer"):
        inner = getattr(layer, name, None)
        if inner is not None and inner is not layer:
            yield from _parts(inner)


def _put_back(converted: Any, kernels: list[_Kernel]) -> bool:
    """Replace each placeholder by its kernel, times the factors of folded batch norms.

    Return whether all were found: the converter may have changed one in another way.
    """
    wanted = {(kernel.shape, kernel.mark): kernel for kernel in kernels}
    shapes = {kernel.shape for kernel in kernels}
    found = set[tuple[tuple[int, ...], int]]()
    for tensor in converted.subgraphs[0].tensors:
        if tuple(tensor.shape) not in shapes or tflite_flatbuffer.tensor_dtype(tensor) != "float32":
            continue
        values = tflite_flatbuffer.constant(converted, tensor)
        if values is None:
            continue
        mark, factors = _read_placeholder(values)
        key = (values.shape, mark)
        if key in wanted:
            kernel = np.moveaxis(wanted[key].variable.numpy(), -1, 0)
            if factors is not None:
                kernel = kernel * factors
            tflite_flatbuffer.set_constant(converted, tensor, kernel)
            found.add(key)
    return found == wanted.keys()


def _read_placeholder(values: NDArray[np.float32]) -> tuple[int, NDArray[np.float32] | None]:
    """Return the mark of a placeholder, outputs first, and the factor of each output, if any.

    The mark is 0 where the values are not a placeholder.
    """
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
    """Swap, scale and offset the channels by one 1x1 convolution, which quantizers support."""
    import tensorflow as tf

    kernel = np.diag(how.scale).astype(np.float32)
    if how.channel_order == "BGR":
        kernel = kernel[::-1]
    square, bias = kernel.reshape(1, 1, *kernel.shape), np.asarray(how.offset, np.float32)
    name = "normalize/BiasAdd"
    return lambda x: tf.nn.bias_add(tf.nn.conv2d(x, square, 1, "VALID"), bias, name=name)
