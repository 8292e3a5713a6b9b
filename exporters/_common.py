"""Shared pieces of the exporters: refusals, and the contract of a file."""

from __future__ import annotations

from dataclasses import replace

from edgezoo.core.artifact import InputContract
from edgezoo.core.calibration_metadata import Quantization
from edgezoo.core.protocols import CalibrationSource, ExportJob, Intermediate, Source
from edgezoo.core.recipe import Preparation
from edgezoo.core.spec import Precision

_ONNX_INTERMEDIATES: dict[Precision, Intermediate] = {
    "float32": "float.onnx",
    "float16": "fp16.onnx",
    "int8": "prepared.onnx",
}


def onnx_intermediate(job: ExportJob) -> Intermediate:
    """Return the intermediate that ONNX and OpenVINO files of a precision start from."""
    return _ONNX_INTERMEDIATES[job.precision]


def io_refusal(job: ExportJob, allowed: tuple[str, ...], what: str) -> str | None:
    """Why a file cannot have the input and output type of --io, or None where it can.

    Args:
        job: the file to be made.
        allowed: types that an int8 file of the format can take.
        what: the format's name in a sentence, such as "an ONNX int8 file".
    """
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


def resize_refusal(job: ExportJob) -> str | None:
    """Why a format that has no operations for it does not resize (--embed-resize)."""
    if job.embed_resize:
        return "only ONNX files can resize and crop by themselves (--embed-resize)"
    return None


def takes_float(job: ExportJob) -> bool:
    """Whether the input type of an int8 file is float32."""
    return job.input_kind == "normalized" or job.io == "float32"


def contract_for(source: Source, job: ExportJob) -> InputContract:
    """Return the contract of a file with float32 input and output."""
    return replace(
        source.contract,
        precision=job.precision,
        input_kind=job.input_kind,
        output_dtype="float32",
        layout=job.layout,
    )


def quantized_contract(
    contract: InputContract,
    calibration: CalibrationSource | None,
    preparation: Preparation,
    quantizer: str,
    activations: str,
) -> InputContract:
    """State in the contract of an int8 file how it was calibrated and quantized.

    Args:
        contract: of the file.
        calibration: the images.
        preparation: of the prepared intermediate.
        quantizer: the library that quantized it.
        activations: their type.
    """
    recipe = preparation.recipe
    grid = ", pair-safe" if recipe.grid == "pair-safe" else ""
    weights = f"int8, {recipe.granularity.replace('-', ' ')}{grid}"
    return replace(
        contract,
        calibration=calibration.metadata if calibration else None,
        quantization=Quantization(
            quantizer, weights, activations, preparation.methods, recipe.effort, recipe.float_layers
        ),
    )
