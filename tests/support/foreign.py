"""Files as others make them: ours without EdgeZoo's contract, and with other classes."""

from __future__ import annotations

import shutil
from pathlib import Path


def strip_contract(path: Path, folder: Path) -> Path:
    """A copy of an artifact in `folder`, named foreign.*, without our contract and labels."""
    folder.mkdir(exist_ok=True)
    copy = folder / f"foreign{path.suffix}"
    {".tflite": _strip_tflite, ".onnx": _strip_onnx, ".xml": _strip_openvino}.get(
        path.suffix, shutil.copy
    )(path, copy)
    return copy


def _strip_tflite(path: Path, copy: Path) -> None:
    from edgezoo.formats import tflite_flatbuffer

    model = tflite_flatbuffer.read_model(path)
    model.metadata = [entry for entry in model.metadata if entry.name == b"min_runtime_version"]
    model.description = "made by another tool"
    tflite_flatbuffer.write_model(model, copy)  # and so without the zip at its end


def _strip_onnx(path: Path, copy: Path) -> None:
    import onnx

    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(copy))


def _strip_openvino(path: Path, copy: Path) -> None:
    import xml.etree.ElementTree as ET

    tree = ET.parse(path)
    information = tree.getroot().find("rt_info")
    assert information is not None
    for entry in list(information):
        if entry.tag in ("edgezoo_contract", "model_info") or entry.get("name") in (
            "edgezoo_contract",
            "model_info",
        ):
            information.remove(entry)
    tree.write(copy)
    shutil.copy(path.with_suffix(".bin"), copy.with_suffix(".bin"))
