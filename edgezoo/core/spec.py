"""Facts about the models of the zoo, and names that all packages share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

from edgezoo.core.typed_json import Length, Range, optional

Precision = Literal["float32", "float16", "int8"]
InputKind = Literal["pixels", "normalized"]
OutputKind = Literal["probabilities", "features"]
Layout = Literal["NHWC", "NCHW"]
# How an image of another shape becomes the input; see `Resize`.
ResizeMode = Literal["stretch", "fit", "crop"]
# What the values of an output are; see `inference.heads`.
Head = Literal["softmax", "logits", "sigmoid", "sigmoid-logits", "features"]

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
INPUT_KINDS: tuple[InputKind, ...] = ("pixels", "normalized")
IO_TYPES: tuple[str, ...] = ("uint8", "int8", "float32")
LAYOUTS: tuple[Layout, ...] = ("NHWC", "NCHW")
# What a file asks a session for that asks for nothing itself: float32, or what is fastest there.
InferencePrecision = Literal["f32", "auto"]
INFERENCE_PRECISIONS: tuple[InferencePrecision, ...] = ("f32", "auto")
THRESHOLD = 0.5  # least probability of a class that does not exclude others
POOLINGS: tuple[str, ...] = ("avg", "max")
IMAGENET_CLASSES = 1000
SAVED_MODEL_FILE = "saved_model.pb"  # marks the folder of a TensorFlow SavedModel
MOST_SEED = 2**63 - 1
MOST_IMAGES = 10_000_000  # more than any set has
MOST_THREADS = 256  # with more, runtimes fail with misleading messages
RESIZE_FILTERS: tuple[str, ...] = ("bilinear", "bicubic")
RESIZE_MODES: tuple[ResizeMode, ...] = ("stretch", "fit", "crop")
HEADS: tuple[Head, ...] = ("softmax", "logits", "sigmoid", "sigmoid-logits", "features")
_BYTES = {"float32": 4, "float16": 2, "int8": 1}
_FILE_OVERHEAD = 60_000  # labels, contract, graph


# One number of a normalization; larger ones are no preprocessing of pixels.
Factor = Annotated[float, Range(-1e9, 1e9)]
Factors = Annotated[tuple[Factor, ...], Length(3, 1)]


@dataclass(frozen=True, slots=True)
class Normalization:
    """How pixels become the values that the network was trained on.

    `x[c] = pixel[source] * scale[c] + offset[c]`, channels c in the network's own order;
    `channel_order` ("RGB" or "BGR") says which pixel channel feeds c. Grey networks have one
    scale and one offset.
    "tf", "caffe" and "torch" are the modes of
    `keras.applications.imagenet_utils.preprocess_input`; "unit" maps pixels to 0 to 1; "raw"
    leaves pixels unchanged, for networks that normalise inside; "custom" has other numbers.
    """

    mode: str
    scale: Factors
    offset: Factors
    channel_order: Literal["RGB", "BGR"] = "RGB"

    @property
    def alike(self) -> bool:
        """Whether all channels have one scale and one offset, in RGB order."""
        one = len({*self.scale}) == len({*self.offset}) == 1
        return one and self.channel_order == "RGB"

    @property
    def uniform(self) -> bool:
        """Whether scale and offset can become the input's quantization and part of a bias.

        All channels must be alike, and a pixel of 128 must become nearly 0: convolutions pad with
        zeros, so the bias of the first layer cannot stand for another offset. A network that
        normalises inside keeps its own first operation.
        """
        if not self.alike or self.mode == "raw":
            return False
        return abs(self.offset[0] + _MIDDLE * self.scale[0]) <= abs(self.scale[0])

    def of_channels(self, channels: int) -> Normalization:
        """Return the same for a network that takes so many channels.

        Raises:
            ValueError: the channels of a colour image are treated differently, and it takes grey.
        """
        if len(self.scale) == channels:
            return self
        if not self.alike:
            raise ValueError(f"{self.mode} treats colours differently, which a grey image lacks")
        scale, offset = self.scale[:1] * channels, self.offset[:1] * channels
        return Normalization(self.mode, scale, offset)


IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
BGR_MEAN = (103.939, 116.779, 123.68)
_MIDDLE = 127.5  # of the pixel values
CUSTOM = "custom"

NORMALIZATIONS: dict[str, Normalization] = {
    "tf": Normalization("tf", (1 / 127.5,) * 3, (-1.0,) * 3),
    "caffe": Normalization("caffe", (1.0,) * 3, (-BGR_MEAN[0], -BGR_MEAN[1], -BGR_MEAN[2]), "BGR"),
    "torch": Normalization(
        "torch",
        (1 / (255 * IMAGENET_STD[0]), 1 / (255 * IMAGENET_STD[1]), 1 / (255 * IMAGENET_STD[2])),
        (
            -IMAGENET_MEAN[0] / IMAGENET_STD[0],
            -IMAGENET_MEAN[1] / IMAGENET_STD[1],
            -IMAGENET_MEAN[2] / IMAGENET_STD[2],
        ),
    ),
    "unit": Normalization("unit", (1 / 255,) * 3, (0.0,) * 3),
    "raw": Normalization("raw", (1.0,) * 3, (0.0,) * 3),
}
_SAME = 1e-4  # relative difference of numbers that people round
PREPROCESSINGS = (*NORMALIZATIONS, CUSTOM)


def named(how: Normalization) -> Normalization:
    """Return the known normalization with the same numbers; the given one if there is none."""
    channels = len(how.scale)
    for known in NORMALIZATIONS.values():
        if channels != len(known.scale) and not known.alike:
            continue
        theirs = known.of_channels(channels)
        pairs = zip((*how.scale, *how.offset), (*theirs.scale, *theirs.offset), strict=True)
        near = all(abs(a - b) <= _SAME * max(abs(b), 1e-3) for a, b in pairs)
        if near and how.channel_order == theirs.channel_order:
            return theirs
    return how


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels that a network takes: RGB, or grey where it has one channel."""

    height: int
    width: int
    channels: int = 3

    @classmethod
    def of(cls, size: int | Frame) -> Frame:
        """Return a square of RGB pixels for a number."""
        return size if isinstance(size, Frame) else cls(size, size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: (height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def text(self) -> str:
        """Height and width as in a file name or in --input-size: 224, or 96x128."""
        square = self.height == self.width
        return str(self.height) if square else f"{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class Resize:
    """From an image of any size to the input.

    An image that has the input's height and width already is not touched. "crop" is the protocol
    of the published ImageNet weights: the image is resized to cover height and width divided by
    `crop_fraction`, and the centre is cut out. "stretch" resizes the whole image to the input,
    whatever its shape. "fit" keeps its shape and fills the rest with black, on both sides.
    `filter` is one of `RESIZE_FILTERS`, as Pillow computes it.
    """

    crop_fraction: float = 0.875
    filter: str = "bilinear"
    mode: ResizeMode = "crop"

    def shorter_side(self, size: int) -> int:
        """Return the pixels of a side of `size` before the crop."""
        return round(size / self.crop_fraction) if self.mode == "crop" else size

    def scaled(self, width: int, height: int, frame: Frame) -> tuple[int, int]:
        """Return width and height to which an image of another size is resized."""
        if self.mode == "stretch":
            return frame.width, frame.height
        across, down = self.shorter_side(frame.width), self.shorter_side(frame.height)
        factors = across / width, down / height
        if self.mode == "fit":
            scale = min(factors)
            fitted = min(across, round(width * scale)), min(down, round(height * scale))
            return max(1, fitted[0]), max(1, fitted[1])
        scale = max(factors)
        return max(across, round(width * scale)), max(down, round(height * scale))


USUAL_RESIZE = Resize()
# The whole image, as networks see it that were trained on folders of images by Keras' own tools.
STRETCH = Resize(1.0, "bilinear", "stretch")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of ImageNet weights that Keras publishes.

    Attributes:
        name: in Keras' cache; may contain {alpha} and {size}.
        url: may contain {alpha} and {size}.
        md5: as Keras publishes it, or one per width; null if Keras publishes none.
        no_top: the file without the top; null if Keras publishes none.
    """

    name: str
    url: str
    md5: str | dict[float, str] | None = None
    no_top: WeightsFile | None = None

    def hash_for(self, alpha: float | None) -> str | None:
        """Return the published MD5 of the file for a width."""
        return self.md5.get(alpha or 1.0) if isinstance(self.md5, dict) else self.md5


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """ImageNet weights in a PyTorch checkpoint of a Python package.

    Attributes:
        package: distribution on the Python package index.
        file: path of the checkpoint in the installation.
        sha256: of the checkpoint.
        layers: function of the model's module that converts the arrays for the Keras layers.
    """

    package: str
    version: str
    file: str
    sha256: str
    layers: str


@dataclass(frozen=True, slots=True)
class WidthOptions:
    """Widths (alpha) of a family, and the input sizes and widths that have ImageNet weights.

    `parameters` has the count for each width with ImageNet weights. Below `least_alpha` a layer
    would have no channels.
    """

    alpha_codes: dict[float, str]
    imagenet_sizes: tuple[int, ...]
    fallback_size: int
    parameters: dict[float, int]
    least_alpha: float = 0.0


@dataclass(frozen=True, slots=True)
class BuildArguments:
    """The arguments of a Keras Applications function, and the output layer.

    None stands for the model's default; `edgezoo.networks.arguments.complete` fills it in.

    Attributes:
        input_size: height and width in pixels, of a square; else the height.
        input_width: of an input that is no square.
        include_top: keep the dense layers that classify.
        pooling: "avg" or "max" over the last feature map, without a top; None for no pooling.
        classes: number of outputs of the top.
        alpha: width, a factor of every layer's channels.
        depth_multiplier: of the depthwise convolutions.
        dropout: rate before the last layer; without effect at inference.
        blocks: layers in each of DenseNet's four blocks.
        output_layer: the network ends with the output of this layer.
    """

    input_size: int | None = None
    include_top: bool = True
    pooling: str | None = None
    classes: int | None = None
    alpha: float | None = None
    depth_multiplier: int | None = None
    dropout: float | None = None
    blocks: tuple[int, ...] | None = None
    output_layer: str | None = None
    input_width: int | None = optional()

    @property
    def output_kind(self) -> OutputKind:
        """The kind of the network's output."""
        whole = self.include_top and self.output_layer is None
        return "probabilities" if whole else "features"

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> BuildArguments:
        """Read a JSON object; keys of other classes are ignored."""
        values = {name: facts[name] for name in cls.__slots__ if name in facts}
        if values.get("blocks") is not None:
            values["blocks"] = tuple(values["blocks"])
        return cls(**values)


KERAS_TABLE = "https://keras.io/api/applications/"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the zoo.

    `keras_name` is a function of `module` with the arguments of a Keras Applications function;
    `module` is `keras.applications` or the family's own file. `arguments` maps the fields of
    `BuildArguments` that not every family has to the function's names for them.

    Accuracies are fractions on the ImageNet validation set as published at `figures`, None if
    not published. Parameters include the 1000-class top; depth counts the layers with
    parameters; size is that of the float32 weights in MiB. `multiply_adds` are those of the
    convolutions and dense layers at the default size (`edgezoo.networks.building.multiply_adds`).
    `fixed_size_weights`: the network flattens before its dense layers, so its ImageNet weights
    fit the default input size only. `own_normalization` has the numbers of a user's network whose
    preprocessing is "custom"; `channels` is 1 for grey images.
    """

    name: str
    family: str
    keras_name: str
    preprocessing: str
    default_input_size: int
    min_input_size: int
    parameters: int
    multiply_adds: int
    depth: int
    size_mb: float
    top1: float
    top5: float | None
    paper: str
    weights: WeightsFile | WeightsPackage
    weights_licence: str
    width: WidthOptions | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    fixed_size_weights: bool = False
    resize: Resize = USUAL_RESIZE
    module: str = "keras.applications"
    figures: str = KERAS_TABLE
    own_normalization: Normalization | None = None
    channels: int = 3

    def parameter_count(self, alpha: float | None = None) -> int:
        """Return the parameters at a width: exact at those with ImageNet weights, else estimated.

        The estimate is linear between two known widths. Beyond them it follows the square of the
        width, since most weights connect two layers that both scale with the width.
        """
        if self.width is None or alpha is None:
            return self.parameters
        known = sorted(self.width.parameters.items())
        for (low, fewer), (high, more) in pairwise(known):
            if low <= alpha <= high:
                return round(fewer + (more - fewer) * (alpha - low) / (high - low))
        nearest, count = known[0] if alpha < known[0][0] else known[-1]
        return round(count * (alpha / nearest) ** 2)

    def bytes_about(self, precision: Precision, alpha: float | None = None) -> int:
        """Estimate the size of a file in bytes."""
        return self.parameter_count(alpha) * _BYTES[precision] + _FILE_OVERHEAD

    @property
    def normalization(self) -> Normalization:
        """The numbers behind `preprocessing`."""
        how = self.own_normalization or NORMALIZATIONS[self.preprocessing]
        return how.of_channels(self.channels)
