"""OpenVINO IR files on the CPU plugin or the GPU plugin."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import CONTRACT_KEY, Artifact
from edgezoo.core.errors import DataError, EdgeZooError, MissingError, RefusedError
from edgezoo.core.protocols import Description, Hints, IntegerKernels, TensorInfo
from edgezoo.core.ran_on import ASKED_BY, COMPUTED_IN, RanOn
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.core.typed_json import Json
from edgezoo.formats import operators
from edgezoo.runtimes import _causes, _openvino_hints, _openvino_xml
from edgezoo.runtimes._base import BaseRuntime, first_installed, parse_contract
from edgezoo.runtimes._causes import Cause
from edgezoo.runtimes._openvino_layers import integer_layers
from edgezoo.runtimes._session import BaseSession, quiet_native
from edgezoo.runtimes._silent import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The first release that reads an IR version, and an operation set
# (https://docs.openvino.ai: "Available Operation Sets").
_FIRST_IR = {"10": "2020.1", "11": "2022.1"}
_OPSETS = """
2020.1 2020.2 2020.4 2021.1 2021.2 2021.3 2021.4 2022.1 2022.2 2022.3 2023.0 2023.1 2023.2 2024.0
2024.5 2025.0
"""
_FIRST_OPSET = dict(enumerate(_OPSETS.split(), 1))
_GPU_HINT = (
    "OpenVINO's GPU plugin supports Intel GPUs: install the driver (intel-opencl-icd), and check "
    "the group (render). Or use --device cpu."
)
_TOO_NEW_OPSET = r"from unsupported opset: opset(?P<found>\d+)"
_CAUSES = (
    Cause(
        _TOO_NEW_OPSET,
        "it has operations of opset{found}, which this release does not know",
        "Update openvino, or convert the model with this release.",
    ),
    Cause(
        r"Opset (?P<opset>\S+) doesn't contain the operation with type: (?P<op>\S+)",
        "{opset} has no operation {op}",
        "It needs an extension, which EdgeZoo does not load: convert the model without it.",
    ),
)
_DAMAGED = r"Incorrect weights in bin file|pugi|parsing|out of range|Cannot open"
_OTHERWISE = "The files were read, but the graph is not valid there: convert the model again."
# Layers of the plugin that have weights, and so the precision of a network.
# What `get_rt_info` calls the mark, by release.
_MARKS = ("precise", "DisablePrecisionConversion")
_WEIGHTED = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
_DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8", "i8": "int8", "i32": "int32"}


@dataclass(frozen=True, slots=True)
class OpenVinoRuntime(BaseRuntime):
    """Runtime of `.xml` with its `.bin`."""

    name: str = "openvino"
    format: str = "openvino"
    suffixes: tuple[str, ...] = (".xml",)
    supported_devices: tuple[str, ...] = ("cpu", "gpu")
    extra: str = "openvino"
    packages: tuple[str, ...] = ("openvino",)
    distributions: tuple[str, ...] = ("openvino",)

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        if importlib.util.find_spec("openvino") is None:
            return ()
        return ("cpu", "gpu") if _has_gpu() else ("cpu",)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        return (path, path.with_suffix(".bin"))

    def read_contract(self, path: Path) -> Json | None:
        """See `Runtime`."""
        model = read_model(path)
        if not model.has_rt_info([CONTRACT_KEY]):
            return None
        return parse_contract(str(model.get_rt_info([CONTRACT_KEY]).value), path)

    def hints(self, path: Path) -> Hints:
        """See `Runtime`."""
        return _openvino_hints.hints(read_model(path))

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        model, needs = read_model(path), _requirements(path)
        ops = Counter(op.get_type_name() for op in model.get_ops())
        for structural in ("Constant", "Parameter", "Result"):
            del ops[structural]
        floating = _float_ops(model) if "FakeQuantize" in ops else ()
        inputs, outputs = _infos(model)
        counts, releases = dict(sorted(ops.items())), minimum_releases(needs)
        quantized = "FakeQuantize" in ops
        return Description(counts, floating, inputs, outputs, releases, quantized, needs)

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`."""
        ways = (
            "Export with EdgeZoo: its OpenVINO files are rounded so that no pair overflows.",
            "Or quantize with NNCF's OverflowFix.ENABLE (7 bits for every weight).",
        )
        return IntegerKernels("openvino, CPU plugin", integer_layers(read_model(path)), ways)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> OpenVinoSession:
        """See `Runtime`."""
        self.require_device(artifact, device, _GPU_HINT if device == "gpu" else "")
        model = read_model(artifact.path)
        return OpenVinoSession(*compile_model(model, artifact.path, device, threads))


