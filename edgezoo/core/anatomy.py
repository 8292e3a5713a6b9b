"""What stands inside a quantized file, in terms that all formats share.

A layer has one name in every file that EdgeZoo makes (`flatbuffer.rename_layers`), so what is
found here can be set beside the float network, whatever the format. Arrays are in TFLite's
layouts: activations NHWC; kernels (out, height, width, in), depthwise (1, height, width, out),
dense (out, in).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Grid:
    """The levels of a quantized tensor: real = (level - zero_point) * scale.

    Attributes:
        scale, zero_point: float32, shape () or, per channel, (channels,) of the last axis.
        low, high: the lowest and the highest level.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.float32]
    low: int
    high: int

    def round(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values as a tensor of this grid holds them: float32 of the same shape."""
        import numpy as np

        levels = values / self.scale
        levels += self.zero_point
        np.rint(levels, out=levels)
        np.clip(levels, self.low, self.high, out=levels)
        levels -= self.zero_point
        levels *= self.scale
        return levels


@dataclass(frozen=True, slots=True)
class LayerConstants:
    """Weights and bias of a layer in real numbers.

    Attributes:
        weights: float32.
        scales: of the weights' levels, float32, one or one an output channel; None where the
            file holds them as floating-point numbers.
        limit: the highest level of a weight; 127 for int8.
        bias: float32, shape (out,); None where there is none.
    """

    weights: NDArray[np.float32]
    scales: NDArray[np.float32] | None
    limit: int
    bias: NDArray[np.float32] | None

    @property
    def per_channel(self) -> bool:
        """Whether output channels have scales of their own."""
        return self.scales is not None and len({*self.scales.tolist()}) > 1


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All that a file says about its quantization.

    Attributes:
        layers: constants of each weighted layer, by the layer's name.
        grids: of each activation that is quantized, by the tensor's name.
        input_grid: of what enters the first layer; None where that is floating point.
        readings: of float tensors that a layer rounds as it reads them, by the layer's name and
            the tensor's.
    """

    layers: dict[str, LayerConstants] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    input_grid: Grid | None = None
    readings: dict[tuple[str, str], Grid] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """One picture on its way through the real kernels.

    Attributes:
        scores: raw output of the file, shape (1, classes).
        entered: what enters the first layer in real numbers, float32 (1, height, width, 3).
        values: tensors by name in real numbers, float32, channels last.
    """

    scores: NDArray[Any]
    entered: NDArray[np.float32]
    values: dict[str, NDArray[np.float32]]


class Tracer(Protocol):
    """A file opened so that it shows what happens inside."""

    def run(self, batch: NDArray[Any]) -> Trace:
        """Run one input in the file's own dtype and layout, shape (1, ...)."""


class AnatomyReader(Protocol):
    """Knows where a format keeps its quantization: one file in runtimes/_anatomy."""

    def read(self, path: Path) -> Anatomy:
        """Weights, biases and grids.

        Raises:
            DataError: the file is damaged.
            MissingError: a package that is needed to look into it is not installed.
        """

    def trace(self, path: Path, names: Collection[str]) -> AbstractContextManager[Tracer]:
        """Open a file so that tensors of these names can be read, where it has them.

        The kernels are those of an ordinary session: the tensors are made outputs.
        """


def channels_last(values: NDArray[Any]) -> NDArray[np.float32]:
    """An NCHW activation as NHWC; others as they are."""
    import numpy as np

    moved = np.moveaxis(values, 1, -1) if values.ndim == 4 else values
    return np.ascontiguousarray(moved, np.float32)
