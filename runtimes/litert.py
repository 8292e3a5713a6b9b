"""TFLite files by ai-edge-litert, tflite-runtime or TensorFlow, whichever is there.

On the CPU; on a GPU with ai-edge-litert; on a Coral Edge TPU with libedgetpu. `describe` and
`read_contract` need nothing beyond that one package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import CONTRACT_KEY, LABELS_FILE, Artifact
from edgezoo.core.errors import DataError, MissingError, RefusedError, words_of
from edgezoo.core.protocols import Description, IntegerKernels, RanOn, TensorInfo
from edgezoo.core.releases import Requirement, minimum_releases
from edgezoo.core.typed_json import parse_json
from edgezoo.runtimes import _compiled, _edgetpu, _litert_gpu
from edgezoo.runtimes._session import BaseSession, device_refusal, quiet_native
from edgezoo.runtimes._tflite_layers import integer_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

# (module with the Interpreter, distribution), best first.
_PACKAGES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
_LARGEST_ATTACHED = 64 << 20
_BORDER_OPS = {"QUANTIZE", "DEQUANTIZE"}


def _find_package() -> tuple[str, str] | None:
    for module, distribution in _PACKAGES:
        if importlib.util.find_spec(module.split(".")[0]) is not None:
            return module, distribution
    return None


def load_api() -> Any:
    """The installed package's module with `Interpreter` and `load_delegate`.

    Raises:
        MissingError: there is none.
    """
    found = _find_package()
    if found is None:
        raise MissingError(
            "Opening a .tflite file needs a TFLite runtime, and none is installed.",
            'Run: pip install "edgezoo[tflite]"',
        )
    module, distribution = found
    try:
        return importlib.import_module(module)
    except (AttributeError, SystemError) as error:
        raise _built_for_numpy_1(error, distribution) from error


def _built_for_numpy_1(error: Exception, distribution: str) -> Exception:
    """What to raise where an extension for numpy 1 meets numpy 2: the error itself, or words.

    Which class comes, and whether at import or at the first interpreter, depends on the releases.
    """
    if "_ARRAY_API" not in str(error) and not isinstance(error.__cause__, ImportError):
        return error
    return MissingError(
        f"{distribution} was built for numpy 1 and cannot run with the numpy 2 that is here.",
        'Run: pip install "numpy<2", or pip install ai-edge-litert instead.',
    )


def _interpreter(path: Path, threads: int = 1) -> Any:
    interpreter_class = load_api().Interpreter
    try:
        with quiet_native():
            interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (AttributeError, SystemError) as error:
        raise _built_for_numpy_1(error, (_find_package() or ("", ""))[1]) from error
    except (ValueError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be opened by {(_find_package() or ('', ''))[1]}: {words_of(error)}.",
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
        if not _find_package():
            return ()
        gpu = ("gpu",) if _litert_gpu.is_there() else ()
        return ("cpu", *gpu, *(("coral",) if _edge_tpus() else ()))

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        if device in ("cpu", "gpu") and _compiled.operation(artifact.path):
            return _compiled.refusal(artifact.path)
        if device == "cpu" and _find_package():
            return None  # without looking for other devices, which takes time
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
            facts: dict[str, Any] = parse_json(text)
            facts.setdefault("labels", attached.get(LABELS_FILE, b"").decode().splitlines())
        except (ValueError, AttributeError) as error:
            raise DataError(f"The contract inside {path} is damaged.") from error
        return facts

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        if _compiled.operation(path):
            return _compiled.describe(path)
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
        needs = _requirements(path)
        return Description(
            dict(sorted(Counter(op["op_name"] for op in ops).items())),
            tuple(sorted(floating)),
            _infos(interpreter.get_input_details()),
            _infos(interpreter.get_output_details()),
            minimum_releases(needs),
            quantized,
            needs,
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`; without ai-edge-litert's schema, which reads the file, no layers."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return IntegerKernels("litert")
        return IntegerKernels("litert", integer_layers(path))

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> BaseSession:
        """See `Runtime`."""
        path = artifact.path
        if device == "coral":
            return _open_on_coral(path, threads)
        reason = self.refusal(artifact, device)
        if reason and _compiled.operation(path):
            raise RefusedError(f"{path} cannot be opened: {reason}.", _compiled.HINT)
        if reason and self.devices():
            hint = _litert_gpu.INSTALL if device == "gpu" else ""
            raise MissingError(f"{path} cannot be opened: {reason}.", hint)
        if device == "gpu":
            return _litert_gpu.LiteRtGpuSession(path, *tensor_infos(path))
        return open_on_cpu(path, threads)


def open_on_cpu(path: Path, threads: int = 1) -> LiteRtSession:
    """A session of the CPU's kernels, XNNPACK's where they apply."""
    return LiteRtSession(_interpreter(path, threads))


class LiteRtSession(BaseSession):
    """An interpreter with its tensors allocated."""

    def __init__(self, interpreter: Any, ran_on: RanOn = BaseSession.ran_on) -> None:
        self._interpreter = interpreter
        self.ran_on = ran_on
        self.copies = ran_on.device == "cpu"
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

    def tensor(self, index: int) -> NDArray[Any]:
        """An output of the last run by its index in the file, batch axis included."""
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return values

    def close(self) -> None:
        """Drop the interpreter; its memory goes with it."""
        self._interpreter = None


def tensor_infos(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of a file, for runtimes that tell less about them."""
    interpreter = _interpreter(path)
    return _infos(interpreter.get_input_details()), _infos(interpreter.get_output_details())


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
    """Files in the zip at the file's end, those that are there.

    Raises:
        DataError: one unpacks to more than a contract or a list of labels can have.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as files:
            for name in set(names) & set(files.namelist()):
                with files.open(name) as stream:
                    # No more than that is unpacked, whatever the zip says of its size.
                    found[name] = stream.read(_LARGEST_ATTACHED + 1)
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return {}
    if any(len(data) > _LARGEST_ATTACHED for data in found.values()):
        raise DataError(f"{path} has more attached than {_LARGEST_ATTACHED >> 20} MiB.")
    return found


def _read_embedded(path: Path) -> bytes | None:
    """The contract in the flatbuffer itself, without labels: where the zip was cut off."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    from edgezoo.formats import tflite_flatbuffer

    return tflite_flatbuffer.read_metadata(tflite_flatbuffer.read_model(path), CONTRACT_KEY)


