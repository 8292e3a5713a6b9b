"""The seam: files on disk that describe themselves, and the manifest beside them.

An `InputContract` says what a file takes and gives. Exporters embed it in every file as the
JSON of `to_json`; runtimes read it back; nothing below this seam needs the exporter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgezoo.core import contract_fields
from edgezoo.core.errors import DataError
from edgezoo.core.files import file_sha256
from edgezoo.core.spec import (
    NORMALIZATIONS,
    USUAL_RESIZE,
    BuildArguments,
    InputKind,
    Layout,
    Normalization,
    OutputKind,
    Precision,
    Resize,
)

SCHEMA = 1
CONTRACT_KEY = "edgezoo_contract"
# One label a line, in a file that can carry other files.
LABELS_FILE = "labels.txt"


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """Where the weights came from: "imagenet", "file" or "random", with their hash."""

    source: str
    sha256: str
    file: str | None = None
    seed: int | None = None
    trained: bool = True
    licence: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class InputContract:
    """What an artifact takes and gives, in a form that fits inside the artifact.

    Attributes:
        input_kind: "pixels" (RGB 0 to 255; the normalisation is in the file) or "normalized"
            (the caller normalises as `preprocessing` says).
        input_dtype, output_dtype: numpy names of the tensors at the border of the file.
        crop_fraction, resize_filter: resize the shorter side to round(input_size /
            crop_fraction) by the filter ("bilinear", "bicubic"), then cut out the centre.
        classes: how many the output tells apart; 0 where it gives features.
        alpha, depth_multiplier, include_top, pooling, dropout, blocks, output_layer: as of
            `spec.BuildArguments`.
        output_kind: "probabilities" of classes, or "features" for what comes after.
        output_shape: without the batch; a feature map is (height, width, channels), whatever the
            layout of the input. Empty where it is not known.
        layout: of the input tensor.
        resizes: the file does that itself: it takes a decoded picture of any size.
        labels: class names in the order of the output; empty where unknown.
        calibration: metadata of the images that an int8 file was calibrated on.
    """

    model: str
    precision: Precision
    input_size: int
    preprocessing: str
    weights: WeightsRecord
    classes: int
    alpha: float | None = None
    depth_multiplier: int | None = None
    include_top: bool = True
    pooling: str | None = None
    dropout: float | None = None
    blocks: tuple[int, ...] | None = None
    output_layer: str | None = None
    input_kind: InputKind = "pixels"
    input_dtype: str = "float32"
    output_dtype: str = "float32"
    output_kind: OutputKind = "probabilities"
    output_shape: tuple[int, ...] = ()
    layout: Layout = "NHWC"
    color_order: str = "RGB"
    batch: int = 1
    resizes: bool = False
    crop_fraction: float = USUAL_RESIZE.crop_fraction
    resize_filter: str = USUAL_RESIZE.filter
    labels: tuple[str, ...] = ()
    calibration: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input tensor in its layout; -1 for any length."""
        size = -1 if self.resizes else self.input_size
        if self.layout == "NCHW":
            return (self.batch, 3, size, size)
        return (self.batch, size, size, 3)

    @property
    def arguments(self) -> BuildArguments:
        """Which network of the model it is."""
        facts = {name: getattr(self, name) for name in BuildArguments.__slots__}
        return BuildArguments.from_json({**facts, "classes": self.classes or None})

    @property
    def normalization(self) -> Normalization:
        """The numbers behind `preprocessing`."""
        return NORMALIZATIONS[self.preprocessing]

    @property
    def resize(self) -> Resize:
        """How a picture becomes `input_size` square."""
        return Resize(self.crop_fraction, self.resize_filter)

    @property
    def summary(self) -> str:
        """What the file takes and gives, in a sentence: for tools that show no more than a text."""
        width = "" if self.alpha is None else f" {self.alpha:g}"
        size = self.input_size
        side = f"{self.resize.shorter_side(size)} ({self.resize_filter})"
        takes = (
            f"{self.color_order} pixels 0 to 255"
            if self.input_kind == "pixels"
            else f"RGB normalised as {self.preprocessing}"
        )
        itself = " of a picture of any size" if self.resizes else ""
        of = f" of {self.classes} classes" if self.classes else ""
        return (
            f"{self.model}{width} {self.precision}, made by EdgeZoo. Takes {takes}{itself} as "
            f"{self.input_dtype} {self.layout}: shorter side resized to {side}, "
            f"then {size} x {size} cut out of the centre. Gives {self.output_kind}{of} as "
            f"{self.output_dtype}."
        )

    def for_file(self, **changes: Any) -> InputContract:
        """The same contract with what one file changes about it."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` turns it back."""
        facts = asdict(self)
        how = self.normalization
        facts["normalization"] = {
            "mode": how.mode,
            "scale": how.scale,
            "offset": how.offset,
            "channel_order": how.channel_order,
        }
        facts["resize"] = {
            "shorter_side": self.resize.shorter_side(self.input_size),
            "filter": self.resize_filter,
            "crop": "centre",
        }
        return {"schema": SCHEMA, **facts}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> InputContract:
        """Read what `to_json` wrote.

        Raises:
            DataError: a newer schema, fields that are missing or hold what none can hold.
        """
        if not isinstance(facts, dict):
            raise DataError("The contract inside the file is damaged: it is no object.")
        if facts.get("schema") != SCHEMA:
            raise DataError(
                f"The file carries a contract of schema {facts.get('schema')!r}; "
                f"this EdgeZoo reads schema {SCHEMA}.",
                "Upgrade EdgeZoo.",
            )
        values = {name: facts[name] for name in cls.__slots__ if name in facts}
        contract_fields.check(values)
        values["weights"] = WeightsRecord(**values["weights"])
        for name in ("labels", "output_shape"):
            values[name] = tuple(values.get(name) or ())
        values["blocks"] = tuple(values["blocks"]) if values.get("blocks") else None
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One exported model: its main file, the files that belong to it, and its contract.

    `trusted`: a user says that code in the file may run.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    contract: InputContract | None = None
    trusted: bool = False

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.stat().st_size for file in self.files)

    def sha256(self) -> str:
        """Hash of the file; where there are several, of their hashes in order."""
        import hashlib

        hashes = [file_sha256(file) for file in self.files]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def required_contract(self) -> InputContract:
        """The contract.

        Raises:
            DataError: the file carries none and none was given.
        """
        if self.contract is None:
            raise DataError(
                f"{self.path} carries no EdgeZoo contract, so its preprocessing is unknown.",
                f"Say it with --preprocessing {'|'.join(NORMALIZATIONS)} "
                "(and --labels FILE for names).",
            )
        return self.contract

    def to_json(self) -> dict[str, Any]:
        """The object that stands for this artifact in `export --json` and in the manifest."""
        contract = self.required_contract()
        return {
            "path": str(self.path),
            "format": self.format,
            "precision": contract.precision,
            "bytes": self.bytes,
            "sha256": self.sha256(),
            "model": contract.model,
            "alpha": contract.alpha,
            "input_size": contract.input_size,
            "trained": contract.weights.trained,
            "input": {
                "shape": list(contract.shape),
                "dtype": contract.input_dtype,
                "layout": contract.layout,
                "kind": contract.input_kind,
            },
            "files": [
                {"path": str(f), "bytes": f.stat().st_size, "sha256": file_sha256(f)}
                for f in self.files
            ],
        }
