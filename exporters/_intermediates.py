"""The float intermediates of one network on disk, from which exporters start.

`base` is the result of the conversion. Its input is normalized, or pixels where its first operation
normalizes them channel by channel. The input of `float` is that of the contract.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import Intermediate, Source
from edgezoo.exporters import _onnx_graph, _tflite_graph
from edgezoo.exporters._converting import converting
from edgezoo.formats import tflite_flatbuffer, tflite_shift

if TYPE_CHECKING:
    import keras
    import onnx

_FROM_BASE = {"fp16.onnx", "prepared.onnx"}
_ONNX = {"float.onnx", *_FROM_BASE}


def write(network: keras.Model, source: Source, intermediates: set[str]) -> RefusedError | None:
    """Convert a Keras network, and write the intermediates that need no calibration.

    Needs TensorFlow. The network takes float32 NHWC, normalized as its family expects. For "fp16.…"
    and "prepared.…" the base is kept, for `write_fp16` and `fill`.

    Returns:
        Why there are no ONNX intermediates, where tf2onnx refuses the network.

    Raises:
        RefusedError: TensorFlow's converter refuses it.
    """
    from edgezoo.exporters import _graph, _onnx_conversion

    contract = source.contract
    how, pixels = contract.normalization, contract.input_kind == "pixels"
    in_network = None if how.uniform or not pixels else how
    base = source.intermediate("base.tflite")
    with converting("TensorFlow's converter", "TFLite, from which all formats are made,"):
        _graph.write_tflite(network, contract.frame, in_network, contract.output_kind, base)
    if "float.tflite" in intermediates:
        _write_float_tflite(source, base, "float.tflite")
    if not intermediates & _ONNX:
        return None
    import onnx

    try:
        with converting("tf2onnx", "ONNX"):
            model = _onnx_conversion.to_onnx(base)
    except RefusedError as refusal:
        return refusal
    if intermediates & _FROM_BASE:
        onnx.save(model, str(source.intermediate("base.onnx")))
    if "float.onnx" in intermediates:
        _write_float_onnx(source, model, "float.onnx")
    return None


def write_fp16(source: Source, corrected: Path, intermediates: set[str]) -> RefusedError | None:
    """Write the intermediates of float16 files; `corrected` is `base.tflite` in such numbers.

    Return why there is no ONNX intermediate, where its layers are not those of TFLite.
    """
    if "fp16.tflite" in intermediates:
        _write_float_tflite(source, corrected, "fp16.tflite")
    if "fp16.onnx" in intermediates:
        import onnx

        model = onnx.load(str(source.intermediate("base.onnx")))
        try:
            with converting("tf2onnx", "ONNX"):
                _onnx_graph.take_constants(model, corrected)
        except RefusedError as refusal:
            return refusal
        _write_float_onnx(source, model, "fp16.onnx")
    return None


def _write_float_tflite(source: Source, base: Path, intermediate: Intermediate) -> None:
    """Write a base with the contract's input."""
    how = source.contract.normalization
    if source.contract.input_kind != "pixels" or not how.uniform:
        shutil.copyfile(base, source.intermediate(intermediate))
        return
    model = tflite_flatbuffer.read_model(base)
    _tflite_graph.normalize_in_front(model, how)
    tflite_flatbuffer.write_model(model, source.intermediate(intermediate))


def _write_float_onnx(source: Source, model: onnx.ModelProto, intermediate: Intermediate) -> None:
    """Write a base with the contract's input; it is changed."""
    import onnx

    how = source.contract.normalization
    if source.contract.input_kind == "pixels" and how.uniform:
        _onnx_graph.normalize_in_front(model, how)
    onnx.save(model, str(source.intermediate(intermediate)))


def fill(source: Source, intermediate: Intermediate, prepared: Path) -> None:
    """Write "prepared.tflite" or "prepared.onnx"; the prepared TFLite file is moved or deleted."""
    target = source.intermediate(intermediate)
    if intermediate == "prepared.tflite":
        prepared.replace(target)
        return
    import onnx

    model = onnx.load(str(source.intermediate("base.onnx")))
    with converting("tf2onnx", "ONNX"):
        _onnx_graph.take_constants(model, prepared)
    shift = tflite_shift.shift_of(tflite_flatbuffer.read_model(prepared))
    if shift is not None:
        _onnx_graph.shift_in_front(model, shift)
    onnx.save(model, str(target))
    prepared.unlink()
