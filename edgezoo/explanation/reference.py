"""The float network that a quantized file is compared with, in the form of the file's input.

The first layer of EdgeZoo's int8 files takes z = (pixel - 128) * scale, and the rest of the
normalisation is in its bias (see `calibration.preparation`). The float network gets that form too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgezoo.calibration.observation import NetworkInput
from edgezoo.calibration.preparation import write_plain
from edgezoo.core.arrays import Feed
from edgezoo.core.errors import RefusedError
from edgezoo.core.rounding import PIXEL_ZERO
from edgezoo.core.spec import InputKind, Normalization
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import StepwiseNetwork

_HINT = "Give a float32 .tflite that EdgeZoo exported from the same network."


@dataclass(frozen=True, slots=True)
class Reference:
    """A float TFLite network on disk, and its input.

    Attributes:
        path: of the network.
        inputs: converts pixels (n, size, size, 3) into the network's input, float32 of that shape.
        offset: to add to the input for the values of the model's own preprocessing.
    """

    path: Path
    inputs: Feed
    offset: float = 0.0


def centred(source: Path, target: Path, kind: InputKind, how: Normalization) -> Reference:
    """Write a float network that takes the input of an int8 file's first layer.

    Args:
        source, target: a float32 .tflite of EdgeZoo, and the path to write to.
        kind, how: input of the source and the int8 file, and the normalisation of their model.

    Raises:
        RefusedError: the network does not start with a normalisation and a convolution.
    """
    network = StepwiseNetwork(source)
    head = next((step.index for step in network.layers), len(network.steps))
    for step in network.steps[:head]:
        if step.kind not in ("MUL", "ADD", "SUB"):
            raise RefusedError(
                f"{source} starts with an operation {step.kind}, which is not part of EdgeZoo's "
                "normalisation.",
                _HINT,
            )
    first = network.graph.operators[head]
    first.inputs = [network.input, *first.inputs[1:]]
    network.graph.operators = network.graph.operators[head:]
    base = target.with_suffix(".base.tflite")
    tflite_flatbuffer.write_model(network.model, base)
    feed = NetworkInput(how, kind)
    try:
        write_plain(base, target, feed)
    except ValueError as error:
        message = f"{source} cannot serve as the float network: {error}."
        raise RefusedError(message, _HINT) from error
    offset = how.offset[0] + PIXEL_ZERO * how.scale[0] if how.uniform else PIXEL_ZERO * feed.scale
    return Reference(target, feed, offset)
