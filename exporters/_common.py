"""What all exporters of this folder say alike."""

from __future__ import annotations

from edgezoo.core.calibration_metadata import Quantization
from edgezoo.core.protocols import ExportJob, Intermediate
from edgezoo.core.recipe import Preparation
from edgezoo.core.spec import Precision

_ONNX_FORMS: dict[Precision, Intermediate] = {
    "float32": "float.onnx",
    "float16": "fp16.onnx",
    "int8": "prepared.onnx",
}


def onnx_intermediate(job: ExportJob) -> Intermediate:
    """The intermediate that ONNX and OpenVINO files of a precision start from."""
    return _ONNX_FORMS[job.precision]


def border_refusal(job: ExportJob, allowed: tuple[str, ...], what: str) -> str | None:
    """Why the type at the file's border (--io) cannot be had, in words; None where it can.

    Args:
        job: what is to be made.
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
    """Why a format that only runs where per-channel weights do has no others."""
    if job.granularity == "per-channel":
        return None
    return (
        "all its runtimes take per-channel weights, which lose less; per-tensor ones are for "
        "accelerators that read TFLite"
    )


def resize_refusal(job: ExportJob) -> str | None:
    """Why a format without operations for it does not resize by itself (--embed-resize)."""
    if job.embed_resize:
        return "only ONNX files can resize and crop by themselves (--embed-resize)"
    return None


def takes_float(job: ExportJob) -> bool:
    """Whether an int8 file has float32 at its border."""
    return job.input_kind == "normalized" or job.io == "float32"


def quantization_record(quantizer: str, activations: str, preparation: Preparation) -> Quantization:
    """State in an int8 file's contract how it was quantized.

    Args:
        quantizer: the library that did it.
        activations: their type.
        preparation: of the prepared intermediate.
    """
    recipe = preparation.recipe
    grid = ", pair-safe" if recipe.grid == "pair-safe" else ""
    weights = f"int8, {recipe.granularity.replace('-', ' ')}{grid}"
    return Quantization(
        quantizer, weights, activations, preparation.methods, recipe.effort, recipe.float_layers
    )
