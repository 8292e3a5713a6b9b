"""The float network with a file's own weights and levels, layer by layer, beside the real file.

Every stream is the same float network in TFLite's float kernels. "base" is the network as it is,
on the input that the file's first layer gets. "weights" has the file's weights and biases,
"activations" rounds every activation to the file's levels, "both" does both. What is left
between "both" and the real file is the arithmetic of its kernels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgezoo.core.anatomy import Anatomy
from edgezoo.explanation.alignment import align, along
from edgezoo.explanation.reference import Reference
from edgezoo.explanation.sums import LayerSums, power
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STREAMS = ("base", "weights", "activations", "both")
# They move values and round nothing.
_MOVING = {"RESHAPE", "PAD", "TRANSPOSE", "SQUEEZE"}

Values = dict[int, "NDArray[np.float32]"]

# Weights below this share of their bias change nothing.
_NOTHING = 3e-5


@dataclass
class Outcome:
    """What came out of the streams, image by image.

    Attributes:
        scores, logits: by stream, lists of (n, classes) float32; a stream "file" is not among
            the scores, which the file itself gives.
        layers: sums by the layer's name, in the order of the network.
    """

    scores: dict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))
    logits: dict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))
    layers: dict[str, LayerSums] = field(default_factory=dict)


class Simulation:
    """A float network beside the anatomy of a file made from it.

    Attributes:
        exact, rounded: the network with its own constants and with the file's.
        uncorrected: with the file's weights and the float network's biases, to see what the
            file's biases are good for.
        names: of its tensors.
        anatomy, alignment: of the file; see `align`.
        grids, readings: as of the anatomy, in the sizes of the float network.
        peaks: the largest absolute value of each channel in "base", by tensor.
        unmatched: weighted layers that the file does not have, or in another shape.
    """

    def __init__(self, reference: Reference, anatomy: Anatomy) -> None:
        self.exact = StepwiseNetwork(reference.path)
        self.rounded = StepwiseNetwork(reference.path)
        self.uncorrected = StepwiseNetwork(reference.path)
        self.names = [tflite_flatbuffer.text(t.name) for t in self.exact.graph.tensors]
        self.anatomy, self.alignment = align(self.exact, self.names, anatomy)
        self.grids = {name: self.alignment.grid(name, grid) for name, grid in anatomy.grids.items()}
        self.readings = {
            names: self.alignment.grid(names[1], grid) for names, grid in anatomy.readings.items()
        }
        self.unmatched = [
            self.names[step.output]
            for step in self.rounded.steps
            if step.weights is not None and not self._exchange(step, step.weights)
        ]
        self.outcome = Outcome()
        self.peaks: Values = {}
        last = self.exact.steps[-1]
        self.logits = last.computed_inputs[0] if last.kind == "SOFTMAX" else last.output

    def _exchange(self, step: Step, weights: int) -> bool:
        """Put the file's constants into one layer; False where it has none that fit."""
        layer = self.anatomy.layers.get(self.names[step.output])
        if layer is None or layer.weights.shape != self.rounded.constant(weights).shape:
            return False
        values = self.alignment.as_float(self.exact, self.names, step, layer.weights)
        self.rounded.set_constant(weights, values)
        self.uncorrected.set_constant(weights, values)
        if step.bias is not None and layer.bias is not None:
            bias = self.alignment.real(self.names[step.output], layer.bias)
            self.rounded.set_constant(step.bias, bias)
        return True

    def step_of(self, name: str) -> Step:
        """The operation that computes a tensor."""
        return next(step for step in self.exact.steps if self.names[step.output] == name)

    def alive(self, step: Step) -> NDArray[np.float32]:
        """1 for weights that any image made use of, 0 for others; in the weights' shape.

        A channel that is always 0 says nothing, and its weights may be anything. So may those
        that are nothing beside their bias (see `calibration.tiny_weights`).
        """
        import numpy as np

        assert step.weights is not None
        weights = self.exact.constant(step.weights)
        used = weights * 0 + 1
        if step.bias is not None:
            others = tuple(i for i in range(weights.ndim) if i != step.channel_axis)
            counts = np.abs(weights).max(others) >= _NOTHING * np.abs(
                self.exact.constant(step.bias)
            )
            used *= along(counts.astype(weights.dtype), step.channel_axis, weights.ndim)
        for tensor, axis in (
            (step.output, step.channel_axis),
            (step.computed_inputs[0], step.input_axis),
        ):
            peaks = self.peaks.get(tensor)
            if peaks is not None and len(peaks) == weights.shape[axis]:
                used *= along((peaks > 0).astype(weights.dtype), axis, weights.ndim)
        return used

    @property
    def bytes_per_image(self) -> int:
        """Of all activations of the network in float32."""
        total = 0
        for step in self.exact.steps:
            volume = 4
            for n in self.exact.graph.tensors[step.output].shape:
                volume *= int(n)
            total += volume
        return total

    def plain(self, inputs: NDArray[np.float32], stream: str) -> None:
        """Run the float network alone and note its answers under a name of their own."""
        self._forward({stream: {self.exact.input: inputs}}, {})

    def run(self, entered: NDArray[np.float32], traced: dict[str, NDArray[np.float32]]) -> None:
        """Run all streams on some images, and add to the sums of each layer.

        Args:
            entered: what the file's first layer gets, (n, size, size, 3).
            traced: tensors of the real file by name, (n, ...), channels last.
        """
        start: dict[str, Values] = {name: {self.exact.input: entered} for name in STREAMS}
        real: Values = {self.exact.input: entered}
        for step in self.exact.steps:
            values = traced.get(self.names[step.output])
            if values is not None:
                shape = [int(n) for n in self.exact.graph.tensors[step.output].shape]
                if values[0].size * shape[0] == _volume(shape):
                    values = values.reshape(len(values), *shape[1:])
                    real[step.output] = self.alignment.real(self.names[step.output], values)
        self._forward(start, real)
        if self.logits in real:
            self.outcome.logits["file"].append(real[self.logits])

    def _forward(self, streams: dict[str, Values], real: Values) -> None:
        for step in self.exact.steps:
            for stream, values in streams.items():
                values[step.output] = self._value(stream, step, values)
            if "base" in streams:
                self._note_peaks(step.output, streams["base"][step.output])
                if self._has_levels(step):
                    self._add(step, streams["base"], real)
            for stream, values in streams.items():
                if step.output == self.logits:
                    self.outcome.logits[stream].append(values[step.output])
                if step is self.exact.steps[-1]:
                    self.outcome.scores[stream].append(values[step.output])
            self.exact.forget(step, *streams.values())

    def _value(self, stream: str, step: Step, values: Values) -> NDArray[np.float32]:
        if stream in ("activations", "both"):
            values = self._read(step, values)
        if stream in ("weights", "both"):
            result = self._run(self.rounded, step, values)
        else:
            result = self.exact.run(step, values)
        return self._round(step.output, result) if stream in ("activations", "both") else result

    def _read(self, step: Step, values: Values) -> Values:
        """What a layer makes of its inputs: 8-bit ones round what float ones before them give."""
        name = self.names[step.output]
        found = {tensor: self.readings.get((name, self.names[tensor])) for tensor in values}
        rounded = {i: grid.round(values[i]) for i, grid in found.items() if grid is not None}
        return {**values, **rounded} if rounded else values

    def _run(self, network: StepwiseNetwork, step: Step, values: Values) -> NDArray[np.float32]:
        """A layer with the file's weights, whose activation clips in the file's own sizes."""
        import numpy as np

        factors = self.alignment.factors.get(self.names[step.output])
        if factors is None or step.weights is None:
            return network.run(step, values)
        low, high = network.activation(step)
        linear = network.run(step, values, linear=True)
        return np.clip(linear, low / factors, high / factors, out=linear)

    def _note_peaks(self, tensor: int, values: NDArray[np.float32]) -> None:
        import numpy as np

        peaks = np.abs(values).max(tuple(range(values.ndim - 1)))
        self.peaks[tensor] = np.maximum(self.peaks.get(tensor, peaks), peaks)

    def _has_levels(self, step: Step) -> bool:
        """Whether the file holds the layer in levels, and the layer computes anything."""
        name = self.names[step.output]
        held = name in self.grids or name in self.anatomy.layers
        return held and step.kind not in _MOVING

    def _round(self, tensor: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        grid = self.grids.get(self.names[tensor])
        return values if grid is None else grid.round(values)

    def _add(self, step: Step, base: Values, real: Values) -> None:
        """One layer: alone on the float network's inputs, and in the file."""
        name, grid = self.names[step.output], self.grids.get(self.names[step.output])
        sums = self.outcome.layers.setdefault(name, LayerSums(step.kind, grid))
        exact = base[step.output]
        sums.add(exact, self._round(step.output, self._run(self.rounded, step, base)))
        if step.output not in real or not all(i in real for i in step.computed_inputs):
            return
        sums.add_real(exact, real[step.output])
        real = self._read(step, real)
        simulated = self._round(step.output, self._run(self.rounded, step, real))
        sums.add_kernel(real[step.output], simulated)
        if step.bias is not None:
            own = self._round(step.output, self._run(self.uncorrected, step, real))
            sums.own_bias_noise += power(own - exact)


def _volume(shape: list[int]) -> int:
    volume = 1
    for n in shape:
        volume *= n
    return volume
