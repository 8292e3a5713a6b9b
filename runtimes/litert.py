"""TFLite files by ai-edge-litert, tflite-runtime or TensorFlow, whichever is installed.

On the CPU; on a GPU with ai-edge-litert; on a Coral Edge TPU with libedgetpu. `describe` and
`read_contract` need no other package.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import CONTRACT_KEY, LABELS_FILE, Artifact
from edgezoo.core.errors import DataError, EdgeZooError, MissingError, RefusedError
from edgezoo.core.files import open_regular
from edgezoo.core.labels import lines_of
from edgezoo.core.protocols import Description, Hints, IntegerKernels, TensorInfo
from edgezoo.core.ran_on import RanOn
from edgezoo.core.releases import minimum_releases
from edgezoo.core.typed_json import Json
from edgezoo.formats import tflite_flatbuffer
from edgezoo.formats.operators import EDGE_TPU
from edgezoo.runtimes import (
    _causes,
    _compiled,
    _edgetpu,
    _litert_gpu,
    _tflite_faults,
    _tflite_hints,
    _tflite_versions,
)
from edgezoo.runtimes._base import BaseRuntime, first_installed, parse_contract
from edgezoo.runtimes._causes import Cause
from edgezoo.runtimes._session import BaseSession, quiet_native
from edgezoo.runtimes._tflite_layers import integer_layers, weighted_operations

if TYPE_CHECKING:
    from numpy.typing import NDArray

# (module with the Interpreter, distribution), best first.
_PACKAGES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
_TOO_NEW = r"op for builtin opcode '(?P<op>\w+)' version '(?P<version>\d+)'"
_CAUSES = (
    Cause(
        _TOO_NEW,
        "it has no version {version} of {op}",
        "Update the runtime, or convert the model with an older converter.",
    ),
    Cause(
        r"Op builtin_code out of range: (?P<code>\d+)",
        "it does not know the operation with the code {code}",
        "Update the runtime, or convert the model with an older converter.",
    ),
    Cause(
        r"Select TensorFlow op\(s\).*\((?P<op>\w+)\) failed to prepare",
        "{op} is an operation of TensorFlow, which needs the Flex delegate",
        "Convert the model with tf.lite.OpsSet.TFLITE_BUILTINS alone.",
    ),
    Cause(
        r"unresolved custom op: (?P<op>[^\s.]+)",
        "its operation {op} is not one of TFLite's",
        "It needs the library of the operation, which EdgeZoo does not load: convert the model "
        "without it.",
    ),
)
_DAMAGED = r"not a valid [Ff]latbuffer|[Vv]erif|mmap|out of bounds|[Ii]nvalid (tensor|node) index"
_OTHERWISE = "Its operations or sizes do not fit together there: convert the model again."
_LARGEST_ATTACHED = 64 << 20
_IO_OPS = {"QUANTIZE", "DEQUANTIZE"}
_ANY_LENGTH = 256  # of an input that takes any, until one comes


def _find_package() -> tuple[str, str] | None:
    return next((p for p in _PACKAGES if importlib.util.find_spec(p[0].split(".")[0])), None)


def load_api() -> Any:
    """Import the module with `Interpreter` and `load_delegate` from the installed package.

    Raises:
        MissingError: no such package is installed.
    """
    found = _find_package()
    if found is None:
        message = "Opening a .tflite file needs a TFLite runtime, and none is installed."
        raise MissingError(message, 'Run: pip install "edgezoo[tflite]"')
    module, distribution = found
    try:
        return importlib.import_module(module)
    except (AttributeError, SystemError) as error:
        raise _built_for_numpy_1(error, distribution) from error


def _built_for_numpy_1(error: Exception, distribution: str) -> Exception:
    """Return the error to raise where an extension built for numpy 1 may have met numpy 2.

    Its class, and whether it occurs at import or at the first interpreter, depend on the releases.
    """
    if "_ARRAY_API" not in str(error) and not isinstance(error.__cause__, ImportError):
        return error
    return MissingError(
        f"{distribution} was built for numpy 1 and cannot run with the installed numpy 2.",
        'Run: pip install "numpy<2", or pip install ai-edge-litert instead.',
    )


def _interpreter(path: Path, threads: int = 1, **options: Any) -> Any:
    interpreter_class = load_api().Interpreter
    try:
        with quiet_native():
            interpreter = interpreter_class(model_path=str(path), num_threads=threads, **options)
            _close_sizes(interpreter)
            interpreter.allocate_tensors()
    except (AttributeError, SystemError) as error:
        raise _built_for_numpy_1(error, (_find_package() or ("", ""))[1]) from error
    except (ValueError, RuntimeError) as error:
        raise _cause(path, error) from error
    return interpreter


def _close_sizes(interpreter: Any) -> None:
    """Give an input of open height and width a size: at 1 x 1, kernels may not fit into it."""
    for detail in interpreter.get_input_details():
        signature = [int(n) for n in detail.get("shape_signature", ())]
        if min(signature[1:], default=0) < 0:
            shape = [1, *(_ANY_LENGTH if n < 0 else n for n in signature[1:])]
            interpreter.resize_tensor_input(detail["index"], shape)


def _cause(path: Path, error: Exception) -> EdgeZooError:
    """Return the error for a file that the runtime does not open, with the release that would."""
    opener = LiteRtRuntime().version() or "TFLite"
    found = _causes.error_of(path, opener, error, _CAUSES, _DAMAGED, _OTHERWISE)
    newer = re.search(_TOO_NEW, str(error))
    if newer is not None:
        need = _tflite_versions.requirement(newer["op"], int(newer["version"]))
        if releases := ", ".join(f"{name} {release}" for name, release in need.since.items()):
            found.hint = f"These releases and later ones have it: {releases}."
    return found


@dataclass(frozen=True, slots=True)
class LiteRtRuntime(BaseRuntime):
    """Runtime of `.tflite`."""

    name: str = "litert"
    format: str = "tflite"
    suffixes: tuple[str, ...] = (".tflite",)
    supported_devices: tuple[str, ...] = ("cpu", "gpu", "coral")
    extra: str = "tflite"
    packages: tuple[str, ...] = ("ai_edge_litert",)
    distributions: tuple[str, ...] = tuple(distribution for _, distribution in _PACKAGES)

    def version(self) -> str | None:
        """See `Runtime`."""
        found = _find_package()
        if found is None:
            return None
        return first_installed((found[1], "tensorflow-cpu")) or found[1]

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        if not _find_package():
            return ()
        gpu = ("gpu",) if _litert_gpu.is_there() else ()
        return ("cpu", *gpu, *(("coral",) if _edge_tpus() else ()))

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        if device in ("cpu", "gpu") and _compiled.operation(artifact.path):
            return _compiled.refusal(artifact.path)
        if device == "cpu" and _find_package():
            return None  # looking for other devices takes time
        return BaseRuntime.refusal(self, artifact, device)

    def read_contract(self, path: Path) -> Json | None:
        """See `Runtime`."""
        with open_regular(path) as stream:
            head = stream.read(8)
        if head[4:8] != b"TFL3":
            raise DataError(f"{path} is not a TFLite file.", "Check where it came from.")
        name = f"{CONTRACT_KEY}.json"
        attached = _read_attached(path, (name, LABELS_FILE))
        text = attached.get(name) or None
        model = _parsed(path) if text is None else None
        if model is not None:  # the zip was cut off: the flatbuffer has all but the labels
            text = tflite_flatbuffer.read_metadata(model, CONTRACT_KEY)
        if text is None:
            return None
        try:
            labels = lines_of(attached.get(LABELS_FILE, b""))
        except UnicodeDecodeError as error:
            raise DataError(f"The labels inside {path} are damaged.") from error
        return {"labels": labels, **parse_contract(text, path)}

    def hints(self, path: Path) -> Hints:
        """See `Runtime`; nothing without ai-edge-litert, whose schema reads the file."""
        model = _parsed(path)
        return Hints() if model is None else _tflite_hints.hints(model, path)

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        if _compiled.operation(path):
            return _compiled.describe(path)
        interpreter = _interpreter(path)
        tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
        # A delegate adds its own entry and leaves the operations that it replaced in the list.
        ops = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
        model = _parsed(path)
        quantized = any(t["quantization"][0] for t in _activations(tensors, ops, model))
        floats = {i for i in tensors if _dtype(tensors[i]) == "float32"} if quantized else set()
        floating = [
            op["op_name"]
            for op in ops
            if op["op_name"] not in _IO_OPS and floats.intersection(op["outputs"])
        ]
        counted = Counter(op["op_name"] for op in ops)
        counts, kept = dict(sorted(counted.items())), tuple(sorted(floating))
        inputs, outputs = _infos(interpreter)
        found = Description(counts, kept, inputs, outputs, {}, quantized)
        if model is None:
            return found
        needs = _tflite_versions.requirements(model)
        return replace(
            found,
            minimum_runtime=minimum_releases(needs),
            requirements=needs,
            weighted=weighted_operations(model),
            faults=_tflite_faults.faults(model),
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`; no layers without ai-edge-litert, whose schema reads the file."""
        model = _parsed(path)
        return IntegerKernels("litert", () if model is None else integer_layers(model))

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> BaseSession:
        """See `Runtime`."""
        path = artifact.path
        if device == "coral":
            return _open_on_coral(path, threads)
        _compiled.require_plain(path)
        if device != "cpu":
            self.require_device(artifact, device, _litert_gpu.INSTALL if device == "gpu" else "")
        if device == "gpu":
            return _litert_gpu.LiteRtGpuSession(path, *tensor_infos(path))
        return open_on_cpu(path, threads)


