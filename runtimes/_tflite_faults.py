"""What some readers of a TFLite file get wrong, by faults of its writer."""

from __future__ import annotations

from typing import Any

from edgezoo.core.protocols import FileFault
from edgezoo.formats import tflite_flatbuffer


def faults(model: Any) -> tuple[FileFault, ...]:
    """Return the faults of a parsed file (`ModelT`)."""
    codes = tflite_flatbuffer.contradicting_codes(model)
    if not codes:
        return ()
    pairs = ", ".join(f"{name} (as {other})" for name, other in sorted(codes.items()))
    return (
        FileFault(
            "operator codes",
            f"Readers of the older field of an operator code take {pairs} for another operation: "
            "TFLite before 2.4, OpenCV and OpenVINO refuse the file, crash or compute something "
            "else.",
            "TFLite 2.4 and later, and LiteRT, read it correctly. For other readers the writer has "
            "to set deprecated_builtin_code to the smaller of builtin_code and 127.",
        ),
    )
