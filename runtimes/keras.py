"""The reference: a whole Keras model file, run by Keras itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.artifact import Artifact
from edgezoo.contracts import Description, IntegerKernels, TensorInfo
from edgezoo.errors import DataError, MissingError
from edgezoo.runtimes._session import BaseSession, device_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KerasRuntime:
    """Runtime of `.keras`; such a file carries no contract, so options must say its input."""

    name: str = "keras"
    format: str = "keras"
    suffixes: tuple[str, ...] = (".keras",)
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
        return (path,)

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """See `Runtime`."""
        return None

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        model = _load(path)
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
        return KerasSession(_load(artifact.path))


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


def _load(path: Path) -> Any:
    if importlib.util.find_spec("keras") is None:
        raise MissingError(
            "Opening a .keras file needs Keras, which is not installed.",
            'Run: pip install "edgezoo[export]"',
        )
    import keras

    try:
        return keras.models.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a foreign file leads to
        raise DataError(f"{path} cannot be loaded by Keras: {error}") from error


RUNTIME = KerasRuntime()
