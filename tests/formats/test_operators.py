"""The table of weighted operations: axes of weights, and turns between layouts."""

from __future__ import annotations

import numpy as np
import pytest

from edgezoo.formats import operators

CHANNELS = {"O": 5, "I": 4, "H": 3, "W": 2}


@pytest.mark.parametrize(("tflite", "onnx"), [("CONV_2D", "Conv"), ("FULLY_CONNECTED", "Gemm")])
def test_turn_keeps_channels(tflite: str, onnx: str) -> None:
    source, target = operators.TFLITE[tflite], operators.ONNX[onnx]
    weights = np.zeros([CHANNELS[axis] for axis in source.layout])
    turned = weights.transpose(source.axes(target.layout))
    assert list(turned.shape) == [CHANNELS[axis] for axis in target.layout]
    for operator, values in ((source, weights), (target, turned)):
        assert values.shape[operator.output_axis] == CHANNELS["O"]
        assert values.shape[operator.input_axis] == CHANNELS["I"]


def test_depthwise_kernels_count_channels_once() -> None:
    depthwise = operators.TFLITE["DEPTHWISE_CONV_2D"]
    weights = np.zeros((1, 3, 2, 5))
    assert depthwise.output_axis == depthwise.input_axis == 3
    assert weights.transpose(depthwise.axes(operators.ONNX["Conv"].layout)).shape == (5, 1, 3, 2)
