"""Simulates a file with its float network, layer by layer, and compares it with the real file.

Every stream is the same float network in TFLite's float kernels ("fake quantization"). "base" is
the unchanged network on the input of the file's first layer. "weights" has the file's weights and
biases, "activations" rounds every activation to the file's quantized values, "both" does both.
The remaining difference between "both" and the real file is the arithmetic of its kernels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from edgezoo.core.anatomy import Anatomy
from edgezoo.core.arrays import Floats, along, other_axes
from edgezoo.explanation.alignment import align, counterpart
from edgezoo.explanation.causes import StageName
from edgezoo.explanation.reference import Reference
from edgezoo.explanation.sums import LayerSums, power
from edgezoo.formats.tflite_stepwise import Step, StepwiseNetwork, Values

STREAMS: tuple[StageName, ...] = ("base", "weights", "activations", "both")
# Operations that move values without rounding.
_ENDS = ("SOFTMAX", "LOGISTIC")  # that turn logits into probabilities
_MOVING = {"RESHAPE", "PAD", "TRANSPOSE", "SQUEEZE"}

Outputs = dict[StageName, list[Floats]]

# Weights whose output is below this share of their bias have no effect.
_NEGLIGIBLE = 3e-5


@dataclass
class Outcome:
    """The outputs of the streams.

    Attributes:
        scores, logits: by stream, lists of (n, classes) float32; "file" has logits only.
        layers: sums by the layer's name, in the order of the network.
    """

    scores: Outputs = field(default_factory=lambda: defaultdict(list))
    logits: Outputs = field(default_factory=lambda: defaultdict(list))
    layers: dict[str, LayerSums] = field(default_factory=dict)


class Simulation:
    """A float network and the anatomy of a file made from it.

    Attributes:
        exact, rounded: the network with its own constants and with the file's.
        uncorrected: with the file's weights and the float network's biases, which shows the effect
            of the file's biases.
        names: of the tensors.
        anatomy, alignment: of the file; see `align`.
        grids, readings: of the anatomy, in the scale of the float network.
        peaks: largest absolute value of each channel in "base", by tensor.
        unmatched: weighted layers that the file does not have, or in another shape.
    """

    def __init__(self, reference: Reference, anatomy: Anatomy) -> None:
        self.exact = StepwiseNetwork(reference.path)
        self.rounded = StepwiseNetwork(reference.path)
        self.uncorrected = StepwiseNetwork(reference.path)
        self.names = [self.exact.name(i) for i in range(len(self.exact.graph.tensors))]
        self.anatomy, self.alignment = align(self.exact, anatomy)
        scaled = self.alignment.grid
        self.grids = {name: scaled(name, grid) for name, grid in anatomy.grids.items()}
        self.readings = {key: scaled(key[1], grid) for key, grid in anatomy.readings.items()}
        missing = [step for step in self.rounded.layers if not self._exchange(step)]
        self.unmatched = [self.names[step.output] for step in missing]
        self.outcome = Outcome()
        self.peaks: Values = {}
        last = self.exact.steps[-1]
        self.logits = last.computed_inputs[0] if last.kind in _ENDS else last.output

    def _exchange(self, step: Step) -> bool:
        """Replace the constants of one layer by the file's; False if the file has none that fit."""
        layer = counterpart(self.exact, step, self.anatomy)
        if layer is None or step.weights is None:
            return False
        values = self.alignment.as_float(self.exact, step, layer.weights)
        self.rounded.set_constant(step.weights, values)
        self.uncorrected.set_constant(step.weights, values)
        if step.bias is not None and layer.bias is not None:
            bias = self.alignment.real(self.names[step.output], layer.bias)
            self.rounded.set_constant(step.bias, bias)
        return True

    def step_of(self, name: str) -> Step:
        """Return the operation that computes a tensor."""
        return next(step for step in self.exact.steps if self.names[step.output] == name)

    def alive(self, step: Step) -> Floats:
        """Return 1 for weights that any image used, 0 for others; in the weights' shape.

        The weights of a channel that is always 0 have no effect and may have any value. So may
        those that are negligible compared with their bias (see `calibration.tiny_weights`).
        """
        weights, out = self.exact.weights(step), step.channel_axis
        used = np.ones_like(weights)
        if step.bias is not None:
            least = _NEGLIGIBLE * np.abs(self.exact.constant(step.bias))
            large = np.abs(weights).max(other_axes(weights, out)) >= least
            used *= along(large.astype(weights.dtype), out, weights.ndim)
        for tensor, axis in ((step.output, out), (step.computed_inputs[0], step.input_axis)):
            peaks = self.peaks.get(tensor)
            if peaks is not None and len(peaks) == weights.shape[axis]:
                used *= along((peaks > 0).astype(weights.dtype), axis, weights.ndim)
        return used

    def plain(self, inputs: Floats, stream: StageName) -> None:
        """Run the float network only, and store its outputs under the name of a stream."""
        self._forward({stream: {self.exact.input: inputs}}, {})

    def run(self, entered: Floats, traced: dict[str, Floats]) -> None:
        """Run all streams on some images, and add to the sums of each layer.

        `entered` is the input of the file's first layer, (n, size, size, 3); `traced` are tensors
        of the real file by name, (n, ...), channels last.
        """
        start: dict[StageName, Values] = {name: {self.exact.input: entered} for name in STREAMS}
        real: Values = {self.exact.input: entered}
        for step in self.exact.steps:
            values = traced.get(self.names[step.output])
            if values is not None:
                shape = self.exact.shape(step.output)
                if values[0].size * shape[0] == math.prod(shape):
                    values = values.reshape(len(values), *shape[1:])
                    real[step.output] = self.alignment.real(self.names[step.output], values)
        self._forward(start, real)
        if self.logits in real:
            self.outcome.logits["file"].append(real[self.logits])

    def _forward(self, streams: dict[StageName, Values], real: Values) -> None:
        """Run all operations; each value is dropped after its last use."""
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

    def _value(self, stream: StageName, step: Step, values: Values) -> Floats:
        if stream in ("activations", "both"):
            values = self._read(step, values)
        if stream in ("weights", "both"):
            result = self._run(self.rounded, step, values)
        else:
            result = self.exact.run(step, values)
        return self._round(step.output, result) if stream in ("activations", "both") else result

    def _read(self, step: Step, values: Values) -> Values:
        """Return a layer's inputs as it reads them: an int8 layer rounds the float ones."""
        name = self.names[step.output]
        found = {tensor: self.readings.get((name, self.names[tensor])) for tensor in values}
        rounded = {i: grid.round(values[i]) for i, grid in found.items() if grid is not None}
        return {**values, **rounded} if rounded else values

    def _run(self, network: StepwiseNetwork, step: Step, values: Values) -> Floats:
        """Run a layer; the activation function of an equalized one clips at the file's scale.

        Clipping does not commute with a factor: relu6(f x) / f is a clip of x at 6 / f.
        """
        factors = self.alignment.factors.get(self.names[step.output])
        if factors is None or step.weights is None:
            return network.run(step, values)
        low, high = network.activation(step)
        linear = network.run(step, values, linear=True)
        return np.clip(linear, low / factors, high / factors, out=linear)

    def _note_peaks(self, tensor: int, values: Floats) -> None:
        peaks = np.abs(values).max(tuple(range(values.ndim - 1)))
        self.peaks[tensor] = np.maximum(self.peaks.get(tensor, peaks), peaks)

    def _has_levels(self, step: Step) -> bool:
        """Whether the file quantizes the layer, and the layer computes anything."""
        name = self.names[step.output]
        return step.kind not in _MOVING and (name in self.grids or name in self.anatomy.layers)

    def _round(self, tensor: int, values: Floats) -> Floats:
        grid = self.grids.get(self.names[tensor])
        return values if grid is None else grid.round(values)

    def _add(self, step: Step, base: Values, real: Values) -> None:
        """Add the errors of one layer: alone on the float network's inputs, and in the file."""
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
            source = self._round(step.output, self._run(self.uncorrected, step, real))
            sums.source_bias_noise += power(source - exact)
