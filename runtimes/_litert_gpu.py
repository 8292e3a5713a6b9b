"""TFLite files on a GPU, by LiteRT's CompiledModel.

The chosen adapter is only in the log that LiteRT writes to the standard error file descriptor
while it compiles, so that log is captured and parsed.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import DataError, MissingError
from edgezoo.core.protocols import TensorInfo
from edgezoo.core.ran_on import RanOn
from edgezoo.runtimes import _vulkan
from edgezoo.runtimes._session import BaseSession, captured_native, quiet_native

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ADAPTER = re.compile(r"Selected adapter: (?P<name>[^,\n]+).*?adapterType=(?P<kind>[^\n]+)")
_OPEN_SIZE = "only supports static-sized tensors"
INSTALL = "Install the GPU's Vulkan driver and libvulkan1, or use --device cpu."


def is_there() -> bool:
    """Return whether this LiteRT can use a GPU and one is present."""
    names = ("ai_edge_litert", "ai_edge_litert.compiled_model")
    if not all(importlib.util.find_spec(name) for name in names):
        return False
    return not sys.platform.startswith("linux") or bool(_vulkan.adapters())


class LiteRtGpuSession(BaseSession):
    """A model compiled for the GPU only: operations that it cannot run are an error."""

    def __init__(
        self, path: Path, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]
    ) -> None:
        import numpy as np

        self.inputs, self.outputs = inputs, outputs
        self._native, log = _compile(path)
        with quiet_native():
            self._in = self._native.create_input_buffers(0)
            self._out = self._native.create_output_buffers(0)
            zeros = np.zeros(inputs[0].shape, inputs[0].dtype)
            self._run_one(zeros)  # the first run prints messages
        atexit.register(_silence)
        self.ran_on = _ran_on(log, self._native.is_fully_accelerated())

    def _run_one(self, batch: NDArray[Any]) -> Any:
        import numpy as np

        self._in[0].write(np.ascontiguousarray(batch))
        self._native.run_by_index(0, self._in, self._out)
        wanted = self.outputs[0]
        return self._out[self._chosen].read(int(np.prod(wanted.shape)), np.dtype(wanted.dtype))

    def close(self) -> None:
        """Release the buffers and then the model."""
        if self._native is None:
            return
        with quiet_native():  # buffers use the environment of the model, so they go first
            for buffer in (*self._in, *self._out):
                buffer.destroy()
            self._in = self._out = ()
            environment = self._native.environment
            self._native.close()
            environment.close()
        self._native = None


def _compile(path: Path) -> tuple[Any, str]:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    with captured_native() as log:
        try:
            model = CompiledModel.from_file(str(path), hardware_accel=HardwareAccelerator.GPU)
        except (RuntimeError, ValueError) as error:
            model, failure = None, error
    text = "\n".join(log)
    if model is not None:
        return model, text
    if "No adapters found" in text:
        raise MissingError(f"LiteRT finds no GPU to run {path} on.", INSTALL) from failure
    if _OPEN_SIZE in text:
        raise DataError(
            f"{path} cannot be compiled for the GPU: it has a dynamic size, such as its batch.",
            "Convert it for a batch of 1, or use --device cpu.",
        ) from failure
    # The last error counts: earlier ones may be of plugins for devices that nobody asked for.
    errors = [line for line in log if line.startswith("ERROR")]
    reason = (errors or str(failure).splitlines())[-1].lstrip("└ ").rstrip(". ")
    what = f"{path} cannot be compiled for the GPU: {reason}."
    raise DataError(what, "Use --device cpu.") from failure


def _silence() -> None:
    """At exit, LiteRT prints a message for each accelerator that it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _ran_on(log: str, fully: bool) -> RanOn:
    found = _ADAPTER.search(log)
    if found is None:
        return RanOn("gpu", "unknown", None, fully)
    software = "CPU" in found["kind"] or "Software" in found["kind"]
    return RanOn("gpu", "software" if software else "hardware", found["name"].strip(), fully)
