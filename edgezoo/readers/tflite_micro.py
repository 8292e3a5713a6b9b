"""The kernels of a microcontroller, on this machine's CPU."""

from __future__ import annotations

from edgezoo.readers._base import RuntimeReader

READERS = (
    RuntimeReader(
        "tflite-micro", ("tflite",), 'Run: pip install "edgezoo[micro]".', runtime="tflite_micro"
    ),
)
