"""The float forms of one network on disk, from which exporters start.

`base` is what the one conversion gives. It takes what the network was trained on, or pixels where
its first operation normalises them channel by channel. `float` takes what the contract says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo import flatbuffer
from edgezoo.contracts import Form, Source
from edgezoo.exporters import _onnx_graph, _tflite_graph

if TYPE_CHECKING:
    import keras

_ONNX = {"float.onnx", "prepared.onnx"}


def write(network: keras.Model, source: Source, forms: set[str]) -> None:
    """Convert a Keras network, and write the forms that need no calibration.

    Needs TensorFlow. A form "prepared.…" leaves its base behind, for `prepare`.

    Args:
        network: float32 NHWC, normalised as its family expects.
        source: where the forms go, and what the contract says of the input.
        forms: names, as `contracts.Form` has them.
    """
    from edgezoo.exporters import _graph

    contract = source.contract
    how, pixels = contract.normalization, contract.input_kind == "pixels"
    in_network = None if how.uniform or not pixels else how
    base = source.form("base.tflite")
    _graph.write_tflite(network, contract.input_size, in_network, contract.output_kind, base)
    in_front = pixels and how.uniform
    if "float.tflite" in forms:
        model = flatbuffer.read_model(base)
        if in_front:
            _tflite_graph.normalize_in_front(model, how)
        flatbuffer.write_model(model, source.form("float.tflite"))
    if not forms & _ONNX:
        return
    _graph.write_onnx(base, source.form("base.onnx"))
    if "float.onnx" in forms:
        import onnx

        converted = onnx.load(str(source.form("base.onnx")))
        if in_front:
            _onnx_graph.normalize_in_front(converted, how)
        onnx.save(converted, str(source.form("float.onnx")))


def fill(source: Source, form: Form, prepared: Path) -> None:
    """Write a prepared form in its own format.

    Args:
        source: its base is there.
        form: "prepared.tflite" or "prepared.onnx".
        prepared: the prepared network as a TFLite file; moved or used up.
    """
    target = source.form(form)
    if form == "prepared.tflite":
        prepared.replace(target)
        return
    import onnx

    model = onnx.load(str(source.form("base.onnx")))
    _onnx_graph.take_constants(model, prepared)
    onnx.save(model, str(target))
    prepared.unlink()