def open_on_cpu(path: Path, threads: int = 1) -> LiteRtSession:
    """Open a session on the CPU, with XNNPACK's kernels where they apply."""
    return LiteRtSession(_interpreter(path, threads))


def has_reference_kernels() -> bool:
    """Return whether the installed package can select the reference kernels."""
    return _find_package() is not None and hasattr(load_api(), "OpResolverType")


def open_reference(path: Path) -> LiteRtSession:
    """Open a session on the CPU with the kernels that define what each operation computes."""
    kernels = load_api().OpResolverType.BUILTIN_REF
    return LiteRtSession(_interpreter(path, experimental_op_resolver_type=kernels))


class LiteRtSession(BaseSession):
    """An interpreter with its tensors allocated."""

    def __init__(self, interpreter: Any, ran_on: RanOn = BaseSession.ran_on) -> None:
        self._native, self.ran_on, self.copies = interpreter, ran_on, ran_on.device == "cpu"
        self.inputs, self.outputs = _infos(interpreter)
        self._in = interpreter.get_input_details()[0]["index"]
        self._outs = [detail["index"] for detail in interpreter.get_output_details()]
        self._shape = tuple(map(int, interpreter.get_input_details()[0]["shape"]))
        signature = [int(n) for n in interpreter.get_input_details()[0].get("shape_signature", ())]
        self._free_batch = signature[:1] == [-1]
        self._open = self._free_batch or min(self.inputs[0].shape, default=1) < 1
        ops = (op["op_name"] for op in interpreter._get_ops_details())
        self.backend = "XNNPACK" if "DELEGATE" in ops else "built-in kernels"

    @property
    def free_batch(self) -> bool:
        """See `Session`."""
        return self._free_batch

    def _run_one(self, batch: NDArray[Any]) -> Any:
        if self._open and batch.shape != self._shape:
            self._native.resize_tensor_input(self._in, batch.shape)
            self._native.allocate_tensors()
            self._shape = batch.shape
        self._native.set_tensor(self._in, batch)
        self._native.invoke()
        return self._native.get_tensor(self._outs[self._chosen])

    def tensor(self, index: int) -> Any:
        """Return an output of the last run by its index in the file, including the batch axis."""
        return self._native.get_tensor(index)


