"""ONNX files by ONNX Runtime, in a plain default session on the CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.artifact import CONTRACT_KEY, Artifact
from edgezoo.contracts import Description, IntegerKernels, TensorInfo
from edgezoo.errors import DataError, MissingError
from edgezoo.runtimes._onnx_layers import integer_layers
from edgezoo.runtimes._session import BaseSession, device_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT_ARITHMETIC = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Sub"}
# The release of onnxruntime that first knew an IR version
# (https://onnxruntime.ai/docs/reference/compatibility.html).
_FIRST_RUNTIME = {7: "1.3", 8: "1.10", 9: "1.15", 10: "1.18"}


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """Runtime of `.onnx`."""

    name: str = "onnxruntime"
    format: str = "onnx"
    suffixes: tuple[str, ...] = (".onnx",)
    extra: str = "onnx"
    packages: tuple[str, ...] = ("onnxruntime",)

    def version(self) -> str | None:
        """See `Runtime`."""
        try:
            return f"onnxruntime {importlib.metadata.version('onnxruntime')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        return ("cpu",) if importlib.util.find_spec("onnxruntime") else ()

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        return device_refusal(device, self.devices(), self.name)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        return (path,)

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        text = _session(path, 1).get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise DataError(f"The contract inside {path} is damaged.") from error

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        session = OnnxSession(_session(path, 1))  # says what is wrong with a damaged file
        model = _load(path)
        ops = Counter(node.op_type for node in model.graph.node)
        floating = _float_ops(model) if "QuantizeLinear" in ops else ()
        opset = next(entry.version for entry in model.opset_import if not entry.domain)
        return Description(
            dict(sorted(ops.items())),
            floating,
            session.inputs,
            session.outputs,
            {
                "onnxruntime": _FIRST_RUNTIME.get(model.ir_version, "newest"),
                "opset": str(opset),
                "ir_version": str(model.ir_version),
            },
            "QuantizeLinear" in ops or "DequantizeLinear" in ops,
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`."""
        return IntegerKernels(
            "onnxruntime",
            integer_layers(_load(path)),
            (
                "Export with EdgeZoo: its ONNX files are rounded so that no pair overflows.",
                "Or set session.x64quantprecision to 1 in the session options.",
                "Or quantize with uint8 weights (U8U8), or with reduce_range (7 bits).",
            ),
        )

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> OnnxSession:
        """See `Runtime`."""
        reason = self.refusal(artifact, device)
        if reason and self.devices():
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.")
        return OnnxSession(_session(artifact.path, threads))


class OnnxSession(BaseSession):
    """An InferenceSession on the CPU provider."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(_info(value) for value in session.get_inputs())
        self.outputs = tuple(_info(value) for value in session.get_outputs())
        self.backend = ", ".join(session.get_providers())

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = self._session.run(None, {self.inputs[0].name: batch})[0]
        return output

    def close(self) -> None:
        """Drop the session; its memory goes with it."""
        self._session = None


def _load(path: Path) -> Any:
    if importlib.util.find_spec("onnx") is None:
        raise MissingError(
            "Looking into an .onnx file needs onnx, which is not installed.",
            "Run: pip install onnx",
        )
    import onnx

    return onnx.load(str(path))


def _session(path: Path, threads: int) -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingError(
            "Opening an .onnx file needs onnxruntime, which is not installed.",
            'Run: pip install "edgezoo[onnx]"',
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own error classes have no common base
        raise DataError(
            f"{path} cannot be opened by onnxruntime: {str(error).splitlines()[0]}",
            "Check that the file is whole.",
        ) from error
    return session


def _info(value: Any) -> TensorInfo:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(n if isinstance(n, int) else -1 for n in value.shape)
    return TensorInfo(value.name, shape, {"float": "float32"}.get(kind, kind))


def _float_ops(model: Any) -> tuple[str, ...]:
    """Arithmetic of a QDQ file that does not stand between dequantizers: it runs in float."""
    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    return tuple(
        sorted(
            node.op_type
            for node in model.graph.node
            if node.op_type in _FLOAT_ARITHMETIC
            and not all(name in dequantized for name in node.input if name)
        )
    )


RUNTIME = OnnxRuntime()
