"""What passes from exporters to runtimes: self-describing files on disk, and their contract.

An `InputContract` states what a file takes and returns. Exporters embed it in every file as JSON;
runtimes read it back; runtimes need nothing else of the exporter.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from edgezoo.core import escapes, spec, typed_json
from edgezoo.core.calibration_metadata import CalibrationMetadata, Quantization
from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.core.typed_json import Json, JsonObject, Length, OneOf, Positive, Range, optional

SCHEMA: Literal[1] = 1
CONTRACT_KEY = "edgezoo_contract"
# One label a line, in a file that can carry other files.
LABELS_FILE = "labels.txt"
# No contract goes beyond these: images of 8192 x 8192 take 800 MB as float32.
LARGEST_SIDE, MOST_CLASSES = 8192, 10_000_000
_MOST_AXES = 8
BINARY = 2  # classes of one sigmoid
_Small = Annotated[int, Range(1, 1000)]
_Label = Annotated[str, Length(escapes.LONGEST_LABEL)]
_PROBLEMS = {"missing": "lacks {0}", "unknown": "has an unknown {0}"}


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """Where the weights came from.

    Attributes:
        source: "imagenet", "file", "network", "random" or "unknown"
        sha256: of the weights file; of the values where the source is random, or a network that
            finetune wrote
        file: name of the file
        seed: of random weights
        trained: false for random weights
        licence: of ImageNet weights
        note: what one should know about these weights at this input size
    """

    source: str
    sha256: str
    file: str | None = None
    seed: Annotated[int, Range(0, 2**64)] | None = None
    trained: bool = True
    licence: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ResizeRecord:
    """How a client turns an image into the input.

    Attributes:
        shorter_side: pixels of the shorter side before the crop; of a rectangle, its shorter side
            divided by crop_fraction, so that the resized image covers it
        crop: null where nothing is cut off
        mode: stretch: the whole image is resized to the input. fit: the same without changing its
            shape, and black on both sides. Missing: crop, as above
    """

    shorter_side: Positive
    filter: str
    crop: Literal["centre"] | None = "centre"
    mode: Literal["stretch", "fit"] | None = optional()


@dataclass(frozen=True, slots=True)
class InputContract(JsonObject):
    """What a file takes and returns, embedded in it; a manifest repeats it without labels.

    Attributes:
        schema: version of this schema
        input_size: height and width in pixels; the height where input_width is there
        preprocessing: name of the normalization
        classes: how many the output distinguishes; 0 where it returns features
        alpha: width; null for families without widths
        include_top: false: without the dense layers that name classes
        pooling: of the last feature map, without a top
        dropout: rate before the last layer; null for the family's own
        blocks: layers in each block of a DenseNet; null for the model's own
        output_layer: the Keras layer behind which the network was cut off
        input_kind: pixels: RGB values 0 to 255, the normalization is in the file. normalized: the
            caller normalizes
        input_dtype: numpy name of the input type; int8 takes pixel - 128
        output_dtype: numpy name of the output type
        output_kind: probabilities of classes, or features for what comes after
        output_shape: without the batch; a feature map is height, width, channels, whatever the
            layout of the input; empty where it is not known
        layout: of the input tensor
        color_order: of the pixels that go in
        resizes: the file resizes and crops by itself: it takes a decoded image of any size
        crop_fraction: share of the shorter side that the crop keeps
        labels: class names in the order of the output; empty where unknown
        calibration: of an int8 file, or the images that a .keras file was fine-tuned on
        quantization: of an int8 file
        versions: packages that shaped the file
        normalization: network input = pixel * scale + offset, per channel in the network's order
        input_width: of an input that is no square
        channels: 1 where the file takes grey images: 0.299 red + 0.587 green + 0.114 blue
        resize_mode: how an image becomes the input, where it is not resized and cropped
        custom_normalization: where preprocessing is custom
        head: what the values of the output are, where they are not probabilities of classes that
            exclude one another. logits: a softmax makes them so. sigmoid: one value is the
            probability of the second of two classes, several are of classes that do not exclude
            one another. sigmoid-logits: a sigmoid makes them so
        output_name: of the output tensor, in a file with several
        stated_head: what an option said about the output of the network
    """

    schema: Literal[1] = field(init=False, default=SCHEMA)
    model: str
    precision: spec.Precision
    input_size: Annotated[int, Range(1, LARGEST_SIDE)]
    preprocessing: Annotated[str, OneOf(spec.PREPROCESSINGS)]
    weights: WeightsRecord
    classes: Annotated[int, Range(0, MOST_CLASSES)]
    alpha: Annotated[float, Range(0, 1000)] | None = None
    depth_multiplier: _Small | None = None
    include_top: bool = True
    pooling: Literal["avg", "max"] | None = None
    dropout: Annotated[float, Range(0, 1)] | None = None
    blocks: Annotated[tuple[_Small, ...], Length(_MOST_AXES)] | None = None
    output_layer: str | None = None
    input_kind: spec.InputKind = "pixels"
    input_dtype: str = "float32"
    output_dtype: str = "float32"
    output_kind: spec.OutputKind = "probabilities"
    output_shape: Annotated[tuple[Annotated[int, Range(0, 2**31)], ...], Length(_MOST_AXES)] = ()
    layout: spec.Layout = "NHWC"
    color_order: Literal["RGB", "BGR", "GREY"] = "RGB"
    batch: Annotated[int, Range(1, 2**16)] = 1
    resizes: bool = False
    crop_fraction: Annotated[float, Range(0.1, 1)] = spec.USUAL_RESIZE.crop_fraction
    resize_filter: Annotated[str, OneOf(spec.RESIZE_FILTERS)] = spec.USUAL_RESIZE.filter
    labels: Annotated[tuple[_Label, ...], Length(MOST_CLASSES)] = optional(())
    calibration: CalibrationMetadata | None = None
    quantization: Quantization | None = None
    versions: dict[str, str] = field(default_factory=dict)
    normalization: spec.Normalization = field(init=False)
    resize_record: ResizeRecord = field(init=False, metadata=typed_json.key("resize"))
    input_width: Annotated[int, Range(1, LARGEST_SIDE)] | None = optional()
    channels: Literal[1] | None = optional()
    resize_mode: Literal["stretch", "fit"] | None = optional()
    custom_normalization: spec.Normalization | None = optional()
    head: Literal["logits", "sigmoid", "sigmoid-logits"] | None = optional()
    output_name: str | None = optional()
    stated_head: spec.Head | None = optional()

    def __post_init__(self) -> None:
        frame, resize = self.frame, self.resize
        side, crops = min(frame.height, frame.width), self.resize_mode is None
        crop: Literal["centre"] | None = "centre" if crops else None
        record = ResizeRecord(resize.shorter_side(side), self.resize_filter, crop, self.resize_mode)
        object.__setattr__(self, "normalization", self._normalization())
        object.__setattr__(self, "resize_record", record)

    def _normalization(self) -> spec.Normalization:
        """The numbers of `preprocessing`; ValueError where they do not fit it or the channels."""
        if (self.preprocessing == spec.CUSTOM) != (self.custom_normalization is not None):
            raise ValueError("custom numbers without preprocessing custom, or the reverse")
        how = self.custom_normalization or spec.NORMALIZATIONS[self.preprocessing]
        if len(how.scale) != len(how.offset):
            raise ValueError("scale and offset of different lengths")
        return how.of_channels(self.channels or 3)

    @property
    def frame(self) -> spec.Frame:
        """Height, width and channels of the input."""
        return spec.Frame(self.input_size, self.input_width or self.input_size, self.channels or 3)

    @property
    def values(self) -> int:
        """How many values the output has for an image, apart from a background class."""
        return 1 if self.binary else self.classes

    @property
    def binary(self) -> bool:
        """Whether one value stands for two classes."""
        independent = self.head in ("sigmoid", "sigmoid-logits")
        return independent and self.output_shape != () and math.prod(self.output_shape) == 1

    @property
    def multi_label(self) -> bool:
        """Whether several classes can be right for an image, each with its own probability."""
        return self.head in ("sigmoid", "sigmoid-logits") and not self.binary

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input tensor in its layout; -1 for any length."""
        n, (height, width, channels) = self.batch, self.frame.shape
        if self.resizes:
            height = width = -1
        if self.layout == "NCHW":
            return n, channels, height, width
        return n, height, width, channels

    @property
    def arguments(self) -> spec.BuildArguments:
        """Which network of the model it is."""
        facts = typed_json.shared(self, spec.BuildArguments)
        return spec.BuildArguments.from_json({**facts, "classes": self.classes or None})

    @property
    def resize(self) -> spec.Resize:
        """How an image becomes the input."""
        return spec.Resize(self.crop_fraction, self.resize_filter, self.resize_mode or "crop")

    @property
    def summary(self) -> str:
        """Input and output as a sentence, for tools that show a text; files contain it."""
        width = "" if self.alpha is None else f" {self.alpha:g}"
        colours = "grey" if self.channels == 1 else self.color_order
        takes = f"{colours} pixels 0 to 255"
        if self.input_kind != "pixels":
            takes = f"{'grey' if self.channels == 1 else 'RGB'} normalised as {self.preprocessing}"
        itself = " of an image of any size" if self.resizes else ""
        of = f" of {self.classes} classes" if self.classes else ""
        gives = self.output_kind if self.head is None else f"{self.head} for {self.output_kind}"
        return escapes.line(
            f"{self.model}{width} {self.precision}, made by EdgeZoo. Takes {takes}{itself} as "
            f"{self.input_dtype} {self.layout}: {self.resize_text}. Gives {gives}{of} as "
            f"{self.output_dtype}."
        )

    @property
    def resize_text(self) -> str:
        """How an image becomes the input, as a clause."""
        height, width, _ = self.frame.shape
        if self.resize_mode == "stretch":
            return f"the whole image resized to {height} x {width} ({self.resize_filter})"
        if self.resize_mode == "fit":
            return (
                f"resized to fit into {height} x {width} ({self.resize_filter}), black on both "
                "sides"
            )
        side = f"{self.resize_record.shorter_side} ({self.resize_filter})"
        return f"shorter side resized to {side}, then {height} x {width} cut out of the centre"

    @classmethod
    def from_json(cls, facts: Json) -> InputContract:
        """Read what `to_json` wrote, in a file that may be untrusted.

        Line feeds and other control characters in labels become Python's escape sequences; in other
        texts they are refused.

        Raises:
            DataError: a newer schema, or a field is missing or has an invalid value.
        """
        if not isinstance(facts, dict):
            raise DataError("The contract inside the file is damaged: it is not an object.")
        if facts.get("schema") != SCHEMA:
            raise DataError(
                f"The file carries a contract of schema {str(facts.get('schema'))[:20]!r}; "
                f"this EdgeZoo reads schema {SCHEMA}.",
                "Upgrade EdgeZoo.",
            )
        if isinstance(labels := facts.get("labels"), list):
            facts = {**facts, "labels": list(map(_one_line, labels))}
        try:
            return typed_json.decode(cls, facts, unknown="ignore", one_line=True)
        except typed_json.InvalidValueError as error:
            problem = _PROBLEMS.get(error.problem, "has an invalid {0}: {1}")
            raise DataError(
                f"The contract inside the file {problem.format(error.path, error.reason)}.",
                "It is damaged, or of another version of EdgeZoo.",
            ) from error


