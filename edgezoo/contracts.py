"""What an exporter, a runtime and a source of calibration images promise to the rest.

Each is a small Protocol; one file in exporters/ or runtimes/ fulfils it and is found by the
registry. The contract suites in tests/contract run on every file that claims to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgezoo.artifact import Artifact, InputContract
from edgezoo.rounding import Granularity
from edgezoo.spec import InputKind, ModelSpec, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The float forms of one frozen network. "base" is what the conversion gave; exporters start from
# the others: "float" takes what the job's input kind says, "prepared" has been made ready for
# 8 bits and takes pixel - 128, scaled.
Form = Literal[
    "base.tflite", "base.onnx", "float.tflite", "float.onnx", "prepared.tflite", "prepared.onnx"
]


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One file to be made.

    Attributes:
        io: dtype at the border of an int8 file, where the format lets one choose.
        granularity: of an int8 file's weights.
        seed: makes every random choice repeatable.
    """

    format: str
    precision: Precision
    input_kind: InputKind = "pixels"
    io: str | None = None
    granularity: Granularity = "per-channel"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One trained network in its float forms, on disk.

    All forms come from one trace and one frozen graph; which are there is what the exporters
    asked for. `contract` describes the network; exporters embed a copy that fits their file.
    """

    directory: Path
    contract: InputContract

    def preparation(self, form: Form) -> Path:
        """JSON beside a prepared form: input scale, activation ranges by tensor name, recipe."""
        return self.directory / f"{form}.json"

    def form(self, name: Form) -> Path:
        """Path of one form."""
        return self.directory / name


class CalibrationSource(Protocol):
    """Images that stand for what the model will see."""

    @property
    def count(self) -> int:
        """How many images."""

    @property
    def passport(self) -> dict[str, Any]:
        """Source, count, seed, list hash, class coverage: what the artifact records."""

    def pixels(self) -> Iterator[NDArray[np.uint8]]:
        """Each image in turn: uint8 RGB, shape (size, size, 3)."""


class Exporter(Protocol):
    """Makes files of one format."""

    name: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    precisions: tuple[Precision, ...]

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        """Why this job cannot be done, in words; None where it can."""

    def forms(self, contract: InputContract, job: ExportJob) -> tuple[Form, ...]:
        """The float forms that this job starts from."""

    def export(
        self,
        source: Source,
        job: ExportJob,
        calibration: CalibrationSource | None,
        stem: Path,
    ) -> Artifact:
        """Write `stem` + suffix (and files that belong to it), whole, with the contract inside."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor at the border of a file; scale and zero point where it is quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class Session(Protocol):
    """An artifact opened in a runtime, ready to run.

    `backend` is what the runtime says that runs it, such as "XNNPACK"; None where it does not say.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    backend: str | None

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Raw outputs, shape (n, classes), of n inputs in the file's own dtype and layout."""

    def infer(self, one: NDArray[Any]) -> NDArray[Any]:
        """Raw output of one input of the file's own shape, unchecked: what a stopwatch times."""

    def close(self) -> None:
        """Let go of the runtime's memory."""

    def __enter__(self) -> Session: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Description:
    """What stands in a file, for `inspect`.

    Attributes:
        ops: how many of each operation.
        float_ops: operations of an int8 file that still compute in floating point.
        minimum_runtime: the oldest runtime that the file itself asks for, by name.
        quantized: whether it computes in integers at all.
    """

    ops: dict[str, int]
    float_ops: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    minimum_runtime: dict[str, str]
    quantized: bool


LayerKind = Literal["conv", "depthwise", "dense"]
# Which neighbours vpmaddubsw adds: "flat" counts on through the kernel positions (im2col),
# "pixel" starts anew at each position.
Pairs = Literal["flat", "pixel"]


@dataclass(frozen=True, slots=True)
class IntegerLayer:
    """A layer that multiplies 8-bit numbers, and how its usual x86 kernel adds the products.

    Attributes:
        weights: the integers of the file as a kernel walks through them, shape
            (output channels, kernel positions, input channels of one group).
        weights_dtype, activations_dtype: numpy names.
        exact: why no kernel adds in 16 bits; None where one does.
    """

    name: str
    kind: LayerKind
    weights: NDArray[np.integer[Any]]
    weights_dtype: str
    activations_dtype: str
    pairs: Pairs = "flat"
    exact: str | None = None


@dataclass(frozen=True, slots=True)
class IntegerKernels:
    """The integer layers of a file, the runtime whose kernels are meant, and ways round them."""

    runtime: str
    layers: tuple[IntegerLayer, ...] = ()
    remedies: tuple[str, ...] = ()


class Runtime(Protocol):
    """Opens files of some formats on some devices."""

    name: str
    format: str
    suffixes: tuple[str, ...]
    extra: str
    packages: tuple[str, ...]

    def version(self) -> str | None:
        """Package and version that would run, or None where none is installed."""

    def devices(self) -> tuple[str, ...]:
        """Devices that are there now, such as ("cpu",)."""

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """Why this artifact cannot be opened on that device, in words."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files that belong to the artifact at `path`."""

    def read_contract(self, path: Path) -> dict[str, Any] | None:
        """The contract's JSON inside the file, None where there is none.

        Raises:
            DataError: the file is damaged or of another format.
        """

    def describe(self, path: Path) -> Description:
        """Operations, tensors and what the file asks of a runtime."""

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """The layers that compute in 8 bits, with their weights."""

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> Session:
        """A session; the device that was asked for, or a MissingError."""
