"""The operations that have weights, one row each: their kind, and how the weights are laid out.

To let EdgeZoo handle another weighted operation of a format, add its row here.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgezoo.core.protocols import LayerKind

# Kernels of this many numbers, 16 KB in float32, are hidden from converters, which copy them.
LARGE_KERNEL = 2**12


@dataclass(frozen=True, slots=True)
class Operator:
    """An operation with weights.

    Attributes:
        layout: axes of its weights: outputs O, inputs of one group I, height H, width W, groups G.
        biased: takes a bias as its third input.
    """

    kind: LayerKind
    layout: str
    biased: bool = True

    @property
    def output_axis(self) -> int:
        """The axis of the weights that counts output channels."""
        return self.layout.index("O")

    @property
    def input_axis(self) -> int:
        """The axis of the weights that counts channels of the input; outputs where depthwise."""
        return self.layout.index("O" if self.kind == "depthwise" else "I")

    def axes(self, layout: str) -> tuple[int, ...]:
        """Arguments of `transpose` that turn the weights to another layout."""
        return tuple(map(self.layout.index, layout))


TFLITE = {
    "CONV_2D": Operator("conv", "OHWI"),
    "DEPTHWISE_CONV_2D": Operator("depthwise", "IHWO"),
    "FULLY_CONNECTED": Operator("dense", "OI"),
}
# A Conv with as many groups as channels is depthwise; transB turns the weights of a Gemm.
ONNX = {
    "Conv": Operator("conv", "OIHW"),
    "Gemm": Operator("dense", "IO"),
    "MatMul": Operator("dense", "IO", biased=False),
}
# A GroupConvolution of one channel a group is depthwise; transpose_b turns those of a MatMul.
OPENVINO = {
    "Convolution": Operator("conv", "OIHW", biased=False),
    "GroupConvolution": Operator("conv", "GOIHW", biased=False),
    "MatMul": Operator("dense", "IO", biased=False),
}
# Custom operations of TFLite files that were compiled for one accelerator: target, and where they
# run.
EDGE_TPU = "edgetpu-custom-op"
COMPILED = {
    EDGE_TPU: ("coral", "a Coral Edge TPU (--device coral)"),
    "ethos-u": ("ethos-u", "a microcontroller with an Arm Ethos-U"),
}
