"""Lets an OpenVINO file ask for float32 itself, whatever a session would choose.

On CPUs with bfloat16 instructions the plugin computes float files in bfloat16, unless each layer
is marked `precise`. The mark goes into the text of a saved file: `save_model` writes a newer name
of it that older releases may not know, and compresses nothing in a marked model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.protocols import ExportJob

if TYPE_CHECKING:
    import openvino as ov

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


def keep_marks(model: ov.Model) -> None:
    """Rewrite what loses its mark in the CPU plugin (OpenVINO 2026.4), which then takes bfloat16.

    The plugin joins a MatMul and its bias in a new operation, and turns a Squeeze and a MaxPool of
    later operation sets into other ones. What is written here keeps the mark. Padding and strides
    that it moves into other layers stay as they are: a session has to ask, see runtimes/openvino.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Add":
            _keep_bias_apart(operation)
        elif operation.get_type_name() == "Squeeze":
            _reshape_instead(operation)
        elif operation.get_type_name() == "MaxPool":
            _pool_without_indices(operation)


def _keep_bias_apart(bias: ov.Node) -> None:
    """Put a Clamp that changes nothing between a MatMul and its bias; the plugin fuses it."""
    import numpy as np
    from openvino import opset8

    most = float(np.finfo(np.float32).max)
    for port in bias.inputs():
        product = port.get_source_output()
        if product.get_node().get_type_name() == "MatMul":
            apart = opset8.clamp(product, -most, most)
            apart.set_friendly_name(f"{product.get_node().get_friendly_name()}/Apart")
            port.replace_source_output(apart.output(0))


def _reshape_instead(squeeze: ov.Node) -> None:
    """Replace a Squeeze by a Reshape; one of several open lengths is left alone."""
    import numpy as np
    from openvino import opset8

    shape = squeeze.get_output_partial_shape(0)
    if shape.rank.is_dynamic or sum(length.is_dynamic for length in shape) > 1:
        return
    wanted = [-1 if length.is_dynamic else length.get_length() for length in shape]
    reshape = opset8.reshape(squeeze.input_value(0), np.array(wanted, np.int64), False)
    reshape.set_friendly_name(squeeze.get_friendly_name())
    reshape.output(0).set_names(squeeze.output(0).get_names())
    for port in squeeze.output(0).get_target_inputs():
        port.replace_source_output(reshape.output(0))


def _pool_without_indices(pool: ov.Node) -> None:
    """Replace a MaxPool by that of the first operation set, which has one output."""
    from openvino import opset1

    found, indices = pool.get_attributes(), pool.output(1) if pool.get_output_size() > 1 else None
    if indices is None or indices.get_target_inputs() or set(found["dilations"]) != {1}:
        return
    plain = opset1.max_pool(
        pool.input_value(0),
        found["strides"],
        found["pads_begin"],
        found["pads_end"],
        found["kernel"],
        found["rounding_type"],
        found["auto_pad"],
    )
    plain.set_friendly_name(pool.get_friendly_name())
    plain.output(0).set_names(pool.output(0).get_names())
    for port in pool.output(0).get_target_inputs():
        port.replace_source_output(plain.output(0))


def ask_for_float32(path: Path) -> None:
    """Mark every layer of a saved .xml file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(_LAYER.sub(_marked, text), encoding="utf-8")


def _marked(layer: re.Match[str]) -> str:
    if layer["info"]:
        return f"{layer[0]}{_MARK}"
    return f"{layer[0]}<rt_info>{_MARK}</rt_info>"
