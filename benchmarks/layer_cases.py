"""Small networks for `layer_sweep.py`: one for each layer, activation and function of Keras.

Each takes images of 16 px, (16, 16, 3), values 0 to 255, and has the subject in its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

SIZE = 16
Build = Callable[[Any], Any]

# What cannot stand between an image and ten numbers, and why.
LEFT_OUT = {
    "CutMix": "mixes images and labels of a training batch",
    "MixUp": "mixes images and labels of a training batch",
    "FlaxLayer": "contains code",
    "JaxLayer": "contains code",
    "Lambda": "contains code",
    "TFSMLayer": "contains code",
    "TorchModuleWrapper": "contains code",
    "Hashing": "takes words",
    "HashedCrossing": "takes words",
    "IntegerLookup": "takes words",
    "StringLookup": "takes words",
    "TextVectorization": "takes words",
    "MaxNumBoundingBoxes": "takes boxes",
    "RandomCrop": "does nothing outside of training in Keras 3, so that no layer fits behind it",
    "InputLayer": "is the input of every case",
    "Layer": "is a base class",
    "InputSpec": "is a base class",
    "Wrapper": "is a base class",
}


def _behind(first: Build) -> Callable[[Build], Build]:
    """Return a function that puts another one behind the first."""
    return lambda then: lambda x: then(first(x))


def layers() -> Iterator[tuple[str, Build]]:
    """Each layer of `keras.layers` as a function of a feature map (8, 8, 8)."""
    import keras

    of = keras.layers
    same: dict[str, Any] = {"padding": "same"}
    flat, steps, deep, film = (
        _behind(of.Reshape(shape)) for shape in ((16, 32), (8, 64), (4, 4, 4, 8), (4, 4, 4, 8))
    )
    small = _behind(lambda x: keras.ops.cast(of.Flatten()(of.ReLU()(x * 0.1)), "int32"))

    def two(layer: Any) -> Build:
        return lambda x: layer([x, of.ReLU()(x)])

    def pair(layer: Any) -> Build:
        return flat(lambda tokens: layer([tokens, tokens]))

    def self_attention(layer: Any) -> Build:
        return flat(lambda tokens: layer(tokens, tokens))

    special: dict[str, Build] = {
        "Activation": of.Activation("relu"),
        "Attention": pair(of.Attention()),
        "AdditiveAttention": pair(of.AdditiveAttention()),
        "MultiHeadAttention": self_attention(of.MultiHeadAttention(2, 8)),
        "GroupQueryAttention": self_attention(of.GroupQueryAttention(8, 4, 2)),
        "Bidirectional": steps(of.Bidirectional(of.LSTM(4))),
        "LSTM": steps(of.LSTM(4)),
        "GRU": steps(of.GRU(4)),
        "SimpleRNN": steps(of.SimpleRNN(4)),
        "RNN": steps(of.RNN(of.LSTMCell(4))),
        "LSTMCell": steps(of.RNN(of.LSTMCell(4))),
        "GRUCell": steps(of.RNN(of.GRUCell(4))),
        "SimpleRNNCell": steps(of.RNN(of.SimpleRNNCell(4))),
        "StackedRNNCells": steps(of.RNN(of.StackedRNNCells([of.GRUCell(4), of.LSTMCell(4)]))),
        "ConvLSTM1D": lambda x: of.ConvLSTM1D(4, 3)(of.Reshape((4, 16, 8))(x)),
        "ConvLSTM2D": film(of.ConvLSTM2D(4, 3)),
        "ConvLSTM3D": lambda x: of.ConvLSTM3D(2, 2)(of.Reshape((2, 4, 4, 4, 4))(x)),
        "TimeDistributed": film(of.TimeDistributed(of.Conv2D(4, 3))),
        "Conv1D": flat(of.Conv1D(8, 3)),
        "Conv1DTranspose": flat(of.Conv1DTranspose(8, 3, 2, **same)),
        "DepthwiseConv1D": flat(of.DepthwiseConv1D(3)),
        "SeparableConv1D": flat(of.SeparableConv1D(8, 3)),
        "Conv2D": of.Conv2D(8, 3),
        "Conv2DTranspose": of.Conv2DTranspose(8, 3, 2, **same),
        "DepthwiseConv2D": of.DepthwiseConv2D(3),
        "SeparableConv2D": of.SeparableConv2D(8, 3),
        "Conv3D": deep(of.Conv3D(4, 2)),
        "Conv3DTranspose": deep(of.Conv3DTranspose(4, 2, 2)),
        "Dense": of.Dense(8),
        "EinsumDense": of.EinsumDense("bhwc,cd->bhwd", (8, 8, 4)),
        "Embedding": small(of.Embedding(64, 4)),
        "ReversibleEmbedding": small(of.ReversibleEmbedding(64, 4)),
        "CategoryEncoding": small(of.CategoryEncoding(64, "multi_hot")),
        "Discretization": lambda x: keras.ops.cast(
            of.Discretization([0.0, 1.0, 2.0])(x), "float32"
        ),
        "Masking": flat(of.Masking(0.0)),
        "Normalization": of.Normalization(mean=[0.1] * 8, variance=[2.0] * 8),
        "Rescaling": of.Rescaling(0.3, 0.1),
        "Resizing": of.Resizing(12, 12),
        "CenterCrop": of.CenterCrop(6, 6),
        "RandomCrop": of.RandomCrop(6, 6),
        "Cropping1D": flat(of.Cropping1D(1)),
        "Cropping2D": of.Cropping2D(1),
        "Cropping3D": deep(of.Cropping3D(1)),
        "ZeroPadding1D": flat(of.ZeroPadding1D(1)),
        "ZeroPadding3D": deep(of.ZeroPadding3D(1)),
        "UpSampling1D": flat(of.UpSampling1D(2)),
        "UpSampling3D": deep(of.UpSampling3D(2)),
        "AveragePooling2D": of.AveragePooling2D(2),
        "MaxPooling2D": of.MaxPooling2D(2),
        "Reshape": of.Reshape((4, 16, 8)),
        "Permute": of.Permute((3, 1, 2)),
        "RepeatVector": lambda x: of.RepeatVector(3)(of.Flatten()(x)),
        "Dot": pair(of.Dot(2)),
        "SpectralNormalization": of.SpectralNormalization(of.Conv2D(4, 3)),
        "Pipeline": of.Pipeline([of.Rescaling(0.5), of.ReLU()]),
        "GroupNormalization": of.GroupNormalization(4),
        "AdaptiveAveragePooling1D": flat(of.AdaptiveAveragePooling1D(5)),
        "AdaptiveMaxPooling1D": flat(of.AdaptiveMaxPooling1D(5)),
        "AdaptiveAveragePooling2D": of.AdaptiveAveragePooling2D(3),
        "AdaptiveMaxPooling2D": of.AdaptiveMaxPooling2D(3),
        "AdaptiveAveragePooling3D": deep(of.AdaptiveAveragePooling3D(2)),
        "AdaptiveMaxPooling3D": deep(of.AdaptiveMaxPooling3D(2)),
        "MelSpectrogram": lambda x: of.MelSpectrogram(
            num_mel_bins=8, sampling_rate=100, fft_length=64, sequence_stride=32
        )(of.Flatten()(x)),
        "STFTSpectrogram": lambda x: of.STFTSpectrogram(
            frame_length=64, frame_step=32, fft_length=64
        )(of.Reshape((512, 1))(x)),
        **{
            name: two(getattr(of, name)())
            for name in (
                "Add",
                "Average",
                "Concatenate",
                "Maximum",
                "Minimum",
                "Multiply",
                "Subtract",
            )
        },
        **{
            name: flat(getattr(of, name)(*([2] if name[0] != "G" else [])))
            for name in (
                "AveragePooling1D",
                "MaxPooling1D",
                "GlobalAveragePooling1D",
                "GlobalMaxPooling1D",
            )
        },
        **{
            name: deep(getattr(of, name)(*([2] if name[0] != "G" else [])))
            for name in (
                "AveragePooling3D",
                "MaxPooling3D",
                "GlobalAveragePooling3D",
                "GlobalMaxPooling3D",
            )
        },
        **{
            name: getattr(of, name)(0.3)
            for name in (
                "AlphaDropout",
                "Dropout",
                "GaussianDropout",
                "GaussianNoise",
                "SpatialDropout2D",
            )
        },
        "SpatialDropout1D": flat(of.SpatialDropout1D(0.3)),
        "SpatialDropout3D": deep(of.SpatialDropout3D(0.3)),
        **{
            name: getattr(of, name)(0.1)
            for name in ("RandomBrightness", "RandomContrast", "RandomRotation", "RandomZoom")
        },
        "RandomTranslation": of.RandomTranslation(0.1, 0.1),
    }
    # Augmentation works on images: in front of the first convolution.
    images = {
        "AugMix": {},
        "AutoContrast": {},
        "ContrastLimitedAdaptiveHistogramEqualization": {},
        "Equalization": {},
        "RandAugment": {},
        "RandomColorDegeneration": {"factor": 0.5},
        "RandomColorJitter": {},
        "RandomElasticTransform": {},
        "RandomErasing": {},
        "RandomGaussianBlur": {},
        "RandomGrayscale": {},
        "RandomHue": {"factor": 0.1},
        "RandomInvert": {},
        "RandomPerspective": {},
        "RandomPosterization": {"factor": 4},
        "RandomSaturation": {"factor": 0.5},
        "RandomSharpness": {"factor": 0.5},
        "RandomShear": {},
        "Solarization": {},
    }
    for name in sorted(dir(of)):
        kind = getattr(of, name)
        if not isinstance(kind, type) or kind.__name__ != name or name in LEFT_OUT:
            continue
        if name in images:
            options = {"value_range": (0, 255)} if "value_range" in _words(kind) else {}
            yield f"{name} (image)", kind(**{**images[name], **options})  # type: ignore[dict-item]
        else:
            yield name, special[name] if name in special else kind()


def _words(kind: Any) -> set[str]:
    import inspect

    return set(inspect.signature(kind.__init__).parameters)


def variants() -> Iterator[tuple[str, Build]]:
    """Arguments that lead to other operations."""
    import keras

    of = keras.layers
    for word in ("nearest", "bilinear", "bicubic", "area", "lanczos3"):
        yield f"Resizing {word}", of.Resizing(12, 12, interpolation=word)
    for word in ("nearest", "bilinear", "bicubic"):
        yield f"UpSampling2D {word}", of.UpSampling2D(2, interpolation=word)
    yield "LayerNormalization of 3 axes", of.LayerNormalization(axis=[1, 2, 3])
    yield "Conv2D groups", of.Conv2D(8, 3, groups=2)
    yield "Conv2D dilated", of.Conv2D(8, 3, dilation_rate=2, padding="same")
    yield "Conv2DTranspose dilated", of.Conv2DTranspose(8, 3, dilation_rate=2)
    yield "LSTM with sequences", lambda x: of.LSTM(4, return_sequences=True)(of.Reshape((8, 64))(x))
    yield "PReLU shared", of.PReLU(shared_axes=[1, 2])
    yield (
        "squeeze-and-excitation",
        lambda x: of.Multiply()(
            [
                x,
                of.Dense(8, "sigmoid")(
                    of.Dense(4, "relu")(of.GlobalAveragePooling2D(keepdims=True)(x))
                ),
            ]
        ),
    )


def activations() -> Iterator[tuple[str, Build]]:
    """Each function of `keras.activations`."""
    import keras

    # glu halves the channels, and threshold takes arguments: neither is a word for a layer.
    skipped = ("get", "serialize", "deserialize", "glu", "threshold")
    for name in sorted(dir(keras.activations)):
        if not name.startswith("_") and name not in skipped:
            yield name, keras.layers.Activation(name)


_UNARY = """
abs absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad erf erfc exp
exp2 expm1 fabs floor isfinite isinf isnan log log10 log1p log2 logical_not nan_to_num negative
rad2deg reciprocal relu relu6 round rsqrt sigmoid sign sin sinc sinh sqrt square tan tanh trunc
stop_gradient
"""
_REDUCED = """
all amax amin any count_nonzero logsumexp max mean median min prod std sum var argmax argmin cumsum
cumprod flip sort argsort softmax log_softmax norm
"""
_BINARY = """
add arctan2 divide divide_no_nan equal floor_divide fmax fmin fmod greater greater_equal hypot less
less_equal logaddexp logical_and logical_or logical_xor maximum minimum mod multiply not_equal power
subtract true_divide
"""


def functions() -> Iterator[tuple[str, Build]]:
    """Functions of `keras.ops` on tensors between layers."""
    import keras

    ops = keras.ops

    def single(name: str) -> Build:
        return lambda x: ops.cast(getattr(ops, name)(ops.sigmoid(x) * 0.9 + 0.05), "float32")

    def reduced(name: str) -> Build:
        return lambda x: ops.cast(getattr(ops, name)(x, axis=-1), "float32")

    def double(name: str) -> Build:
        return lambda x: ops.cast(
            getattr(ops, name)(ops.sigmoid(x) + 0.5, ops.sigmoid(-0.3 * x) + 0.25), "float32"
        )

    for name in _UNARY.split():
        yield f"ops.{name}", single(name)
    for name in _REDUCED.split():
        yield f"ops.{name}", reduced(name)
    for name in _BINARY.split():
        yield f"ops.{name}", double(name)
    yield "ops.clip", lambda x: ops.clip(x, -0.3, 0.7)
    yield "ops.clip to 1", lambda x: ops.clip(x, -1, 1)
    yield "ops.concatenate", lambda x: ops.concatenate([x, -x], axis=-1)
    yield "ops.stack", lambda x: ops.stack([x, -x], axis=1)
    yield "ops.split", lambda x: ops.split(x, 2, axis=-1)[1]
    yield "ops.unstack", lambda x: ops.unstack(x, axis=-1)[3]
    yield "ops.one_hot", lambda x: ops.one_hot(ops.argmax(x, axis=-1), 8)
    yield "ops.where", lambda x: ops.where(x > 0, x, 0.1 * x)
    yield "ops.take", lambda x: ops.take(x, [3, 1], axis=-1)
    yield "ops.top_k", lambda x: ops.top_k(x, 3)[0]
    yield "ops.matmul", lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2)))
    yield "ops.einsum", lambda x: ops.einsum("bhwc,bhvc->bhwv", x, x)
    yield "ops.tensordot", lambda x: ops.tensordot(x, ops.ones((8, 4)), 1)
    yield "ops.transpose", lambda x: ops.transpose(x, (0, 3, 1, 2))
    yield "ops.moveaxis", lambda x: ops.moveaxis(x, -1, 1)
    yield "ops.swapaxes", lambda x: ops.swapaxes(x, 1, 3)
    yield "ops.reshape", lambda x: ops.reshape(x, (-1, 64, 8))
    yield "ops.expand_dims", lambda x: ops.expand_dims(x, 1)
    yield "ops.squeeze", lambda x: ops.squeeze(ops.mean(x, axis=1, keepdims=True), 1)
    yield "ops.tile", lambda x: ops.tile(x, (1, 2, 1, 1))
    yield "ops.repeat", lambda x: ops.repeat(x, 2, axis=1)
    yield "ops.roll", lambda x: ops.roll(x, 2, axis=1)
    yield "ops.pad", lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    yield "ops.pad reflect", lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    yield "ops.slice", lambda x: x[:, 1:5, ::2, 2:6]
    yield "ops.broadcast_to", lambda x: x * ops.broadcast_to(ops.ones((8,)), (8, 8, 8))
    yield "ops.normalize", lambda x: ops.normalize(x, axis=-1)
    yield "ops.max_pool", lambda x: ops.max_pool(x, 2)
    yield "ops.average_pool", lambda x: ops.average_pool(x, 2)
    yield "ops.depth_to_space", lambda x: ops.depth_to_space(x, 2)
    yield "ops.space_to_depth", lambda x: ops.space_to_depth(x, 2)
    yield "ops.image.resize", lambda x: ops.image.resize(x, (12, 12))
    yield "ops.image.rgb_to_grayscale", lambda x: ops.image.rgb_to_grayscale(x[..., :3])
    yield "ops.cast", lambda x: ops.cast(ops.cast(x, "int32"), "float32")
    yield "x % 3", lambda x: x % 3.0
    yield "x ** 2", lambda x: x**2
    yield "x // 2", lambda x: x // 2.0
    yield "2 / x", lambda x: 2.0 / (x + 10.0)


def cases() -> Iterator[tuple[str, str, Build]]:
    """All cases: their kind, their name, and the function in the middle of the network."""
    for kind, found in (
        ("layer", layers()),
        ("variant", variants()),
        ("activation", activations()),
        ("function", functions()),
    ):
        for name, build in found:
            yield kind, name, build


def network(name: str, build: Build) -> Any:
    """A network with a case in its middle, with seeded weights."""
    import keras

    keras.utils.set_random_seed(1)
    of = keras.layers
    image = keras.Input((SIZE, SIZE, 3))
    if name.endswith("(image)"):
        x = of.Conv2D(8, 3, 2, "same")(of.Rescaling(1 / 64, -1.5)(build(image)))
    else:
        x = of.Conv2D(8, 3, 2, "same")(of.Rescaling(1 / 64, -1.5)(image))
        x = build(x)
    x = of.Dense(6)(of.Flatten()(x))
    return keras.Model(image, x)
