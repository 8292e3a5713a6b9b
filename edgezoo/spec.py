"""Frozen facts about a model of the zoo, and the vocabulary that all layers share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Precision = Literal["float32", "float16", "int8"]
InputKind = Literal["pixels", "normalized"]

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
INPUT_KINDS: tuple[InputKind, ...] = ("pixels", "normalized")
IO_TYPES: tuple[str, ...] = ("uint8", "int8", "float32")


@dataclass(frozen=True, slots=True)
class Normalization:
    """How pixels become what the network was trained on.

    `x[c] = pixel[source] * scale[c] + offset[c]`, channels c in the network's own order;
    `channel_order` is "RGB" or "BGR" and tells which pixel channel feeds c.
    The three modes are those of `keras.applications.imagenet_utils.preprocess_input`.
    """

    mode: str
    channel_order: str
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    @property
    def uniform(self) -> bool:
        """True where one scale and one offset serve all channels and none is swapped."""
        return self.channel_order == "RGB" and len({*self.scale}) == len({*self.offset}) == 1


_STD = (0.229, 0.224, 0.225)
_MEAN = (0.485, 0.456, 0.406)
_BGR_MEAN = (103.939, 116.779, 123.68)

NORMALIZATIONS: dict[str, Normalization] = {
    "tf": Normalization("tf", "RGB", (1 / 127.5,) * 3, (-1.0,) * 3),
    "caffe": Normalization(
        "caffe", "BGR", (1.0,) * 3, (-_BGR_MEAN[0], -_BGR_MEAN[1], -_BGR_MEAN[2])
    ),
    "torch": Normalization(
        "torch",
        "RGB",
        (1 / (255 * _STD[0]), 1 / (255 * _STD[1]), 1 / (255 * _STD[2])),
        (-_MEAN[0] / _STD[0], -_MEAN[1] / _STD[1], -_MEAN[2] / _STD[2]),
    ),
}


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Where Keras publishes the ImageNet weights with a top, and under which name it caches them.

    `name` and `url` may hold {alpha} and {size}, filled from `alpha_codes` and the input size.
    `md5` is the hash that Keras publishes; None where it publishes none.
    """

    name: str
    url: str
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class WidthOptions:
    """Widths (alpha) of a family, and the input sizes and widths that have ImageNet weights.

    `quadratic_parameters` and `fixed_parameters` are the shares of the parameters at width 1 that
    grow with the square of the width and not at all; the rest grows with the width.
    """

    alpha_codes: dict[float, str]
    imagenet_sizes: tuple[int, ...]
    fallback_size: int
    quadratic_parameters: int
    fixed_parameters: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the zoo.

    Accuracies are fractions on the ImageNet validation set, parameters counted with the
    1000-class top, size in megabytes, all as the Keras Applications table publishes them
    (https://keras.io/api/applications/); depth as there (layers with parameters, batch
    normalisation and activations included). `fixed_size_weights`: the network flattens before
    its dense layers, so that its ImageNet weights fit the default input size alone.
    """

    name: str
    family: str
    keras_name: str
    preprocessing: str
    default_input_size: int
    min_input_size: int
    parameters: int
    depth: int
    size_mb: float
    top1: float
    top5: float
    paper: str
    weights: WeightsFile
    weights_licence: str
    width: WidthOptions | None = None
    fixed_size_weights: bool = False

    def parameter_count(self, alpha: float | None = None) -> int:
        """Parameters at a width; exact at the widths with ImageNet weights, else an estimate."""
        if self.width is None or alpha is None:
            return self.parameters
        quadratic, fixed = self.width.quadratic_parameters, self.width.fixed_parameters
        linear = self.parameters - quadratic - fixed
        return round(quadratic * alpha**2 + linear * alpha + fixed)

    @property
    def normalization(self) -> Normalization:
        """The numbers behind `preprocessing`."""
        return NORMALIZATIONS[self.preprocessing]

    def to_json(self) -> dict[str, Any]:
        """The object that `edgezoo show --json` prints."""
        facts = asdict(self)
        facts["model"] = facts.pop("name")
        width = facts.pop("width")
        facts["alphas_with_imagenet_weights"] = sorted(width["alpha_codes"]) if width else None
        return facts
