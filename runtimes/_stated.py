"""Normalization, labels and resize as other tools write them into ONNX and OpenVINO files.

Model API (https://github.com/open-edge-platform/model_api) keeps its configuration under
"model_info", in OpenVINO's rt_info and in ONNX's metadata. The ONNX specification has its own names
for images (docs/MetadataProps.md). Ultralytics and others write a dictionary of names.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from edgezoo.core.spec import CUSTOM, NORMALIZATIONS, Normalization, ResizeMode, named

_LONGEST = 16 << 20  # characters of labels
_RESIZES: dict[str, ResizeMode] = {
    "standard": "stretch",
    "fit_to_window": "fit",
    "fit_to_window_letterbox": "fit",
    "crop": "crop",
}
_RANGES = {"Normalized_0_1": "unit", "Normalized_1_1": "tf", "NominalRange_0_255": "raw"}


def of_model_api(
    facts: Mapping[str, str],
) -> tuple[Normalization | None, ResizeMode | None, tuple[str, ...]]:
    """Return normalization, resize and labels of Model API's configuration.

    Its clients decode to blue, green, red, swap if told so, then subtract and divide.
    """
    labels = tuple(word.replace("_", " ") for word in facts.get("labels", "")[:_LONGEST].split())
    resize = _RESIZES.get(facts.get("resize_type", ""))
    if _true(facts.get("embedded_processing", "")):
        return NORMALIZATIONS["raw"], resize, labels
    means, scales = (_numbers(facts.get(f"{name}_values", "")) for name in ("mean", "scale"))
    if not means and not scales:
        return None, resize, labels
    means, scales = means or (0.0,) * 3, scales or (1.0,) * 3
    means, scales = means * (3 // len(means)), scales * (3 // len(scales))
    if 0 in scales:
        return None, resize, labels
    scale = tuple(1 / divisor for divisor in scales)
    offset = tuple(-mean / divisor + 0.0 for mean, divisor in zip(means, scales, strict=True))
    swapped = _true(facts.get("reverse_input_channels", ""))
    how = Normalization(CUSTOM, scale, offset, "RGB" if swapped else "BGR")
    return named(how), resize, labels


def of_onnx_images(facts: Mapping[str, str]) -> Normalization | None:
    """Return the normalization of the ONNX specification's properties of an image input."""
    mode = _RANGES.get(facts.get("Image.NominalPixelRange", ""))
    if mode is None:
        return None
    how, order = NORMALIZATIONS[mode], facts.get("Image.BitmapPixelFormat", "")
    if not order.startswith("Bgr"):
        return how
    return Normalization(CUSTOM, how.scale, how.offset, "BGR")


def of_names(facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return labels under a usual name: a list, a dictionary by number, or a name a line."""
    for key in ("labels", "names", "classes", "class_names"):
        text = facts.get(key, "").strip()
        if text:
            return _names(text[:_LONGEST])
    return ()


def _names(text: str) -> tuple[str, ...]:
    if text[0] in "[{(":
        found = None
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        if isinstance(found, dict):
            numbered = {str(key): str(value) for key, value in found.items()}
            order = [str(i) for i in range(len(numbered))]
            return tuple(numbered[i] for i in order) if {*order} == numbered.keys() else ()
        return tuple(map(str, found)) if isinstance(found, (list, tuple)) else ()
    parts = text.splitlines() if "\n" in text else text.split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _true(word: str) -> bool:
    return word.strip().lower() in ("true", "yes", "1")


def _numbers(text: str) -> tuple[float, ...]:
    """Read one number, or three; nothing else."""
    try:
        values = tuple(float(word) for word in text.replace(",", " ").strip("[] ").split())
    except ValueError:
        return ()
    return values if len(values) in (1, 3) else ()
