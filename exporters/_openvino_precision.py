"""Lets an OpenVINO file ask for float32 itself, whatever a session would choose.

On CPUs with bfloat16 instructions the plugin computes float files in bfloat16, unless each layer
is marked `precise`. The mark goes into the text of a saved file: `save_model` writes a newer name
of it that older releases may not know, and compresses nothing in a marked model.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgezoo.core.protocols import ExportJob

_MARK = '<attribute name="precise" version="0" />'
# The opening tag of a layer, with what it already has in rt_info; a quoted ">" does not end a tag.
_LAYER = re.compile(
    r"""(?P<tag><layer\b(?:[^>"']|"[^"]*"|'[^']*')*)(?P<end>(?<!/)>(?P<info>\s*<rt_info>)?)"""
)


def asks_for_float32(job: ExportJob) -> bool:
    """Whether the file of a job is marked: float files, unless the user chose otherwise.

    Integer layers gain nothing from the mark; float16 files compute in float32 on CPUs anyway.
    """
    if job.inference_precision is None:
        return job.precision != "int8"
    return job.inference_precision == "f32"


def ask_for_float32(path: Path) -> None:
    """Mark every layer of a saved .xml file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(_LAYER.sub(_marked, text), encoding="utf-8")


def _marked(layer: re.Match[str]) -> str:
    if layer["info"]:
        return f"{layer[0]}{_MARK}"
    return f"{layer[0]}<rt_info>{_MARK}</rt_info>"
