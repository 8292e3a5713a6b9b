"""Runs a float TFLite network one operation at a time, over a stack of images.

Each operation becomes a tiny model of its own in the runtime's own kernels, so every operation
of TFLite is covered, and its weights can be exchanged between two runs.
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.arrays import Floats
from edgezoo.formats import float_parts, operators, tflite_flatbuffer

Values = dict[int, Floats]  # of computed tensors, each of shape (n, ...)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: its place, kind, and tensor indices in the main graph.

    `others` are outputs behind the first, as of SPLIT.
    """

    index: int
    kind: str
    computed_inputs: tuple[int, ...]
    output: int
    weights: int | None = None
    bias: int | None = None
    others: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple[int, ...]:
        """All tensors that it computes."""
        return (self.output, *self.others)

    @property
    def channel_axis(self) -> int:
        """The axis of the weights that counts output channels."""
        return operators.TFLITE[self.kind].output_axis

    @property
    def input_axis(self) -> int:
        """The axis of the weights that counts channels of the input."""
        return operators.TFLITE[self.kind].input_axis

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads a single input channel."""
        return operators.TFLITE[self.kind].kind == "depthwise"


def preserving_interpreter(path: Path) -> Any:
    """A ready interpreter whose intermediate tensors can be read after each run."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter warns of the memory that it costs
        interpreter = Interpreter(str(path), num_threads=2, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


class StepwiseNetwork:
    """The main graph of a float TFLite file, to be run operation by operation."""

    def __init__(self, path: Path) -> None:
        self.model = tflite_flatbuffer.read_model(path)
        self.graph = self.model.subgraphs[0]
        self.input = int(self.graph.inputs[0])
        self.steps = [self._step(i, op) for i, op in enumerate(self.graph.operators)]
        self._last_uses = {i: step.index for step in self.steps for i in step.computed_inputs}

    def _step(self, index: int, op: Any) -> Step:
        kind = tflite_flatbuffer.op_name(self.model, op)
        inputs = [int(i) for i in op.inputs if i >= 0]
        changing = (i for i in inputs if not tflite_flatbuffer.is_constant(self.model, i))
        computed = tuple(dict.fromkeys(changing))
        weights = bias = None
        if kind in operators.TFLITE and len(inputs) > 1 and inputs[1] not in computed:
            weights = inputs[1]
            bias = inputs[2] if len(inputs) > 2 else None
        first, *others = (int(i) for i in op.outputs)
        return Step(index, kind, computed, first, weights, bias, tuple(others))

    def name(self, tensor: int) -> str:
        """Name of a tensor."""
        return tflite_flatbuffer.text(self.graph.tensors[tensor].name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(map(int, self.graph.tensors[tensor].shape))

    def is_float(self, tensor: int) -> bool:
        """Whether a tensor holds float32, which a quantizer may quantize."""
        return tflite_flatbuffer.tensor_dtype(self.graph.tensors[tensor]) == "float32"

    def float_parts(self) -> set[int]:
        """Indices of the steps that stay in float in an int8 file."""
        operations = [
            float_parts.Operation(
                step.kind, tuple(map(str, step.computed_inputs)), tuple(map(str, step.outputs))
            )
            for step in self.steps
        ]
        return float_parts.float_parts(operations, float_parts.TFLITE)

    @property
    def bytes_per_image(self) -> int:
        """Bytes of all activations in float32."""
        return sum(4 * math.prod(self.shape(step.output)) for step in self.steps)

    @property
    def layers(self) -> list[Step]:
        """The operations with weights."""
        return [step for step in self.steps if step.weights is not None]

    def weights(self, step: Step) -> NDArray[Any]:
        """Weights of a layer."""
        assert step.weights is not None
        return self.constant(step.weights)

    def constant(self, tensor: int) -> NDArray[Any]:
        """Values of a constant tensor."""
        values = tflite_flatbuffer.constant(self.model, self.graph.tensors[tensor])
        if values is None:
            raise ValueError(f"tensor {tensor} is computed, not constant")
        return values

    def set_constant(self, tensor: int, values: NDArray[Any]) -> None:
        """Replace values of a constant tensor."""
        tflite_flatbuffer.set_constant(self.model, self.graph.tensors[tensor], values)

    def activation(self, step: Step) -> tuple[float, float]:
        """The bounds of the activation that is fused into an operation."""
        options = self.graph.operators[step.index].builtinOptions
        kinds = tflite_flatbuffer.schema().ActivationFunctionType
        found = getattr(options, "fusedActivationFunction", 0)
        bounds = {kinds.RELU: (0.0, math.inf), kinds.RELU6: (0.0, 6.0)}
        bounds[kinds.RELU_N1_TO_1] = (-1.0, 1.0)
        return bounds.get(found, (-math.inf, math.inf))

    def forget(self, step: Step, *values: Values) -> None:
        """Drop the tensors that no operation behind `step` reads, so that memory stays bounded."""
        for tensor in step.computed_inputs:
            if self._last_uses[tensor] == step.index:
                for held in values:
                    held.pop(tensor, None)

    def fitting_images(self, most: int, bytes_: int) -> int:
        """How many images to run at once: at least 4, all of the largest tensor in `bytes_`."""
        largest = max(math.prod(self.shape(step.output)) for step in self.steps)
        return min(most, max(4, bytes_ // (4 * largest)))

    def run(
        self, step: Step, values: Values, weights: NDArray[Any] | None = None, linear: bool = False
    ) -> Floats:
        """Run one operation on every image: shape (n, ...) without the batch axis of one.

        Args:
            step, values: the operation, and the tensors that it reads.
            weights: in place of the operation's own.
            linear: leave its activation out.
        """
        return self._run(step, values, weights, linear)[step.output]

    def run_all(self, step: Step, values: Values) -> Values:
        """Run one operation as `run` does, and return all tensors that it computes."""
        return self._run(step, values, None, False)

    def _run(
        self, step: Step, values: Values, weights: NDArray[Any] | None, linear: bool
    ) -> Values:
        interpreter, inputs, outputs = self._interpreter(step, weights, linear)
        count = len(next(iter(values.values())))
        results: dict[int, Any] = {}
        for i in range(count):
            for tensor, detail in inputs:
                value = values[tensor][i].reshape(detail["shape"])
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            for tensor, index in outputs:
                result = interpreter.get_tensor(index)
                if tensor not in results:
                    # The converter may reshape a feature map of one pixel to (channels,).
                    shape = result.shape[1:] if result.shape[:1] == (1,) else result.shape
                    results[tensor] = np.empty((count, *shape), result.dtype)
                results[tensor][i] = result.reshape(results[tensor].shape[1:])
        return results

    def _interpreter(
        self, step: Step, weights: NDArray[Any] | None, linear: bool
    ) -> tuple[Any, list[tuple[int, dict[str, Any]]], list[tuple[int, int]]]:
        import flatbuffers
        from ai_edge_litert.interpreter import Interpreter

        model = self._single(step, weights, linear)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        interpreter = Interpreter(model_content=bytes(builder.Output()), num_threads=1)
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()
        pairs = list(zip(step.computed_inputs, details, strict=True))
        places = [detail["index"] for detail in interpreter.get_output_details()]
        return interpreter, pairs, list(zip(step.outputs, places, strict=True))

    def _single(self, step: Step, weights: NDArray[Any] | None, linear: bool) -> Any:
        """A model of this one operation."""
        api = tflite_flatbuffer.schema()
        source = self.graph.operators[step.index]
        op = copy.copy(source)
        op.builtinOptions = copy.copy(source.builtinOptions)
        if linear:
            op.builtinOptions.fusedActivationFunction = api.ActivationFunctionType.NONE
        model, graph = api.ModelT(), api.SubGraphT()
        model.version, model.subgraphs = 3, [graph]
        model.operatorCodes = [self.model.operatorCodes[source.opcodeIndex]]
        empty = api.BufferT()
        model.buffers, graph.tensors, graph.operators = [empty], [], [op]
        places: dict[int, int] = {}
        for index in dict.fromkeys(int(i) for i in (*source.inputs, *source.outputs) if i >= 0):
            tensor = copy.copy(self.graph.tensors[index])
            places[index], tensor.buffer = len(graph.tensors), 0
            if tflite_flatbuffer.is_constant(self.model, index):
                buffer = self.model.buffers[self.graph.tensors[index].buffer]
                tensor.buffer = len(model.buffers)
                model.buffers.append(copy.copy(buffer))
            graph.tensors.append(tensor)
        op.opcodeIndex = 0
        op.inputs = [places.get(int(i), -1) for i in source.inputs]
        op.outputs = [places[int(i)] for i in source.outputs]
        graph.inputs = [places[i] for i in step.computed_inputs]
        graph.outputs = list(op.outputs)
        if weights is not None and step.weights is not None:
            tflite_flatbuffer.set_constant(model, graph.tensors[places[step.weights]], weights)
        return model