def tensor_infos(path: Path) -> tuple[tuple[TensorInfo, ...], ...]:
    """Return inputs and outputs of a file, for runtimes that report less about them."""
    return _infos(_interpreter(path))


def _activations(tensors: dict[int, Any], ops: list[Any], model: Any) -> list[Any]:
    """Return details of the computed tensors and inputs; of all where `model` is None."""
    if model is None:
        return list(tensors.values())
    inputs = {int(i) for i in model.subgraphs[0].inputs}
    computed = inputs.union(*(map(int, op["outputs"]) for op in ops))
    return [detail for index, detail in tensors.items() if index in computed]


def _dtype(detail: Any) -> str:
    import numpy as np

    return str(np.dtype(detail["dtype"]))


def _infos(interpreter: Any) -> tuple[tuple[TensorInfo, ...], ...]:
    sides = interpreter.get_input_details(), interpreter.get_output_details()
    return tuple(tuple(map(_info, details)) for details in sides)


def _info(detail: Any) -> TensorInfo:
    scale, zero = detail["quantization"]
    grid = float(scale) or None, int(zero) if scale else None
    shape = list(map(int, detail["shape"]))
    # A size that is open is 1 in the shape, and -1 in the signature; one image is run at a time.
    signature = [int(n) for n in detail.get("shape_signature", ())]
    if len(signature) == len(shape):
        shape[1:] = signature[1:]
    return TensorInfo(detail["name"], tuple(shape), _dtype(detail), *grid)


