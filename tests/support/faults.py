"""Spoils int8 TFLite files the way that converters, scripts and disks do, one fault at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.formats import tflite_flatbuffer


class Spoilt:
    """An int8 .tflite, opened to be spoilt; `save` writes it under another name."""

    def __init__(self, path: Path) -> None:
        self.model = tflite_flatbuffer.read_model(path)
        self.graph = self.model.subgraphs[0]

    def save(self, path: Path) -> Path:
        tflite_flatbuffer.write_model(self.model, path)
        return path

    def tensor(self, name: str) -> Any:
        return next(t for t in self.graph.tensors if tflite_flatbuffer.text(t.name) == name)

    def levels(self, name: str) -> Any:
        return tflite_flatbuffer.constant(self.model, self.tensor(name))

    def set_levels(self, name: str, levels: Any) -> None:
        tflite_flatbuffer.set_constant(self.model, self.tensor(name), levels)

    def layers(self, kind: str) -> list[str]:
        return [
            tflite_flatbuffer.text(self.graph.tensors[op.outputs[0]].name)
            for op in self.graph.operators
            if tflite_flatbuffer.op_name(self.model, op) == kind
        ]

    def rescale_bias(self, layer: str, factor: Any) -> None:
        """Let a bias mean the same in steps that are `factor` times as large."""
        bias = self.tensor(f"{layer}/bias")
        levels = self.levels(f"{layer}/bias")
        self.set_levels(f"{layer}/bias", np.clip(np.rint(levels / factor), -(2**31 - 1), 2**31 - 1))
        steps = np.broadcast_to(np.asarray(bias.quantization.scale) * factor, levels.shape)
        bias.quantization.scale = [float(step) for step in steps]
        bias.quantization.zeroPoint = [0] * len(steps)

    def rescale_activation(self, name: str, factor: float) -> None:
        """Give an activation steps of another size; its readers' biases follow."""
        quantization = self.tensor(name).quantization
        quantization.scale = [float(quantization.scale[0]) * factor]
        for op in self.graph.operators:
            inputs = [tflite_flatbuffer.text(self.graph.tensors[i].name) for i in op.inputs]
            if inputs[0] == name and len(inputs) == 3:
                self.rescale_bias(
                    tflite_flatbuffer.text(self.graph.tensors[op.outputs[0]].name), factor
                )

    def swap_channels(self) -> None:
        """The first layer takes BGR."""
        self.set_levels("conv1_relu/weights", self.levels("conv1_relu/weights")[..., ::-1])

    def shift_input(self) -> None:
        """Pixels mean 0 … 1, where the network was trained on -1 … 1."""
        self.rescale_activation("image/int8", 0.5)
        self.tensor("image/int8").quantization.zeroPoint = [-128]
        outer = self.tensor("image").quantization
        outer.scale, outer.zeroPoint = [float(outer.scale[0]) / 2], [0]

    def clip(self, layer: str, factor: float = 0.15) -> None:
        """A layer's range is a part of what it should be."""
        self.rescale_activation(layer, factor)

    def quantize_per_tensor(self, kind: str = "DEPTHWISE_CONV_2D", reach: float = 1.0) -> None:
        """One scale for all channels of a kernel, as if one of them reached further by a factor."""
        for layer in self.layers(kind):
            weights = self.tensor(f"{layer}/weights").quantization
            scales = np.asarray(weights.scale, np.float64)
            real = self.levels(f"{layer}/weights") * scales  # the channel is the last axis
            step = float(reach * np.abs(real).max() / 127)
            self.set_levels(f"{layer}/weights", np.rint(real / step))
            weights.scale, weights.zeroPoint = [step], [0]
            self.rescale_bias(layer, step / scales)
            bias = self.tensor(f"{layer}/bias").quantization
            bias.scale, bias.zeroPoint = [float(bias.scale[0])], [0]

    def share_out(self, first: str, second: str, factor: float) -> None:
        """No fault: a layer gives `factor` times its values, and the next one makes up for it."""
        for layer, size in ((first, factor), (second, 1 / factor)):
            weights = self.tensor(f"{layer}/weights").quantization
            weights.scale = [float(step) * size for step in weights.scale]
        bias = self.tensor(f"{first}/bias").quantization
        bias.scale = [float(step) * factor for step in bias.scale]
        output = self.tensor(first).quantization
        output.scale = [float(output.scale[0]) * factor]

    def flip_bits(self, layer: str, share: float = 0.02) -> None:
        """The highest bit but one of some weights is flipped."""
        levels = self.levels(f"{layer}/weights")
        flat = levels.reshape(-1)
        chosen = np.random.default_rng(0).choice(flat.size, max(1, int(share * flat.size)), False)
        flat[chosen] ^= 0x40
        self.set_levels(f"{layer}/weights", levels)

    def shift_bias(self, layer: str, share: float = 0.3) -> None:
        """A bias is a part of the output's range too large."""
        output = self.tensor(layer).quantization
        bias = self.tensor(f"{layer}/bias").quantization
        shift = share * 255 * float(output.scale[0]) / np.asarray(bias.scale, np.float64)
        self.set_levels(f"{layer}/bias", self.levels(f"{layer}/bias") + np.rint(shift))

    def keep_float(self, layer: str, weights: np.ndarray, bias: np.ndarray) -> None:
        """No fault: a layer computes in float, as those do that a guard keeps."""
        place, op = next(
            (i, op)
            for i, op in enumerate(self.graph.operators)
            if tflite_flatbuffer.text(self.graph.tensors[op.outputs[0]].name) == layer
        )
        taken, given = int(op.inputs[0]), int(op.outputs[0])
        before = self._float_tensor(f"{self._name(taken)}/float", self.graph.tensors[taken].shape)
        after = self._float_tensor(layer, self.graph.tensors[given].shape)
        self.graph.tensors[given].name = f"{layer}/int8"
        constants = [self._float_tensor(f"{layer}/{n}/float", v.shape, v)
                     for n, v in (("weights", weights), ("bias", bias))]  # fmt: skip
        op.inputs, op.outputs = [before, *constants], [after]
        self.graph.operators.insert(place + 1, self._operator("QUANTIZE", after, given))
        self.graph.operators.insert(place, self._operator("DEQUANTIZE", taken, before))

    def _name(self, index: int) -> str:
        return tflite_flatbuffer.text(self.graph.tensors[index].name)

    def _float_tensor(self, name: str, shape: Any, values: np.ndarray | None = None) -> int:
        api = tflite_flatbuffer.schema()
        tensor = api.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), api.TensorType.FLOAT32
        tensor.buffer = 0
        if values is not None:
            buffer = api.BufferT()
            buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _operator(self, kind: str, taken: int, given: int) -> Any:
        api = tflite_flatbuffer.schema()
        code, op = api.OperatorCodeT(), api.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(api.BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = [taken], [given]
        return op
