"""OpenVINO IR files on the CPU plugin or the GPU plugin."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import CONTRACT_KEY, Artifact
from edgezoo.core.errors import DataError, MissingError, words_of
from edgezoo.core.protocols import Description, IntegerKernels, RanOn, TensorInfo
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.core.typed_json import parse_json
from edgezoo.formats import operators
from edgezoo.runtimes import _openvino_xml
from edgezoo.runtimes._openvino_layers import integer_layers
from edgezoo.runtimes._session import BaseSession, device_refusal, quiet_native
from edgezoo.runtimes._silent import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The release that first read an IR version and an operation set
# (https://docs.openvino.ai: "Available Operation Sets").
_FIRST_IR = {"10": "2020.1", "11": "2022.1"}
_FIRST_OPSET = {
    1: "2020.1",
    2: "2020.2",
    3: "2020.4",
    4: "2021.1",
    5: "2021.2",
    6: "2021.3",
    7: "2021.4",
    8: "2022.1",
    9: "2022.2",
    10: "2022.3",
    11: "2023.0",
    12: "2023.1",
    13: "2023.2",
    14: "2024.0",
    15: "2024.5",
    16: "2025.0",
}
_GPU_HINT = (
    "OpenVINO's GPU plugin drives Intel GPUs: install the driver (intel-opencl-icd), and check "
    "the group (render). Or use --device cpu."
)
_DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8", "i8": "int8", "i32": "int32"}


@dataclass(frozen=True, slots=True)
class OpenVinoRuntime:
    """Runtime of `.xml` with its `.bin`."""

    name: str = "openvino"
    format: str = "openvino"
    suffixes: tuple[str, ...] = (".xml",)
    extra: str = "openvino"
    packages: tuple[str, ...] = ("openvino",)

    def version(self) -> str | None:
        """See `Runtime`."""
        try:
            return f"openvino {importlib.metadata.version('openvino')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        if importlib.util.find_spec("openvino") is None:
            return ()
        return ("cpu", "gpu") if _has_gpu() else ("cpu",)

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        if device == "cpu" and importlib.util.find_spec("openvino"):
            return None  # without loading the plugins to look for a GPU
        return device_refusal(device, self.devices(), self.name)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        return (path, path.with_suffix(".bin"))

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        model = read_model(path)
        if not model.has_rt_info([CONTRACT_KEY]):
            return None
        try:
            facts: dict[str, Any] = parse_json(str(model.get_rt_info([CONTRACT_KEY]).value))
        except ValueError as error:
            raise DataError(f"The contract inside {path} is damaged.") from error
        return facts

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        model = read_model(path)
        structural = {"Constant", "Parameter", "Result"}
        ops = Counter(
            op.get_type_name() for op in model.get_ops() if op.get_type_name() not in structural
        )
        floating = _float_ops(model) if "FakeQuantize" in ops else ()
        needs = _requirements(path)
        return Description(
            dict(sorted(ops.items())),
            floating,
            tuple(_info(port) for port in model.inputs),
            tuple(_info(port) for port in model.outputs),
            minimum_releases(needs),
            "FakeQuantize" in ops,
            needs,
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`."""
        return IntegerKernels(
            "openvino, CPU plugin",
            integer_layers(read_model(path)),
            (
                "Export with EdgeZoo: its OpenVINO files are rounded so that no pair overflows.",
                "Or quantize with NNCF's OverflowFix.ENABLE (7 bits for every weight).",
            ),
        )

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> OpenVinoSession:
        """See `Runtime`."""
        reason = self.refusal(artifact, device)
        if reason and self.devices():
            hint = _GPU_HINT if device == "gpu" else ""
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.", hint)
        model = read_model(artifact.path)
        return OpenVinoSession(*compile_model(model, artifact.path, device, threads))


