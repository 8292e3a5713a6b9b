"""The reference: a network saved by Keras or TensorFlow, run by Keras itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.protocols import Activation, Description, Hints, TensorInfo
from edgezoo.core.spec import SAVED_MODEL_FILE
from edgezoo.core.typed_json import Json
from edgezoo.formats.keras_files import load_network, reading
from edgezoo.runtimes._base import BaseRuntime
from edgezoo.runtimes._session import BaseSession, quiet_native

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KerasRuntime(BaseRuntime):
    """Runtime of `.keras`, `.h5` and SavedModels (by the file that each of their folders has).

    Options must state what such a file takes, unless `edgezoo finetune` wrote it.
    """

    name: str = "keras"
    format: str = "keras"
    suffixes: tuple[str, ...] = (".keras", ".h5", ".hdf5", Path(SAVED_MODEL_FILE).suffix)
    extra: str = "export"
    packages: tuple[str, ...] = ("keras", "tensorflow")
    distributions: tuple[str, ...] = ("keras",)

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        if path.name != SAVED_MODEL_FILE:
            return (path,)
        return tuple(file for file in sorted(path.parent.rglob("*")) if file.is_file())

    def read_contract(self, path: Path) -> Json | None:
        """See `Runtime`."""
        return reading.read(_network_path(path)).contract

    def hints(self, path: Path) -> Hints:
        """See `Runtime`."""
        found = reading.read(_network_path(path))
        known: dict[str, Activation] = {
            "softmax": "softmax",
            "sigmoid": "sigmoid",
            "hard_sigmoid": "sigmoid",
            "linear": "linear",
            "log_softmax": "linear",
        }
        # Networks in networks do not state how they end: that is seen by their values.
        word = known.get(found.activation, "other") if found.activation else None
        return Hints(activations=(word,))

    def describe(self, path: Path) -> Description:
        """See `Runtime`."""
        model = _load(path, trust=False)
        ops = Counter(type(layer).__name__ for layer in model.layers)
        made = KerasSession(model)
        return Description(dict(sorted(ops.items())), (), made.inputs, made.outputs, {}, False)

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> KerasSession:
        """See `Runtime`; the number of threads is that of Keras' backend."""
        self.require_device(artifact, device)
        return KerasSession(_load(artifact.path, artifact.trusted))


class KerasSession(BaseSession):
    """A model in inference mode."""

    def __init__(self, model: Any) -> None:
        self._native = model
        size = tuple(n or -1 for n in model.input_shape[1:])
        kind = str(model.inputs[0].dtype)
        self.inputs = (TensorInfo("input", (1, *size), kind),)
        self.outputs = (TensorInfo("output", (1, *model.output_shape[1:]), "float32"),)

    @property
    def free_batch(self) -> bool:
        """See `Session`."""
        return True

    def _run_one(self, batch: NDArray[Any]) -> Any:
        return self._native.predict_on_batch(batch)


def _network_path(path: Path) -> Path:
    """Return the file, or the folder if it is the main file of a SavedModel."""
    return path.parent if path.name == SAVED_MODEL_FILE else path


def _load(path: Path, trust: bool) -> Any:
    registry.require_packages(("keras",), "export", f"Opening {path.name}")
    with quiet_native():
        return load_network.load(_network_path(path), trust)


RUNTIME = KerasRuntime()
