"""TFLite files on the CPU, by ai-edge-litert, tflite-runtime or TensorFlow, whichever is there.

`describe` and `read_contract` need nothing beyond that one package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.artifact import CONTRACT_KEY, LABELS_FILE, Artifact
from edgezoo.contracts import Description, IntegerKernels, TensorInfo
from edgezoo.errors import DataError, MissingError
from edgezoo.runtimes._session import BaseSession, device_refusal, quiet_stderr
from edgezoo.runtimes._tflite_layers import integer_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

# (module with the Interpreter, distribution), best first.
_PACKAGES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
_BORDER_OPS = {"QUANTIZE", "DEQUANTIZE"}


def _find_package() -> tuple[str, str] | None:
    for module, distribution in _PACKAGES:
        if importlib.util.find_spec(module.split(".")[0]) is not None:
            return module, distribution
    return None


def _interpreter(path: Path, threads: int = 1) -> Any:
    found = _find_package()
    if found is None:
        raise MissingError(
            "Opening a .tflite file needs a TFLite runtime, and none is installed.",
            'Run: pip install "edgezoo[tflite]"',
        )
    module, distribution = found
    try:
        interpreter_class = importlib.import_module(module).Interpreter
        with quiet_stderr():
            interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except AttributeError as error:
        if "_ARRAY_API" not in str(error):
            raise
        raise MissingError(
            f"{distribution} was built for numpy 1 and cannot run with the numpy 2 that is here.",
            'Run: pip install "numpy<2", or pip install ai-edge-litert instead.',
        ) from error
    except (ValueError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be opened by {distribution}: {str(error).splitlines()[0]}",
            "Check that the file is whole; a newer runtime may know more operations.",
        ) from error
    return interpreter


@dataclass(frozen=True, slots=True)
class LiteRtRuntime:
    """Runtime of `.tflite`."""

    name: str = "litert"
    format: str = "tflite"
    suffixes: tuple[str, ...] = (".tflite",)
    extra: str = "tflite"
    packages: tuple[str, ...] = ("ai_edge_litert",)

    def version(self) -> str | None:
        """See `Runtime`."""
        found = _find_package()
        if found is None:
            return None
        for name in (found[1], "tensorflow-cpu"):
            try:
                return f"{name} {importlib.metadata.version(name)}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return found[1]

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        return ("cpu",) if _find_package() else ()

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        return device_refusal(device, self.devices(), self.name)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        return (path,)

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        with path.open("rb") as stream:
            head = stream.read(8)
        if head[4:8] != b"TFL3":
            raise DataError(f"{path} is not a TFLite file.", "Check where it came from.")
        name = f"{CONTRACT_KEY}.json"
        attached = _read_attached(path, (name, LABELS_FILE))
        text = attached.get(name) or _read_embedded(path)
        if text is None:
            return None
        try:
            facts: dict[str, Any] = json.loads(text)
            facts.setdefault("labels", attached.get(LABELS_FILE, b"").decode().splitlines())
        except (ValueError, AttributeError) as error:
            raise DataError(f"The contract inside {path} is damaged.") from error
        return facts

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        interpreter = _interpreter(path)
        tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
        # Where a delegate took operations over, they stand behind its own entry in the list.
        ops = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
        quantized = any(t["quantization"][0] for t in tensors.values())
        floating = [
            op["op_name"]
            for op in ops
            if quantized
            and op["op_name"] not in _BORDER_OPS
            and any(_dtype(tensors[i]) == "float32" for i in op["outputs"] if i in tensors)
        ]
        return Description(
            dict(sorted(Counter(op["op_name"] for op in ops).items())),
            tuple(sorted(floating)),
            _infos(interpreter.get_input_details()),
            _infos(interpreter.get_output_details()),
            _minimum_runtime(path),
            quantized,
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`; without ai-edge-litert's schema, which reads the file, no layers."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return IntegerKernels("litert")
        return IntegerKernels("litert", integer_layers(path))

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> LiteRtSession:
        """See `Runtime`."""
        reason = self.refusal(artifact, device)
        if reason and self.devices():
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.")
        return LiteRtSession(_interpreter(artifact.path, threads))


class LiteRtSession(BaseSession):
    """An interpreter with its tensors allocated."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self.inputs = _infos(interpreter.get_input_details())
        self.outputs = _infos(interpreter.get_output_details())
        self._in = interpreter.get_input_details()[0]["index"]
        self._out = interpreter.get_output_details()[0]["index"]
        ops = (op["op_name"] for op in interpreter._get_ops_details())
        self.backend = "XNNPACK" if "DELEGATE" in ops else "built-in kernels"

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        self._interpreter.set_tensor(self._in, batch)
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_tensor(self._out)
        return output

    def close(self) -> None:
        """Drop the interpreter; its memory goes with it."""
        self._interpreter = None


def _dtype(detail: dict[str, Any]) -> str:
    import numpy as np

    return str(np.dtype(detail["dtype"]))


def _infos(details: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    infos = []
    for detail in details:
        scale, zero = detail["quantization"]
        infos.append(
            TensorInfo(
                detail["name"],
                tuple(int(n) for n in detail["shape"]),
                _dtype(detail),
                float(scale) or None,
                int(zero) if scale else None,
            )
        )
    return tuple(infos)


def _read_attached(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Files in the zip at the file's end, those that are there."""
    try:
        with zipfile.ZipFile(path) as files:
            return {name: files.read(name) for name in names if name in files.namelist()}
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return {}


def _read_embedded(path: Path) -> bytes | None:
    """The contract in the flatbuffer itself, without labels: where the zip was cut off."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    from edgezoo import flatbuffer

    return flatbuffer.read_metadata(flatbuffer.read_model(path), CONTRACT_KEY)


def _minimum_runtime(path: Path) -> dict[str, str]:
    """What the converter wrote about the oldest runtime."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return {}
    from edgezoo import flatbuffer

    stored = flatbuffer.read_metadata(flatbuffer.read_model(path), "min_runtime_version")
    return {"tflite": stored.rstrip(b"\0").decode()} if stored else {}


RUNTIME = LiteRtRuntime()
