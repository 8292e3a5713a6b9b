"""The interfaces of exporters, runtimes, targets and sources of calibration images.

Each is a small Protocol or plain data, implemented by one file in exporters/, runtimes/ or targets/
that the registry finds. The contract suites in tests/contract run on every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.calibration_metadata import CalibrationMetadata
from edgezoo.core.ran_on import RanOn
from edgezoo.core.recipe import Qdq
from edgezoo.core.releases import Requirement
from edgezoo.core.rounding import Granularity
from edgezoo.core.spec import (
    InferencePrecision,
    InputKind,
    Layout,
    ModelSpec,
    Normalization,
    Precision,
    ResizeMode,
)
from edgezoo.core.typed_json import Json, optional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The intermediate models of one frozen network, all in float32. "base" is the result of the
# conversion; exporters start from the others: "float" takes what the job's input kind says; "fp16"
# is the same with biases that compensate for weights in float16; "prepared" is ready for
# quantization and takes pixel - 128, scaled.
Intermediate = Literal[
    "base.tflite",
    "base.onnx",
    "float.tflite",
    "float.onnx",
    "fp16.tflite",
    "fp16.onnx",
    "prepared.tflite",
    "prepared.onnx",
]


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One file to be made.

    Attributes:
        io: input/output type of an int8 file, where the format has a choice.
        granularity: of an int8 file's weights.
        qdq: the activations of an int8 ONNX file.
        embed_resize: let the file resize and crop images of any size.
        seed: makes every random choice repeatable.
        layout: of the input tensor.
        inference_precision: that the file asks for, where the format can and the user chose; None
            for the exporter's own choice.
    """

    format: str
    precision: Precision
    input_kind: InputKind = "pixels"
    io: str | None = None
    granularity: Granularity = "per-channel"
    seed: int = 0
    layout: Layout = "NHWC"
    embed_resize: bool = False
    inference_precision: InferencePrecision | None = None
    qdq: Qdq = "asymmetric"


@dataclass(frozen=True, slots=True)
class Source:
    """One trained network as intermediate models on disk.

    All intermediates come from one trace and one frozen graph; those that the exporters asked for
    are there. `contract` describes the network; exporters embed a copy that fits their file.
    """

    directory: Path
    contract: InputContract

    def preparation(self, intermediate: Intermediate) -> Path:
        """Path of the `recipe.Preparation` of a prepared intermediate."""
        return self.directory / f"{intermediate}.json"

    def intermediate(self, name: Intermediate) -> Path:
        """Path of one intermediate."""
        return self.directory / name


class CalibrationSource(Protocol):
    """Images that are representative of the model's input."""

    @property
    def count(self) -> int:
        """How many images."""

    @property
    def metadata(self) -> CalibrationMetadata:
        """What the artifact records about them."""

    def pixels(self) -> Iterator[NDArray[np.uint8]]:
        """Each image in turn: uint8 RGB, shape (size, size, 3)."""


