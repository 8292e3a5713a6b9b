"""The float forms of one network on disk, from which exporters start.

`base` is what the one conversion gives. It takes what the network was trained on, or pixels where
its first operation normalises them channel by channel. `float` takes what the contract says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.protocols import Form, Source
from edgezoo.exporters import _onnx_graph, _tflite_graph
from edgezoo.formats import tflite_flatbuffer

if TYPE_CHECKING:
    import keras
    import onnx

_FROM_BASE = {"half.onnx", "prepared.onnx"}
_ONNX = {"float.onnx", *_FROM_BASE}


def write(network: keras.Model, source: Source, forms: set[str]) -> None:
    """Convert a Keras network, and write the forms that need no calibration.

    Needs TensorFlow.

    Args:
        network: float32 NHWC, normalised as its family expects.
        source: where the forms go, and what the contract says of the input.
        forms: names, as `contracts.Form` has them. "half.…" and "prepared.…" leave their base
            behind, for `write_half` and `fill`.
    """
    from edgezoo.exporters import _graph, _onnx_conversion

    contract = source.contract
    how, pixels = contract.normalization, contract.input_kind == "pixels"
    in_network = None if how.uniform or not pixels else how
    base = source.form("base.tflite")
    _graph.write_tflite(network, contract.input_size, in_network, contract.output_kind, base)
    if "float.tflite" in forms:
        _write_float_tflite(source, base, "float.tflite")
    if not forms & _ONNX:
        return
    import onnx

    model = _onnx_conversion.to_onnx(base)
    if forms & _FROM_BASE:
        onnx.save(model, str(source.form("base.onnx")))
    if "float.onnx" in forms:
        _write_float_onnx(source, model, "float.onnx")


def write_half(source: Source, corrected: Path, forms: set[str]) -> None:
    """Write the forms whose weights are to become float16.

    Args:
        source: its bases are there.
        corrected: `base.tflite` with biases that make up for the rounding.
        forms: "half.tflite", "half.onnx" or both.
    """
    if "half.tflite" in forms:
        _write_float_tflite(source, corrected, "half.tflite")
    if "half.onnx" in forms:
        import onnx

        model = onnx.load(str(source.form("base.onnx")))
        _onnx_graph.take_constants(model, corrected)
        _write_float_onnx(source, model, "half.onnx")


def _write_float_tflite(source: Source, base: Path, form: Form) -> None:
    """A base that takes what the contract says."""
    how = source.contract.normalization
    if source.contract.input_kind != "pixels" or not how.uniform:
        shutil.copyfile(base, source.form(form))
        return
    model = tflite_flatbuffer.read_model(base)
    _tflite_graph.normalize_in_front(model, how)
    tflite_flatbuffer.write_model(model, source.form(form))


def _write_float_onnx(source: Source, model: onnx.ModelProto, form: Form) -> None:
    """A base that takes what the contract says; it is changed."""
    import onnx

    how = source.contract.normalization
    if source.contract.input_kind == "pixels" and how.uniform:
        _onnx_graph.normalize_in_front(model, how)
    onnx.save(model, str(source.form(form)))


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