class OpenVinoSession(BaseSession):
    """A compiled model with one inference request.

    `copies` is false: two requests that start at once in two threads can deadlock, since one holds
    Python's lock while the other waits for it.
    """

    def __init__(self, compiled: Any, ran_on: RanOn) -> None:
        self.ran_on = ran_on
        self._native = compiled.create_infer_request()
        self._shape: tuple[int, ...] = ()
        self._input: Any = None
        self.inputs, self.outputs = _infos(compiled)
        self.backend = ", ".join(compiled.get_property("EXECUTION_DEVICES"))

    def prepared(self, one: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """See `Session`; the request keeps its input, so that it is copied only once."""
        self._set_input(one)
        return self._infer

    def _run_one(self, batch: NDArray[Any]) -> Any:
        self._set_input(batch)
        return self._infer()

    def _set_input(self, batch: NDArray[Any]) -> None:
        # `infer([batch])` wraps, checks and copies for 0.2 ms, as long as a small network runs, and
        # `start_async` runs in another thread, which costs a small network as much.
        if batch.shape != self._shape:
            tensor = self._native.get_input_tensor()
            tensor.shape = self._shape = batch.shape
            self._input = tensor.data  # valid until the shape changes
        self._input[...] = batch

    def _infer(self) -> Any:
        self._native.infer(share_outputs=True)
        return self._native.get_output_tensor(self._chosen).data

    def close(self) -> None:
        """Release the request and its memory."""
        self._native = self._input = None


def open_exact(path: Path) -> OpenVinoSession:
    """Open a session on the CPU that computes whatever is not integer in float32."""
    return OpenVinoSession(*compile_model(read_model(path), path, exact=True))


def read_model(path: Path) -> Any:
    """Read the file as an `openvino.Model`.

    Raises:
        MissingError: openvino is not installed.
        DataError: the file is damaged, or its weights are not next to it.
    """
    registry.require_packages(("openvino",), "openvino", "Opening an OpenVINO file")
    openvino = load("openvino")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        missing = f"{path} has no weights file {weights.name} next to it."
        raise DataError(missing, "Copy both files.")
    _require_version(path, _openvino_xml.read(path).version)
    try:
        with quiet_native():
            return openvino.Core().read_model(str(path))
    except RuntimeError as error:
        raise _cause(path, error) from error


def _require_version(path: Path, version: str) -> None:
    """Refuse an IR version that no release of today reads, whose message does not tell that."""
    if version in _FIRST_IR:
        return
    older = version.isdecimal() and int(version) < min(map(int, _FIRST_IR))
    known = " and ".join(_FIRST_IR)
    raise RefusedError(
        f"{path} has IR version {version or 'unknown'}, and OpenVINO reads {known}.",
        "Convert the model again: OpenVINO 2022.1 was the last to read it."
        if older
        else "A newer OpenVINO may read it; else convert the model with this one.",
    )


def _cause(path: Path, error: Exception) -> EdgeZooError:
    """Return the error for a file that OpenVINO does not open, with the release that would."""
    version = first_installed(("openvino",)) or "openvino"
    found = _causes.error_of(path, version, error, _CAUSES, _DAMAGED, _OTHERWISE, -1)
    newer = re.search(_TOO_NEW_OPSET, str(error))
    if newer is not None and (release := _FIRST_OPSET.get(int(newer["found"]))):
        found.hint = f'Run: pip install "openvino>={release}"'
    return found


def _has_gpu() -> bool:
    core = load("openvino").Core
    with quiet_native():
        return any(name.startswith("GPU") for name in core().available_devices)


def compile_model(
    model: Any, path: Path, device: str = "cpu", threads: int = 1, exact: bool = False
) -> tuple[Any, RanOn]:
    """Compile a model; return it with the device and the precision that it reports.

    Args:
        model: the model.
        path: of its file, for errors.
        device: "cpu" or "gpu".
        threads: of the CPU.
        exact: let a CPU compute in float32 what the file leaves to the plugin, which takes
            bfloat16 (8 bits of mantissa) where the CPU has instructions for it. A file that asks
            for float32 gets it in any case: rewriting a network, the plugin can lose its marks.
    """
    core = load("openvino").Core()
    settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "cpu":
        settings["INFERENCE_NUM_THREADS"] = threads
    if exact:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    try:
        compiled = core.compile_model(model, device.upper(), settings)
        asked = device == "cpu" and not exact and _is_marked(model) and _rounds(compiled)
        if asked:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
            compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise _cause(path, error) from error
    places = [str(place) for place in compiled.get_property("EXECUTION_DEVICES")]
    if not all(place.startswith(device.upper()) for place in places):
        hint = _GPU_HINT if device == "gpu" else ""
        used = f"OpenVINO used {', '.join(places)} instead of {device.upper()}."
        raise MissingError(used, hint)
    name = str(core.get_property(places[0], "FULL_DEVICE_NAME"))
    details = {} if device != "cpu" else {COMPUTED_IN: _computed_in(compiled)}
    if asked:
        details[ASKED_BY] = "session"
    return compiled, RanOn(device, "hardware", name, True, details)


def _is_marked(model: Any) -> bool:
    """Return whether a file asks for float32: see exporters/_openvino_precision.py."""
    names = (str(name) for op in model.get_ops() for name in op.get_rt_info())
    return any(name.startswith(_MARKS) for name in names)


def _rounds(compiled: Any) -> bool:
    """Return whether any operation computes in bfloat16."""
    if "bfloat16" not in str(compiled.get_property("INFERENCE_PRECISION_HINT")):
        return False
    operations = compiled.get_runtime_model().get_ops()
    return any(str(op.get_rt_info()["runtimePrecision"].astype(str)) == "bf16" for op in operations)


def _computed_in(compiled: Any) -> str:
    """Return the types in which the plugin computes weighted layers, as it says itself."""
    found = set()
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        if str(info["layerType"].astype(str)) in _WEIGHTED:
            found.add(str(info["runtimePrecision"].astype(str)))
    return ", ".join(sorted(found)) or "unknown"


def _requirements(path: Path) -> tuple[Requirement, ...]:
    """Return what the XML requires of a release: its IR version and its newest opset."""
    head = _openvino_xml.read(path)
    ir, opset = _FIRST_IR.get(head.version), _FIRST_OPSET.get(head.opset)
    needs = ((f"IR version {head.version}", ir), (f"opset{head.opset}", opset))
    return tuple(Requirement(what, {"openvino": since} if since else {}) for what, since in needs)


def _infos(model: Any) -> tuple[tuple[TensorInfo, ...], ...]:
    return tuple(tuple(map(_info, ports)) for ports in (model.inputs, model.outputs))


def _info(port: Any) -> TensorInfo:
    kind = port.get_element_type().get_type_name()
    shape = tuple(n.get_length() if n.is_static else -1 for n in port.get_partial_shape())
    return TensorInfo(port.get_any_name(), shape, _DTYPES.get(kind, kind))


def _float_ops(model: Any) -> tuple[str, ...]:
    """Return the layers of a quantized model whose weights are not integers."""
    found = []
    for op in model.get_ops():
        if op.get_type_name() not in operators.OPENVINO:
            continue
        node = op.input_value(1).get_node()
        while node.get_type_name() != "Constant" and node.get_input_size():
            node = node.input_value(0).get_node()
        if node.get_element_type().get_type_name() not in ("i8", "u8"):
            found.append(op.get_type_name())
    return tuple(sorted(found))


RUNTIME = OpenVinoRuntime()
