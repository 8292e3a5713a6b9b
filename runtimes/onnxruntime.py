"""ONNX files by ONNX Runtime: a default session on the CPU, or the GPU provider of the package."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import CONTRACT_KEY, Artifact
from edgezoo.core.errors import DataError, EdgeZooError, MissingError
from edgezoo.core.protocols import Description, Hints, IntegerKernels, TensorInfo
from edgezoo.core.ran_on import RanOn
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.core.typed_json import Json
from edgezoo.formats import operators
from edgezoo.runtimes import _causes, _onnx_hints, _vulkan
from edgezoo.runtimes._base import BaseRuntime, first_installed, parse_contract
from edgezoo.runtimes._causes import Cause
from edgezoo.runtimes._onnx_external import external_files
from edgezoo.runtimes._onnx_layers import INTEGER, integer_layers
from edgezoo.runtimes._session import BaseSession, quiet_native
from edgezoo.runtimes._silent import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CPU_PROVIDER = "CPUExecutionProvider"
_MAIN_DOMAIN = ("", "ai.onnx")
_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
# Layers whose constant float bias the runtime quantizes when it loads the file.
_BIASED = tuple(name for name, operator in operators.ONNX.items() if operator.biased)
_FLOAT_ARITHMETIC = {*operators.ONNX, "BatchNormalization", "Add", "Mul", "Sub"}
# The first release of onnxruntime with an IR version, and with an opset of ai.onnx
# (https://onnxruntime.ai/docs/reference/compatibility.html).
_FIRST_IR = {3: "0.1", 4: "0.4", 5: "0.5", 6: "1.0", 7: "1.3", 8: "1.10", 9: "1.15", 10: "1.18"}
_OPSETS = "0.1 0.1 0.3 0.5 1.0 1.3 1.6 1.8 1.9 1.11 1.12 1.14 1.15 1.17 1.18"
_FIRST_OPSET = dict(enumerate(_OPSETS.split(), 7))
_TOO_NEW_IR = (
    r"Unsupported model IR version: (?P<found>\d+), max supported IR version: (?P<most>\d+)"
)
_TOO_NEW_OPSET = (
    r"Opset (?P<found>\d+) is under development.*domain (?P<domain>\S+) is till opset (?P<most>\d+)"
)
_CONVERT = (
    "No release up to the one that EdgeZoo was tested with reads it: update onnxruntime, or "
    "convert "
)
_CAUSES = (
    Cause(
        _TOO_NEW_IR,
        "it has IR version {found}, and this release reads up to {most}",
        f"{_CONVERT}the model with an onnx whose IR version is {{most}} or lower.",
    ),
    Cause(
        _TOO_NEW_OPSET,
        "it has opset {found} of {domain}, and this release reads up to {most}",
        f"{_CONVERT}the model to opset {{most}} or lower (onnx.version_converter).",
    ),
    Cause(
        r"No Op registered for (?P<op>\S+) with domain_version of (?P<opset>\d+)",
        "opset {opset} has no operation {op}",
        "Convert the model again: an operation of another library, or of a newer opset, is in it.",
    ),
    Cause(
        r"(?P<op>[\w.]+:\w+)\(-?\d+\) is not a registered function/op",
        "its operation {op} is not one of onnxruntime's",
        "It needs the library of the operation, which EdgeZoo does not load: convert the model "
        "without it.",
    ),
    Cause(
        r"Could not find an implementation for (?P<op>\w+)\((?P<opset>\d+)\)",
        "it has no kernel for {op} with the types that it has there",
        "Convert the model to float32, or without that operation.",
    ),
)
_DAMAGED = r"INVALID_PROTOBUF|Protobuf parsing failed|file size|out of bounds|ends before"
_OTHERWISE = "The file was read, but its graph is not valid there: convert the model again."
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-webgpu")
# GPU providers, best first; a package has one of these families.
_GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "WebGpuExecutionProvider")
_GPU_HINT = (
    "Install the GPU's driver, and instead of onnxruntime the package with its provider: "
    "onnxruntime-gpu for CUDA and TensorRT, onnxruntime-webgpu for others. Or use --device cpu."
)


@dataclass(frozen=True, slots=True)
class OnnxRuntime(BaseRuntime):
    """Runtime of `.onnx`."""

    name: str = "onnxruntime"
    format: str = "onnx"
    suffixes: tuple[str, ...] = (".onnx",)
    supported_devices: tuple[str, ...] = ("cpu", "gpu")
    extra: str = "onnx"
    packages: tuple[str, ...] = ("onnxruntime",)
    distributions: tuple[str, ...] = _DISTRIBUTIONS

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return ()
        return ("cpu", "gpu") if _gpu_provider() else ("cpu",)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`; including files with external tensors."""
        return (path, *external_files(path))

    def read_contract(self, path: Path) -> Json | None:
        """See `Runtime`."""
        text = session_of(str(path), path).get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
        return parse_contract(text, path) if text else None

    def hints(self, path: Path) -> Hints:
        """See `Runtime`; without onnx, the properties alone."""
        properties = session_of(str(path), path).get_modelmeta().custom_metadata_map
        known = importlib.util.find_spec("onnx") is not None
        return _onnx_hints.hints(properties, load_model(path) if known else None)

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        session = OnnxSession(session_of(str(path), path))  # raises for a damaged file
        model = load_model(path)
        ops = Counter(node.op_type for node in model.graph.node)
        quantized = bool({*_QUANTIZERS, *INTEGER} & set(ops))
        floating = _float_ops(model) if quantized else ()
        opset = next(entry.version for entry in model.opset_import if entry.domain in _MAIN_DOMAIN)
        needs = (
            _requirement(f"IR version {model.ir_version}", _FIRST_IR.get(model.ir_version)),
            _requirement(f"opset {opset}", _FIRST_OPSET.get(opset)),
        )
        releases = minimum_releases(needs)
        releases |= {"opset": str(opset), "ir_version": str(model.ir_version)}
        ins, outs, counts = session.inputs, session.outputs, dict(sorted(ops.items()))
        return Description(counts, floating, ins, outs, releases, quantized, needs)

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`."""
        ways = (
            "Export with EdgeZoo: its ONNX files are rounded so that no pair overflows.",
            "Or set session.x64quantprecision to 1 in the session options.",
            "Or quantize with uint8 weights (U8U8), or with reduce_range (7 bits).",
        )
        return IntegerKernels("onnxruntime", integer_layers(load_model(path)), ways)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> OnnxSession:
        """See `Runtime`."""
        self.require_device(artifact, device, _GPU_HINT if device == "gpu" else "")
        if device == "gpu":
            return OnnxSession(*_gpu_session(artifact.path, threads))
        return OnnxSession(session_of(str(artifact.path), artifact.path, threads))


class OnnxSession(BaseSession):
    """An InferenceSession, on the provider that it was created with."""

    def __init__(self, session: Any, ran_on: RanOn = BaseSession.ran_on) -> None:
        self._native, self.ran_on, self.copies = session, ran_on, ran_on.device == "cpu"
        self.inputs = tuple(_info(value) for value in session.get_inputs())
        self.outputs = tuple(_info(value) for value in session.get_outputs())
        self.backend = ", ".join(session.get_providers())

    def _run_one(self, batch: NDArray[Any]) -> Any:
        return self._native.run([self.outputs[0].name], {self.inputs[0].name: batch})[0]


def load_model(path: Path) -> Any:
    """Load the file as an `onnx.ModelProto`.

    Raises:
        MissingError: onnx is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        message = "Looking into an .onnx file needs onnx, which is not installed."
        raise MissingError(message, "Run: pip install onnx")
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
    """Create a session on one provider.

    Args:
        model: a file name, or the bytes of a model; `path` is for error messages.
        whole: fail where an operation would run on the CPU instead.

    Raises:
        MissingError: onnxruntime is not installed.
        DataError: it cannot be opened, or names files outside its folder.
    """
    registry.require_packages(("onnxruntime",), "onnx", "Opening an .onnx file")
    onnxruntime = load("onnxruntime")

    if isinstance(model, str):
        external_files(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4 if whole else 3  # failing is expected where `whole` is tried
    if whole:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        # Without enable_fallback=0, the CPU silently replaces a provider that fails.
        return onnxruntime.InferenceSession(model, options, providers=[provider], enable_fallback=0)
    except Exception as error:  # onnxruntime's own error classes have no common base
        raise _cause(path, error) from error


def _cause(path: Path, error: Exception) -> EdgeZooError:
    """Return the error for a file that onnxruntime does not open, with the release that would."""
    version = first_installed(_DISTRIBUTIONS) or "onnxruntime"
    found = _causes.error_of(path, version, error, _CAUSES, _DAMAGED, _OTHERWISE)
    for pattern, first in ((_TOO_NEW_IR, _FIRST_IR), (_TOO_NEW_OPSET, _FIRST_OPSET)):
        newer = re.search(pattern, str(error))
        main = newer is not None and newer.groupdict().get("domain", "") in _MAIN_DOMAIN
        if newer is not None and main and (release := first.get(int(newer["found"]))):
            found.hint = f'Run: pip install "onnxruntime>={release}"'
    return found


def _gpu_provider() -> str | None:
    """Return the provider for a GPU of this machine; None without provider or GPU."""
    onnxruntime = load("onnxruntime")

    present = set(onnxruntime.get_available_providers())
    provider = next((name for name in _GPU_PROVIDERS if name in present), None)
    if provider == "WebGpuExecutionProvider":
        return provider if _vulkan.adapters() or sys.platform == "darwin" else None
    return provider if Path("/dev/nvidiactl").exists() else None


def _gpu_session(path: Path, threads: int) -> tuple[Any, RanOn]:
    """Create a session on the GPU; return it with the device that it reports.

    Raises:
        MissingError: the provider fell back to the CPU, or failed.
    """
    provider = _gpu_provider() or ""
    session, fully = None, True  # the first attempt allows no operation on the CPU
    with quiet_native():
        with contextlib.suppress(DataError):
            session = session_of(str(path), path, threads, provider, whole=True)
        if session is None:
            fully = False  # some operations have no kernel on the GPU
            try:
                session = session_of(str(path), path, threads, provider)
            except DataError as error:
                raise MissingError(error.message, _GPU_HINT) from error
    used = session.get_providers()[0]
    if used != provider:
        raise MissingError(f"onnxruntime used {used} instead of {provider}.", _GPU_HINT)
    details = {"provider": provider}
    if provider != "WebGpuExecutionProvider":
        return session, RanOn("gpu", "hardware", None, fully, details)
    kind, name = _vulkan.chosen()
    return session, RanOn("gpu", kind, name, fully, details)


def _requirement(what: str, since: str | None) -> Requirement:
    """Return a requirement of all packages with this runtime; their release numbers agree."""
    return Requirement(what, dict.fromkeys(_DISTRIBUTIONS, since) if since else {})


def _info(value: Any) -> TensorInfo:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(n if isinstance(n, int) else -1 for n in value.shape)
    return TensorInfo(value.name, shape, {"float": "float32"}.get(kind, kind))


def _float_ops(model: Any) -> tuple[str, ...]:
    """Return the arithmetic operations whose inputs are not dequantized: they run in float."""
    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    stored = {tensor.name for tensor in model.graph.initializer}

    def in_integers(node: Any) -> bool:
        factors = [name for name in node.input if name]
        if node.op_type in _BIASED:
            factors = [*factors[:2], *(name for name in factors[2:] if name not in stored)]
        return all(name in dequantized for name in factors)

    nodes = [node for node in model.graph.node if node.op_type in _FLOAT_ARITHMETIC]
    return tuple(sorted(node.op_type for node in nodes if not in_integers(node)))


RUNTIME = OnnxRuntime()
