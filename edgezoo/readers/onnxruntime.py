"""ONNX Runtime on the CPU, as every command of EdgeZoo opens it."""

from __future__ import annotations

from edgezoo.readers._base import RuntimeReader

READERS = (
    RuntimeReader("onnxruntime", ("onnx",), 'Run: pip install "edgezoo[onnx]".',
                  runtime="onnxruntime"),
)  # fmt: skip