class OpenVinoSession(BaseSession):
    """A compiled model with one inference request.

    `copies` stays false: two requests that start at once in two threads can wait for each other
    for good, one with Python's lock and one for it.
    """

    def __init__(self, compiled: Any, ran_on: RanOn) -> None:
        self.ran_on = ran_on
        self._request = compiled.create_infer_request()
        self._shape: tuple[int, ...] = ()
        self._input: NDArray[Any]
        self.inputs = tuple(_info(port) for port in compiled.inputs)
        self.outputs = tuple(_info(port) for port in compiled.outputs)
        self.backend = ", ".join(compiled.get_property("EXECUTION_DEVICES"))

    def prepared(self, one: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """See `Session`: the request keeps an input, so that it is copied once, as others do."""
        self._lay(one)
        return self._infer

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        self._lay(batch)
        return self._infer()

    def _lay(self, batch: NDArray[Any]) -> None:
        # `infer([batch])` wraps, checks and copies for 0.2 ms, as long as a small network runs;
        # `start_async` hands the work to another thread, and a small network feels that too.
        if batch.shape != self._shape:
            tensor = self._request.get_input_tensor()
            tensor.shape = self._shape = batch.shape
            self._input = tensor.data  # where it lies until the shape changes again
        self._input[...] = batch

    def _infer(self) -> NDArray[Any]:
        self._request.infer(share_outputs=True)
        output: NDArray[Any] = self._request.get_output_tensor().data
        return output

    def close(self) -> None:
        """Drop the request; its memory goes with it."""
        self._request = self._input = None  # type: ignore[assignment]


def read_model(path: Path) -> Any:
    """The file as an `openvino.Model`.

    Raises:
        MissingError: openvino is not installed.
        DataError: the file is damaged, or its weights are not beside it.
    """
    if importlib.util.find_spec("openvino") is None:
        raise MissingError(
            "Opening an OpenVINO file needs openvino, which is not installed.",
            'Run: pip install "edgezoo[openvino]"',
        )
    openvino = load("openvino")

    if not path.with_suffix(".bin").is_file():
        raise DataError(
            f"{path} has no weights file {path.with_suffix('.bin').name} beside it.",
            "Copy both files.",
        )
    _openvino_xml.read(path)
    try:
        with quiet_native():
            return openvino.Core().read_model(str(path))
    except RuntimeError as error:
        raise DataError(
            f"{path} cannot be read by OpenVINO: {words_of(error, -1)}.",
            "Check that both files are whole.",
        ) from error


def _has_gpu() -> bool:
    openvino = load("openvino")

    with quiet_native():
        return any(name.startswith("GPU") for name in openvino.Core().available_devices)


def compile_model(
    model: Any, path: Path, device: str = "cpu", threads: int = 1
) -> tuple[Any, RanOn]:
    """A compiled model, and what it runs on by its own word; `path` names it in an error."""
    openvino = load("openvino")

    core = openvino.Core()
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "cpu":
        settings["INFERENCE_NUM_THREADS"] = threads
        # Where a CPU multiplies bfloat16 in hardware (AMX, avx512_bf16), the plugin would compute a
        # float32 file in it without a word: 8 bits of mantissa, and other answers.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    try:
        compiled = core.compile_model(model, device.upper(), settings)
    except RuntimeError as error:
        raise DataError(
            f"{path} cannot be compiled by OpenVINO: {words_of(error, -1)}.",
            "Check that both files are whole.",
        ) from error
    places = [str(place) for place in compiled.get_property("EXECUTION_DEVICES")]
    if not all(place.startswith(device.upper()) for place in places):
        raise MissingError(
            f"OpenVINO took {', '.join(places)} in place of {device.upper()}.",
            _GPU_HINT if device == "gpu" else "",
        )
    name = str(core.get_property(places[0], "FULL_DEVICE_NAME"))
    return compiled, RanOn(device, "hardware", name, True)


def _requirements(path: Path) -> tuple[Requirement, ...]:
    """What the XML asks of a release: its IR version and its newest operation set."""
    head = _openvino_xml.read(path)
    needs = [(f"IR version {head.version}", _FIRST_IR.get(head.version))]
    needs.append((f"opset{head.opset}", _FIRST_OPSET.get(head.opset)))
    return tuple(Requirement(what, {"openvino": since} if since else {}) for what, since in needs)


def _info(port: Any) -> TensorInfo:
    kind = port.get_element_type().get_type_name()
    shape = tuple(n.get_length() if n.is_static else -1 for n in port.get_partial_shape())
    return TensorInfo(port.get_any_name(), shape, _DTYPES.get(kind, kind))


def _float_ops(model: Any) -> tuple[str, ...]:
    """Layers of a quantized model whose weights are no integers."""
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
