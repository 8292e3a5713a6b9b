"""ONNX files by ONNX Runtime: a plain default session on the CPU, or the package's GPU provider."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import CONTRACT_KEY, Artifact
from edgezoo.core.errors import DataError, MissingError, words_of
from edgezoo.core.protocols import Description, IntegerKernels, RanOn, TensorInfo
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.core.typed_json import parse_json
from edgezoo.formats import operators
from edgezoo.runtimes import _vulkan
from edgezoo.runtimes._onnx_external import external_files
from edgezoo.runtimes._onnx_layers import INTEGER, integer_layers
from edgezoo.runtimes._session import BaseSession, device_refusal, quiet_native
from edgezoo.runtimes._silent import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CPU_PROVIDER = "CPUExecutionProvider"
_MAIN_DOMAIN = ("", "ai.onnx")
_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
# The runtime makes integers of a constant bias when it loads a layer of these.
_BIASED = tuple(name for name, operator in operators.ONNX.items() if operator.biased)
_FLOAT_ARITHMETIC = {*operators.ONNX, "BatchNormalization", "Add", "Mul", "Sub"}
# The release of onnxruntime that first knew an IR version and an opset of ai.onnx
# (https://onnxruntime.ai/docs/reference/compatibility.html).
_FIRST_IR = {3: "0.1", 4: "0.4", 5: "0.5", 6: "1.0", 7: "1.3", 8: "1.10", 9: "1.15", 10: "1.18"}
_FIRST_OPSET = {
    7: "0.1",
    8: "0.1",
    9: "0.3",
    10: "0.5",
    11: "1.0",
    12: "1.3",
    13: "1.6",
    14: "1.8",
    15: "1.9",
    16: "1.11",
    17: "1.12",
    18: "1.14",
    19: "1.15",
    20: "1.17",
    21: "1.18",
}
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-webgpu")
# Providers of a GPU, best first; a package has one of these families.
_GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "WebGpuExecutionProvider")
_GPU_HINT = (
    "Install the GPU's driver, and in place of onnxruntime the package with its provider: "
    "onnxruntime-gpu for CUDA and TensorRT, onnxruntime-webgpu for others. Or use --device cpu."
)


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
        for name in _DISTRIBUTIONS:
            try:
                return f"{name} {importlib.metadata.version(name)}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return None

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return ()
        return ("cpu", "gpu") if _gpu_provider() else ("cpu",)

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        if device == "cpu" and importlib.util.find_spec("onnxruntime"):
            return None  # without loading the package to look for a GPU
        return device_refusal(device, self.devices(), self.name)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`; with the files that hold its large tensors, where there are any."""
        return (path, *external_files(path))

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        text = session_of(str(path), path).get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
        try:
            return parse_json(text) if text else None
        except ValueError as error:
            raise DataError(f"The contract inside {path} is damaged.") from error

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        session = OnnxSession(session_of(str(path), path))  # says what is wrong with a damaged file
        model = load_model(path)
        ops = Counter(node.op_type for node in model.graph.node)
        quantized = bool({*_QUANTIZERS, *INTEGER} & set(ops))
        floating = _float_ops(model) if quantized else ()
        opset = next(entry.version for entry in model.opset_import if entry.domain in _MAIN_DOMAIN)
        needs = (
            _requirement(f"IR version {model.ir_version}", _FIRST_IR.get(model.ir_version)),
            _requirement(f"opset {opset}", _FIRST_OPSET.get(opset)),
        )
        return Description(
            dict(sorted(ops.items())),
            floating,
            session.inputs,
            session.outputs,
            {**minimum_releases(needs), "opset": str(opset), "ir_version": str(model.ir_version)},
            quantized,
            needs,
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`."""
        return IntegerKernels(
            "onnxruntime",
            integer_layers(load_model(path)),
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
            hint = _GPU_HINT if device == "gpu" else ""
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.", hint)
        if device == "gpu":
            return OnnxSession(*_gpu_session(artifact.path, threads))
        return OnnxSession(session_of(str(artifact.path), artifact.path, threads))


class OnnxSession(BaseSession):
    """An InferenceSession, on the provider that it was made with."""

    def __init__(self, session: Any, ran_on: RanOn = BaseSession.ran_on) -> None:
        self._session = session
        self.ran_on = ran_on
        self.copies = ran_on.device == "cpu"
        self.inputs = tuple(_info(value) for value in session.get_inputs())
        self.outputs = tuple(_info(value) for value in session.get_outputs())
        self.backend = ", ".join(session.get_providers())

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = self._session.run(None, {self.inputs[0].name: batch})[0]
        return output

    def close(self) -> None:
        """Drop the session; its memory goes with it."""
        self._session = None


def load_model(path: Path) -> Any:
    """The file as an `onnx.ModelProto`.

    Raises:
        MissingError: onnx is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingError(
            "Looking into an .onnx file needs onnx, which is not installed.",
            "Run: pip install onnx",
        )
    import onnx

    external_files(path)
    return onnx.load(str(path))


def session_of(
    model: str | bytes,
    path: Path,
    threads: int = 1,
    provider: str = _CPU_PROVIDER,
    *,
    whole: bool = False,
) -> Any:
    """A session on one provider.

    Args:
        model: a file's name, or the bytes of a model.
        path: what to call it in an error.
        threads: of one run.
        provider: where it runs.
        whole: only where no operation is left to the CPU.

    Raises:
        MissingError: onnxruntime is not installed.
        DataError: it cannot be opened, or wants to read what is not in its folder.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingError(
            "Opening an .onnx file needs onnxruntime, which is not installed.",
            'Run: pip install "edgezoo[onnx]"',
        )
    onnxruntime = load("onnxruntime")

    if isinstance(model, str):
        external_files(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if whole:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.log_severity_level = 4
    try:
        # Without enable_fallback=0, a provider that fails is replaced by the CPU in silence.
        session = onnxruntime.InferenceSession(
            model, options, providers=[provider], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's own error classes have no common base
        raise DataError(
            f"{path} cannot be opened by onnxruntime: {words_of(error)}.",
            "Check that the file is whole.",
        ) from error
    return session


def _gpu_provider() -> str | None:
    """The provider that would run on a GPU of this machine, None where there is neither."""
    onnxruntime = load("onnxruntime")

    present = set(onnxruntime.get_available_providers())
    for provider in _GPU_PROVIDERS:
        if provider not in present:
            continue
        if provider == "WebGpuExecutionProvider":
            return provider if _vulkan.adapters() or sys.platform == "darwin" else None
        return provider if Path("/dev/nvidiactl").exists() else None
    return None


def _gpu_session(path: Path, threads: int) -> tuple[Any, RanOn]:
    """A session on the GPU, and what it runs on by its own word.

    Raises:
        MissingError: the provider fell back to the CPU, or failed.
    """
    provider = _gpu_provider() or ""
    fully = True
    with quiet_native():
        try:
            session = session_of(str(path), path, threads, provider, whole=True)
        except DataError:
            fully = False  # some operations have no kernel on the GPU
            session = None
        if session is None:
            try:
                session = session_of(str(path), path, threads, provider)
            except DataError as error:
                raise MissingError(error.message, _GPU_HINT) from error
    if session.get_providers()[0] != provider:
        raise MissingError(
            f"onnxruntime took {session.get_providers()[0]} in place of {provider}.", _GPU_HINT
        )
    details = {"provider": provider}
    if provider != "WebGpuExecutionProvider":
        return session, RanOn("gpu", "hardware", None, fully, details)
    kind, name = _vulkan.chosen()
    return session, RanOn("gpu", kind, name, fully, details)


def _requirement(what: str, since: str | None) -> Requirement:
    """Of all packages with this runtime; they count releases alike."""
    return Requirement(what, dict.fromkeys(_DISTRIBUTIONS, since) if since else {})


def _info(value: Any) -> TensorInfo:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(n if isinstance(n, int) else -1 for n in value.shape)
    return TensorInfo(value.name, shape, {"float": "float32"}.get(kind, kind))


def _float_ops(model: Any) -> tuple[str, ...]:
    """Arithmetic of a quantized file that does not stand between dequantizers: it runs in float."""
    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    stored = {tensor.name for tensor in model.graph.initializer}

    def in_integers(node: Any) -> bool:
        factors = [name for name in node.input if name]
        if node.op_type in _BIASED:
            factors = [*factors[:2], *(name for name in factors[2:] if name not in stored)]
        return all(name in dequantized for name in factors)

    return tuple(
        sorted(
            node.op_type
            for node in model.graph.node
            if node.op_type in _FLOAT_ARITHMETIC and not in_integers(node)
        )
    )


RUNTIME = OnnxRuntime()
