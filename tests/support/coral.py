"""Google's own pairs of plain and compiled Edge TPU files, which lie beside the checkout."""

from __future__ import annotations

import os

import pytest

from tests.conftest import SHARED

CORAL = SHARED / "coral"
PAIRS = (
    "deeplabv3_mnv2_dm05_pascal_quant",
    "keras_lstm_mnist_ptq",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160_quant",
    "split_concat",
)


def require() -> None:
    """Skip where the pairs are not there; fail on CI where they should be."""
    if all((CORAL / f"{name}{end}.tflite").is_file() for name in PAIRS for end in ("", "_edgetpu")):
        return
    if SHARED.exists() and os.environ.get("CI") == "true":
        pytest.fail(f"{CORAL} is not complete", pytrace=False)
    pytest.skip(f"needs Google's pairs of files in {CORAL}")
