"""What all exporters of this folder say alike."""

from __future__ import annotations

from edgezoo.contracts import ExportJob


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


def takes_float(job: ExportJob) -> bool:
    """Whether an int8 file has float32 at its border."""
    return job.input_kind == "normalized" or job.io == "float32"
