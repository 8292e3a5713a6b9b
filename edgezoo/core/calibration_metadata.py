"""What an int8 file records about its calibration and quantization, as part of its contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from edgezoo.core.recipe import Effort
from edgezoo.core.typed_json import Count, JsonFile, Positive, Range, optional

ImageSource = Literal["folder", "npz", "samples", "synthetic"]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Leading bytes of the SHA-256 of each image.

    Attributes:
        of: what was hashed: image files, or uint8 pixels of an array
        bytes: leading bytes of each SHA-256
        sha256: base64 of all of them, sorted
    """

    of: Literal["file", "pixels"]
    bytes: Annotated[int, Range(1, 32)]
    sha256: str


@dataclass(frozen=True, slots=True)
class Stability:
    """How far the ranges depend on the choice of images: two disjoint halves compared.

    Attributes:
        halves: images in each
        score: the smallest overlap of the halves' ranges, as a share of the range of both
        median: median of what the overlaps lack of 1
        worst_tensor: the tensor with the smallest overlap
    """

    halves: Positive
    score: float
    median: float
    worst_tensor: str


@dataclass(frozen=True, slots=True)
class RangesRecord:
    """The ranges of activations that the images led to.

    Attributes:
        tensors: activations with a range
        sha256: of the ranges
        stability: null with a single image
    """

    method: str
    tensors: Count
    sha256: str
    stability: Stability | None


@dataclass(frozen=True, slots=True)
class CalibrationMetadata(JsonFile):
    """The images that an int8 file was calibrated on, or that a .keras file was fine-tuned on.

    Attributes:
        classes: class folders that are represented
        list_sha256: of the names of the images, in order
        unreadable: files that were skipped
        preprocessing: hash of the resize-and-crop recipe
        fingerprints: of each image; absent for synthetic images
        ranges: absent in .keras files
    """

    source: ImageSource
    count: Count
    classes: Count | None = None
    seed: int = 0
    list_sha256: str = ""
    unreadable: Count = 0
    preprocessing: str = ""
    fingerprints: Fingerprints | None = optional()
    ranges: RangesRecord | None = optional()


@dataclass(frozen=True, slots=True)
class Quantization:
    """How an int8 file was quantized.

    Attributes:
        quantizer: the library that quantized the prepared network
        weights: type, granularity and grid
        methods: what was done before, in order, in the terms of the literature
        float_layers: layers that stay in float
    """

    quantizer: str
    weights: str
    activations: str
    methods: tuple[str, ...]
    effort: Effort
    float_layers: tuple[str, ...]
