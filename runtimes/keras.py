"""The reference: a whole network as Keras or TensorFlow saved it, run by Keras itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import MissingError
from edgezoo.core.protocols import Description, IntegerKernels, TensorInfo
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.formats.keras_files import load_network, reading
from edgezoo.runtimes._session import BaseSession, device_refusal, quiet_native

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KerasRuntime:
    """Runtime of `.keras`, `.h5` and SavedModels (by the file that each folder of them has).

    Options must say what such a file takes, unless `edgezoo finetune` wrote it.
    """

    name: str = "keras"
    format: str = "keras"
    suffixes: tuple[str, ...] = (".keras", ".h5", ".hdf5", Path(SAVED_MODEL_FILE).suffix)
    supported_devices: tuple[str, ...] = ("cpu",)
    extra: str = "export"
    packages: tuple[str, ...] = ("keras", "tensorflow")

    def version(self) -> str | None:
        """See `Runtime`."""
        try:
            return f"keras {importlib.metadata.version('keras')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        return ("cpu",) if importlib.util.find_spec("keras") else ()

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        return device_refusal(device, self.devices(), self.name)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        if path.name != SAVED_MODEL_FILE:
            return (path,)
        return tuple(file for file in sorted(path.parent.rglob("*")) if file.is_file())

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        return reading.read(_network_path(path)).contract

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        model = _load(path, trust=False)
        ops = Counter(type(layer).__name__ for layer in model.layers)
        session = KerasSession(model)
        return Description(
            dict(sorted(ops.items())), (), session.inputs, session.outputs, {}, False
        )

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`; a Keras network computes in float."""
        return IntegerKernels(self.name)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> KerasSession:
        """See `Runtime`; Keras takes the threads that its backend takes."""
        reason = self.refusal(artifact, device)
        if reason and self.devices():
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.")
        return KerasSession(_load(artifact.path, artifact.trusted))


class KerasSession(BaseSession):
    """A model in inference mode."""

    def __init__(self, model: Any) -> None:
        self._model = model
        size = tuple(n or -1 for n in model.input_shape[1:])
        self.inputs = (TensorInfo("input", (1, *size), "float32"),)
        self.outputs = (TensorInfo("output", (1, *model.output_shape[1:]), "float32"),)

    def _run_one(self, batch: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = self._model.predict_on_batch(batch)
        return output

    def close(self) -> None:
        """Drop the model."""
        self._model = None


def _network_path(path: Path) -> Path:
    """The file, or the folder where it is the main file of a SavedModel."""
    return path.parent if path.name == SAVED_MODEL_FILE else path


def _load(path: Path, trust: bool) -> Any:
    if importlib.util.find_spec("keras") is None:
        raise MissingError(
            f"Opening {path.name} needs Keras, which is not installed.",
            'Run: pip install "edgezoo[export]"',
        )
    with quiet_native():
        return load_network.load(_network_path(path), trust)


RUNTIME = KerasRuntime()