def _one_line(label: Any) -> Any:
    """Escape a label; what is too long is cut to a length that is refused, before that costs."""
    return escapes.label(label[: escapes.LONGEST_LABEL + 1]) if isinstance(label, str) else label


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of an artifact."""

    path: Path
    bytes: Positive
    sha256: str


@dataclass(frozen=True, slots=True)
class InputRecord:
    """The input tensor of a file.

    Attributes:
        shape: in the layout; -1 for any length
    """

    shape: tuple[int, int, int, int]
    dtype: str
    layout: spec.Layout
    kind: spec.InputKind


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """An exported file in `export --json` and in the manifest.

    Attributes:
        path: the main file; relative to the manifest inside a manifest
        bytes: of all files together
        sha256: of the file; of the joined hex hashes of the files where there are several
        trained: false for random weights
    """

    path: Path
    format: str
    precision: spec.Precision
    bytes: Positive
    sha256: str
    model: str
    alpha: float | None
    input_size: Positive
    trained: bool
    input: InputRecord
    files: Annotated[tuple[FileRecord, ...], Length(1000, 1)]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One exported model: its main file, the files that belong to it, and its contract.

    `trusted`: the user allows code in the file to run. `notes`: sentences about what was assumed
    for a file without a contract.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    contract: InputContract | None = None
    trusted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.stat().st_size for file in self.files)

    def sha256(self) -> str:
        """Hash of the file; where there are several, of their hashes in order."""
        return _joined([file_sha256(file) for file in self.files])

    def required_contract(self) -> InputContract:
        """The contract.

        Raises:
            DataError: the file has none and none was given.
        """
        if self.contract is None:
            raise DataError(
                f"{self.path} carries no EdgeZoo contract, so its preprocessing is unknown.",
                f"Say it with --preprocessing {'|'.join(spec.NORMALIZATIONS)}, or with --scale and "
                "--offset (and --labels FILE for names). With labelled images, edgezoo evaluate "
                "--find-preprocessing finds out.",
            )
        return self.contract

    def record(self) -> ArtifactRecord:
        """What `export --json` and the manifest state about this artifact."""
        contract = self.required_contract()
        hashes = [file_sha256(file) for file in self.files]
        hashed = zip(self.files, hashes, strict=True)
        form = (contract.layout, contract.input_kind)
        return ArtifactRecord(
            path=self.path,
            format=self.format,
            precision=contract.precision,
            bytes=self.bytes,
            sha256=_joined(hashes),
            model=contract.model,
            alpha=contract.alpha,
            input_size=contract.input_size,
            trained=contract.weights.trained,
            input=InputRecord(contract.shape, contract.input_dtype, *form),
            files=tuple(FileRecord(file, file.stat().st_size, sha) for file, sha in hashed),
        )

    def to_json(self) -> Json:
        """`record` as a JSON object."""
        return dict(typed_json.encode(self.record()))


def _joined(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