def _requirements(path: Path) -> tuple[Requirement, ...]:
    """What the file asks of a runtime; nothing without ai-edge-litert, which reads it."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return ()
    from edgezoo.formats import tflite_flatbuffer
    from edgezoo.runtimes import _tflite_versions

    return _tflite_versions.requirements(tflite_flatbuffer.read_model(path))


def _edge_tpus() -> int:
    """How many Edge TPUs are there; 0 where their library does not load."""
    name = _edgetpu.library()
    try:
        return _edgetpu.device_count(name) if name else 0
    except MissingError:
        return 0


def _open_on_coral(path: Path, threads: int) -> LiteRtSession:
    """A session on an Edge TPU, after everything that may crash went well in a child."""
    if _compiled.operation(path) != _compiled.EDGE_TPU:
        raise RefusedError(
            f"{path} was not compiled for the Edge TPU.", "Compile it with --target coral first."
        )
    name = _edgetpu.library()
    if name is None:
        raise _edgetpu.cause("libedgetpu.so.1: cannot open shared object file", str(path))
    if not _edgetpu.device_count(name):
        raise _edgetpu.cause("Failed to load delegate", str(path))
    _edgetpu.check_opens(path, name)
    with quiet_native():
        interpreter = _edgetpu.open_interpreter(path, name, threads)
    on_chip = all(
        op["op_name"] in ("EdgeTpuDelegateForCustomOp", _compiled.EDGE_TPU)
        for op in interpreter._get_ops_details()
    )
    return LiteRtSession(interpreter, RanOn("coral", "hardware", "Edge TPU", on_chip))


RUNTIME = LiteRtRuntime()
