"""The contents of a quantized file, in terms that all formats share.

A layer has the same name in every file that EdgeZoo exports (`tflite_flatbuffer.rename_layers`),
so it can be compared with the float network, whatever the format. Arrays have TFLite's layouts:
activations NHWC; kernels (out, height, width, in), depthwise (1, height, width, out), dense
(out, in).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.arrays import Floats
from edgezoo.core.artifact import Artifact
from edgezoo.core.protocols import Session


@dataclass(frozen=True, slots=True)
class Grid:
    """The quantization of a tensor: real = (quantized - zero_point) * scale.

    Attributes:
        scale, zero_point: float32, shape () or, per channel, (channels,) of the last axis.
        low, high: the lowest and the highest quantized value.
    """

    scale: Floats
    zero_point: Floats
    low: int
    high: int

    def round(self, values: Floats) -> Floats:
        """Quantize and dequantize values: float32 of the same shape."""
        # In place: an activation of a large network takes hundreds of MB.
        rounded = values / self.scale
        rounded += self.zero_point
        np.rint(rounded, out=rounded)
        np.clip(rounded, self.low, self.high, out=rounded)
        rounded -= self.zero_point
        rounded *= self.scale
        return rounded


@dataclass(frozen=True, slots=True)
class LayerConstants:
    """Weights and bias of a layer in real numbers.

    Attributes:
        weights: float32.
        scales: float32, one of the tensor or one per output channel; None where the file stores
            the weights as floating-point numbers.
        limit: the highest quantized value of a weight; 127 for int8.
        bias: float32, shape (out,); None for a layer without one.
    """

    weights: Floats
    scales: Floats | None
    limit: int
    bias: Floats | None

    @property
    def per_channel(self) -> bool:
        """Whether output channels have different scales."""
        return self.scales is not None and len({*self.scales.tolist()}) > 1


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The quantization of a file.

    Attributes:
        layers: constants of each weighted layer, by the name of the layer.
        grids: of each quantized activation, by the name of the tensor.
        input_grid: of the input of the first layer; None if that is floating point.
        readings: of float tensors that a layer quantizes as it reads them, by the names of layer
            and tensor.
    """

    layers: dict[str, LayerConstants] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    input_grid: Grid | None = None
    readings: dict[tuple[str, str], Grid] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """The tensors of one image, computed by the runtime's kernels.

    Attributes:
        scores: raw output of the file, shape (1, classes).
        entered: input of the first layer in real numbers, float32 (1, height, width, 3).
        values: tensors by name in real numbers, float32, channels last.
    """

    scores: NDArray[Any]
    entered: Floats
    values: dict[str, Floats]


class Tracer(Protocol):
    """A file opened so that its inner tensors can be read."""

    def run(self, batch: NDArray[Any]) -> Trace:
        """Run one input in the file's own dtype and layout, shape (1, …)."""


class AnatomyReader(Protocol):
    """Reads the quantization of a format: one file in runtimes/_anatomy."""

    def read(self, path: Path) -> Anatomy:
        """Read weights, biases and grids.

        Raises:
            DataError: the file is damaged.
            MissingError: a package that reads the file is not installed.
        """

    def open(self, artifact: Artifact) -> Session:
        """Open an ordinary session on the CPU that computes exactly as `trace` does."""

    def trace(self, path: Path, names: Collection[str]) -> AbstractContextManager[Tracer]:
        """Open a file so that tensors of these names can be read, where it has them.

        The tensors become outputs, so that the kernels are those of an ordinary session.
        """


def channels_last(values: NDArray[Any]) -> Floats:
    """Return an NCHW activation as NHWC, other arrays unchanged."""
    moved = np.moveaxis(values, 1, -1) if values.ndim == 4 else values
    return np.ascontiguousarray(moved, np.float32)
