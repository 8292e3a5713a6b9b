"""Shared pieces of the exporters: refusals, the contract of a file, and pair-safe scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgezoo.core.artifact import InputContract
from edgezoo.core.calibration_metadata import Quantization
from edgezoo.core.protocols import CalibrationSource, ExportJob, Intermediate, Source
from edgezoo.core.recipe import Preparation
from edgezoo.core.rounding import PIXEL_ZERO, weight_scales
from edgezoo.core.spec import InferencePrecision, Precision
from edgezoo.images.preprocessing import normalize

if TYPE_CHECKING:
    from edgezoo.core.arrays import Floats


@dataclass(frozen=True, slots=True)
class BaseExporter:
    """An exporter of all precisions; by default its files start from an ONNX intermediate."""

    name: str
    suffix: str
    packages: tuple[str, ...]
    extra: str = "export"
    precisions: tuple[Precision, ...] = ("float32", "float16", "int8")
    inference_precisions: tuple[InferencePrecision, ...] = ()

    def remark(self, job: ExportJob) -> str | None:
        """See `Exporter`."""
        return None

    def intermediates(self, contract: InputContract, job: ExportJob) -> tuple[Intermediate, ...]:
        """See `Exporter`."""
        return (onnx_intermediate(job),)


def onnx_intermediate(job: ExportJob) -> Intermediate:
    """Return the intermediate that ONNX and OpenVINO files of a precision start from."""
    if job.precision == "int8":
        return "prepared.onnx"
    return "fp16.onnx" if job.precision == "float16" else "float.onnx"


def io_refusal(job: ExportJob, allowed: tuple[str, ...], what: str) -> str | None:
    """Why `what`, such as "an ONNX int8 file", cannot have the type of --io, or None."""
    if job.io is None:
        return None
    if job.precision != "int8":
        return "the input type (--io) can be chosen for int8 files only"
    if job.io not in allowed:
        return f"{what} takes {' or '.join(allowed)} (--io {' or '.join(allowed)})"
    return None


def per_tensor_refusal(job: ExportJob) -> str | None:
    """Why a format has no per-tensor weights: its runtimes take per-channel ones."""
    if job.granularity == "per-channel":
        return None
    return (
        "all its runtimes take per-channel weights, which lose less; per-tensor ones are for "
        "accelerators that read TFLite"
    )


def qdq_refusal(job: ExportJob) -> str | None:
    """Why a format has no symmetric QDQ (--qdq)."""
    if job.qdq == "symmetric":
        return "only ONNX files are QDQ; symmetric activations (--qdq) are for their readers"
    return None


def resize_refusal(job: ExportJob) -> str | None:
    """Why a format that has no operations for it does not resize (--embed-resize)."""
    if job.embed_resize:
        return "only ONNX files can resize and crop by themselves (--embed-resize)"
    return None


def takes_float(job: ExportJob) -> bool:
    """Whether the input type of an int8 file is float32."""
    return job.input_kind == "normalized" or job.io == "float32"


def network_inputs(
    source: Source, preparation: Preparation, calibration: CalibrationSource
) -> Iterator[Floats]:
    """Yield what a prepared network takes for each calibration image: (1, size, size, 3)."""
    import numpy as np

    scale = np.float32(preparation.input_scale)
    for pixels in calibration.pixels():
        if scale:
            yield (pixels[None].astype(np.float32) - PIXEL_ZERO) * scale
        else:
            yield normalize(pixels[None], source.contract.normalization)


def contract_for(source: Source, job: ExportJob) -> InputContract:
    """Return the contract of a file with float32 input and output."""
    given = replace(source.contract, precision=job.precision, input_kind=job.input_kind)
    return replace(given, output_dtype="float32", layout=job.layout)


def quantized_contract(
    contract: InputContract,
    calibration: CalibrationSource | None,
    preparation: Preparation,
    quantizer: str,
    activations: str = "uint8",
) -> InputContract:
    """State how an int8 file was calibrated, and by which library it was quantized."""
    recipe, methods = preparation.recipe, preparation.methods
    grid = ", pair-safe" if recipe.grid == "pair-safe" else ""
    weights = f"int8, {recipe.granularity.replace('-', ' ')}{grid}"
    layers = recipe.float_layers
    made = Quantization(quantizer, weights, activations, methods, recipe.effort, layers)
    metadata = calibration.metadata if calibration else None
    return replace(contract, calibration=metadata, quantization=made)


def pair_safe_scales(kernel: Any, out: int, inner: int, given: list[float] | None) -> Any:
    """Return scales of a kernel, shaped to broadcast against it; `given` ones where chosen."""
    import numpy as np

    if given is not None:
        shape = [-1 if axis == out else 1 for axis in range(kernel.ndim)]
        return np.asarray(given, np.float32).reshape(shape)
    # Kernels walk through the input channels last, which makes the pairs.
    ordered = np.ascontiguousarray(np.moveaxis(kernel, (out, inner), (0, -1)))
    return np.moveaxis(weight_scales(ordered, 0, "pair-safe"), (0, -1), (out, inner))