def _parsed(path: Path) -> Any:
    """Return the file as a `ModelT`; None without ai-edge-litert, which has the schema."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    return tflite_flatbuffer.read_model(path)


def _read_attached(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Read files of these names from the zip at the end of a file, if present.

    Raises:
        DataError: one unpacks to more than a contract or a list of labels can be.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as files:
            for name in set(names) & set(files.namelist()):
                with files.open(name) as stream:
                    # Unpack no more than the limit, whatever size the zip states.
                    found[name] = stream.read(_LARGEST_ATTACHED + 1)
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return {}
    if any(len(data) > _LARGEST_ATTACHED for data in found.values()):
        raise DataError(f"{path} has more than {_LARGEST_ATTACHED >> 20} MiB attached.")
    return found


def _edge_tpus() -> int:
    """Count the Edge TPUs; 0 if their library does not load."""
    name = _edgetpu.library()
    try:
        return _edgetpu.device_count(name) if name else 0
    except MissingError:
        return 0


def _open_on_coral(path: Path, threads: int) -> LiteRtSession:
    """Open a session on an Edge TPU, after a trial run in a child process, which may crash."""
    if _compiled.operation(path) != EDGE_TPU:
        message = f"{path} was not compiled for the Edge TPU."
        raise RefusedError(message, "Compile it with --target coral first.")
    name = _edgetpu.library()
    if name is None:
        raise _edgetpu.cause("libedgetpu.so.1: cannot open shared object file", str(path))
    if not _edgetpu.device_count(name):
        raise _edgetpu.cause("Failed to load delegate", str(path))
    _edgetpu.check_opens(path, name)
    with quiet_native():
        interpreter = _edgetpu.open_interpreter(path, name, threads)
    names = {op["op_name"] for op in interpreter._get_ops_details()}
    on_chip = names <= {"EdgeTpuDelegateForCustomOp", EDGE_TPU}
    return LiteRtSession(interpreter, RanOn("coral", "hardware", "Edge TPU", on_chip))


RUNTIME = LiteRtRuntime()
