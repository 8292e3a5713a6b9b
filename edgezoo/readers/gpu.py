"""The same runtimes on a GPU of this machine."""

from __future__ import annotations

from edgezoo.readers._base import RuntimeReader

_INSTALL = "Install the driver of a GPU that {} can use (docs/gpu.md)."

READERS = tuple(
    RuntimeReader(f"{runtime}-gpu", (format,), _INSTALL.format(title), runtime=runtime,
                  device="gpu", most_images=16)
    for runtime, format, title in (
        ("litert", "tflite", "LiteRT"),
        ("onnxruntime", "onnx", "ONNX Runtime"),
        ("openvino", "openvino", "OpenVINO"),
    )
)  # fmt: skip