class Exporter(Protocol):
    """Makes files of one format.

    `inference_precisions` are those that its files can ask a session for; often none.
    """

    name: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    precisions: tuple[Precision, ...]
    inference_precisions: tuple[InferencePrecision, ...]

    def refusal(self, spec: ModelSpec, job: ExportJob) -> str | None:
        """Why this job cannot be done, as a clause; None where it can."""

    def remark(self, job: ExportJob) -> str | None:
        """What a user should know of a choice in this job, as a sentence; None for nothing."""

    def intermediates(self, contract: InputContract, job: ExportJob) -> tuple[Intermediate, ...]:
        """The float intermediates that this job starts from."""

    def export(
        self, source: Source, job: ExportJob, calibration: CalibrationSource | None, stem: Path
    ) -> Artifact:
        """Write `stem` + suffix (and files that belong to it), whole, with the contract inside."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output tensor of a file; scale and zero point where it is quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


# Of the last operation: "linear" for sums of products, "other" for what no classifier ends with.
Activation = Literal["softmax", "sigmoid", "linear", "other"]


@dataclass(frozen=True, slots=True)
class Hints:
    """What a file without a contract states about itself, in the terms of other tools.

    Attributes:
        source: what states it, such as "TFLite metadata"; "" for nothing.
        normalization: of pixels into real values of the input.
        resize: how images become the input.
        labels: class names in the order of the output.
        activations: of each output; None where it is not known. Empty where none is known.
    """

    source: str = ""
    normalization: Normalization | None = None
    resize: ResizeMode | None = None
    labels: tuple[str, ...] = ()
    activations: tuple[Activation | None, ...] = ()


class Session(Protocol):
    """An artifact opened in a runtime, ready to run.

    `backend` is what runs it, such as "XNNPACK"; None where the runtime does not report it.
    `copies`: whether several sessions of one file may run at once, in threads.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ran_on: RanOn
    backend: str | None
    copies: bool

    @property
    def free_batch(self) -> bool:
        """Whether `prepared` takes any number of images."""

    def choose_output(self, position: int) -> None:
        """Return another output from now on, which becomes the first of `outputs`."""

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Raw outputs, shape (n, values), of n inputs in the file's own dtype and layout."""

    def prepared(self, one: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """Return a function that runs one input of the file's own shape, unchecked, to be timed.

        Work that a program does once, before it has an input in place, is done here and not timed.
        """

    def close(self) -> None:
        """Free the runtime's memory."""

    def __enter__(self) -> Session: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that a compiler made for one accelerator.

    Attributes:
        target: the accelerator, such as "coral".
        accelerator_ops: operations that the accelerator runs: compiled subgraphs.
        compiler: the identification of the Edge TPU compiler.
        cached_bytes: parameters that stay on the chip of an Edge TPU.
        streamed_bytes: parameters that are sent to it at every inference.
    """

    target: str
    accelerator_ops: int
    compiler: str | None = optional()
    cached_bytes: int | None = optional()
    streamed_bytes: int | None = optional()


@dataclass(frozen=True, slots=True)
class WeightedOperations:
    """Operations with weights and activations of the same types.

    Attributes:
        weights: type as stored in the file, such as int4 or float16
        activations: type of the input
        count: how many such operations
    """

    weights: str
    activations: str
    count: int


@dataclass(frozen=True, slots=True)
class FileFault:
    """Something in a file that some of its readers get wrong, all parts as sentences.

    Attributes:
        fault: a short name.
        evidence: what it is, and what comes of it.
        next: what to do.
    """

    fault: str
    evidence: str
    next: str


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a file, for `inspect`.

    Attributes:
        ops: how many of each operation.
        float_ops: operations of an int8 file that still compute in floating point.
        minimum_runtime: the oldest release that loads the file, by package.
        quantized: whether any operation computes in integers.
        requirements: what `minimum_runtime` follows from.
        compiled: of a file that a compiler made for one accelerator.
        weighted: types of weights and activations; empty where the reader does not tell.
        faults: what some readers of the file get wrong.
    """

    ops: dict[str, int]
    float_ops: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    minimum_runtime: dict[str, str]
    quantized: bool
    requirements: tuple[Requirement, ...] = ()
    compiled: Compiled | None = None
    weighted: tuple[WeightedOperations, ...] = ()
    faults: tuple[FileFault, ...] = ()


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
    """Opens files of some formats on some devices.

    `supported_devices` are the words of `--device` that it knows, present or not.
    """

    name: str
    format: str
    suffixes: tuple[str, ...]
    supported_devices: tuple[str, ...]
    extra: str
    packages: tuple[str, ...]

    def version(self) -> str | None:
        """Package and version that would run; None where none is installed."""

    def devices(self) -> tuple[str, ...]:
        """Devices that are available now, such as ("cpu",)."""

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """Why this artifact cannot be opened on that device, as a clause; None where it can."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files that belong to the artifact at `path`."""

    def read_contract(self, path: Path) -> Json | None:
        """The contract's JSON inside the file; None where the file has no contract.

        Raises:
            DataError: the file is damaged or of another format.
        """

    def hints(self, path: Path) -> Hints:
        """What a file without a contract states about itself."""

    def describe(self, path: Path) -> Description:
        """Operations, tensors and requirements of a file."""

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """The layers that compute in 8 bits, with their weights."""

    def open(self, artifact: Artifact, device: str = "cpu", threads: int = 1) -> Session:
        """Open a session on the device that was asked for, or raise a MissingError."""


@dataclass(frozen=True, slots=True)
class CpuOp:
    """An operation that does not run on the target's accelerator, and why."""

    op: str
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the operations of a file would run on a target, determined without its compiler.

    Attributes:
        mapped: how many operations run on the accelerator.
        cpu_ops: the others, in the file's order.
        subgraphs: parts of the network that the accelerator runs in one go.
        parameter_bytes: estimate of the memory that the mapped operations' parameters take there.
        streamed_bytes: estimate of those that do not fit into it and are sent at every inference.
    """

    mapped: int
    cpu_ops: tuple[CpuOp, ...]
    subgraphs: int
    parameter_bytes: int
    streamed_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a compiler's own model of the hardware predicts; never a measurement.

    Attributes:
        inference_ms: milliseconds of one inference.
        cycles: of the accelerator's clock, `clock_mhz`.
        sram_kib, dram_kib, flash_kib: memory in KiB, by the place that the configuration has.
        source: the estimating program, and its configuration.
    """

    inference_ms: float
    cycles: int
    clock_mhz: float
    sram_kib: float
    dram_kib: float
    flash_kib: float
    source: str


@dataclass(frozen=True, slots=True)
class Compilation:
    """The result of a target's compiler.

    Attributes:
        path: the compiled file.
        npu_ops, cpu_ops: operations of the source file by where they run.
        estimate: where the compiler has one.
        remarks: the compiler's messages about operations that stay on the CPU, with what to do.
    """

    path: Path
    npu_ops: int
    cpu_ops: int
    estimate: Estimate | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A device that files are made for: what it loads, and its compiler if it has one.

    Attributes:
        about: a short description.
        formats, precisions, io, input_kinds: what it loads; `export --target` chooses the first.
            `io` is the input/output type of an int8 file.
        runtime: name of the runtime that runs files for it; None where no runtime here does.
        memory: its size, as a text; None where that depends on the board.
        place: where each operation of a file would run.
        compile: makes a file for it in a folder, within a number of seconds.
        qdq: the activations of an int8 ONNX file.
        extra: the pip extra that `place` or `compile` needs; "" for none.
    """

    name: str
    about: str
    formats: tuple[str, ...]
    precisions: tuple[Precision, ...]
    io: tuple[str, ...]
    place: Callable[[Path], Placement]
    input_kinds: tuple[InputKind, ...] = ("pixels",)
    runtime: str | None = None
    memory: str | None = None
    compile: Callable[[Path, Path, float], Compilation] | None = None
    extra: str = ""
    qdq: Qdq = "asymmetric"
