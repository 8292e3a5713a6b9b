#!/usr/bin/env python3
"""Name what is on pictures, with numpy, Pillow and one TFLite runtime.

    python3 classify.py PICTURE... [--model FILE.tflite] [--top N] [--threads N] [--json]

The model file carries its own contract: size, crop, colours, normalisation and labels. `prepare`,
`open_interpreter` and `probabilities` may be called from a program of your own; whether that
program then feeds the model what it should get is told by `selftest.py --using YOUR_PROGRAM.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

# Module with the Interpreter, and the package that brings it: the first that is there is taken.
RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)


def read_contract(model: Path) -> dict[str, Any]:
    """What the model takes and gives: from the file itself, else from FILE.contract.json."""
    try:
        with zipfile.ZipFile(model) as inside:
            contract: dict[str, Any] = json.loads(inside.read("edgezoo_contract.json"))
            if "labels.txt" in inside.namelist():
                contract["labels"] = inside.read("labels.txt").decode().splitlines()
    except (zipfile.BadZipFile, KeyError):
        beside = model.with_suffix(".contract.json")
        if not beside.is_file():
            raise SystemExit(f"{model} carries no contract and {beside} is not there.") from None
        contract = json.loads(beside.read_text(encoding="utf-8"))
    return contract


def open_interpreter(model: Path, threads: int = 1) -> tuple[Any, str]:
    """The model, ready to run, and the name of the package that runs it."""
    for module, package in RUNTIMES:
        try:
            interpreter_class = importlib.import_module(module).Interpreter
        except ModuleNotFoundError:
            continue
        try:
            interpreter = interpreter_class(model_path=str(model), num_threads=threads)
        except (AttributeError, SystemError) as error:  # an extension for numpy 1 meets numpy 2
            if "_ARRAY_API" not in str(error) and not isinstance(error.__cause__, ImportError):
                raise
            raise SystemExit(f'{package} was built for numpy 1: pip install "numpy<2".') from None
        interpreter.allocate_tensors()
        return interpreter, package
    raise SystemExit("No TFLite runtime is installed: pip install -r requirements.txt")


def require_packages() -> None:
    """Say how to bring what every step needs, where it is missing."""
    for module, package in (("numpy", "numpy"), ("PIL", "pillow")):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            raise SystemExit(f"{package} is not installed: pip install numpy pillow") from None


def decode(picture: Path) -> Any:
    """A picture, upright, as RGB; 16 bits of grey become the upper 8."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Of a name in place of a stream, Pillow garbles grey TIFFs that are turned.
        with picture.open("rb") as stream, Image.open(stream) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16") or (image.mode, opened.format) == ("I", "PNG"):
                # Pillow would cut them off at 255.
                grey = (np.asarray(image.convert("I")) >> 8).astype(np.uint8)
                image = Image.fromarray(grey)
            elif image.mode in ("I", "F"):
                raise ValueError("its 32 bits a pixel have no known range")
            return image.convert("RGB")
    except Exception as error:  # decoders raise whatever a damaged file leads to
        unknown = isinstance(error, UnidentifiedImageError)
        words = "its kind is unknown" if unknown else str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"{picture} is not a readable image: {words}.") from error


def load_pixels(picture: Path, contract: dict[str, Any]) -> Any:
    """Decode, turn upright, resize and crop: RGB values 0 to 255, uint8 (size, size, 3)."""
    import numpy as np
    from PIL import Image

    size, shorter = contract["input_size"], contract["resize"]["shorter_side"]
    image = decode(picture)
    scale = shorter / min(image.size)
    width, height = (max(shorter, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling[contract["resize"]["filter"].upper()])
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def to_input(pixels: Any, contract: dict[str, Any], tensor: dict[str, Any]) -> Any:
    """Pixels in the type, range and layout of the input tensor, shape (1, ...)."""
    import numpy as np

    dtype = np.dtype(tensor["dtype"])
    if contract["input_kind"] == "normalized":
        how = contract["normalization"]
        source = pixels[..., ::-1] if how["channel_order"] == "BGR" else pixels
        values = source.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["offset"])
        if dtype.kind in "iu":
            scale, zero_point = tensor["quantization"]
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values / float(scale)) + zero_point, limits.min, limits.max)
    elif dtype == np.int8:
        values = pixels.astype(np.int16) - 128
    else:
        values = pixels
    if contract["layout"] == "NCHW":
        values = np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(values[None].astype(dtype))


def prepare(picture: Path, contract: dict[str, Any], tensor: dict[str, Any]) -> Any:
    """What goes into the model for one picture; `tensor` is get_input_details()[0]."""
    return to_input(load_pixels(picture, contract), contract, tensor)


def run(interpreter: Any, values: Any) -> Any:
    """The raw output of one input, shape (classes,), in the output tensor's own type."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].copy()


def probabilities(raw: Any, contract: dict[str, Any], tensor: dict[str, Any]) -> Any:
    """Real values of a raw output; `tensor` is get_output_details()[0]."""
    import numpy as np

    values = raw.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    if scale:
        values = (values - np.float32(zero_point)) * np.float32(scale)
    background = len(values) == contract["classes"] + 1
    return values[1:] if background else values


def classify(model: Path, pictures: list[Path], top: int, threads: int) -> dict[str, Any]:
    """The best classes of each picture."""
    import numpy as np

    contract = read_contract(model)
    interpreter, runtime = open_interpreter(model, threads)
    labels = contract.get("labels") or []
    results = []
    for picture in pictures:
        values = prepare(picture, contract, interpreter.get_input_details()[0])
        raw = run(interpreter, values)
        scores = probabilities(raw, contract, interpreter.get_output_details()[0])
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:top]]
        classes = [
            {
                "index": i,
                "label": labels[i] if i < len(labels) else f"class {i}",
                "probability": float(scores[i]),
            }
            for i in best
        ]
        results.append({"image": str(picture), "classes": classes})
    return {"artifact": str(model), "runtime": runtime, "results": results}


def only_model(folder: Path) -> Path:
    """The one .tflite file of a folder."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".tflite")
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise SystemExit(f"Say which model with --model: {folder} has {names}.")
    return found[0]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Name what is on pictures.")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the one beside this")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to name")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    require_packages()
    model = asked.model or only_model(Path(__file__).resolve().parent)
    for path in (model, *asked.pictures):
        if not path.is_file():
            raise SystemExit(f"There is no file {path}.")
    try:
        facts = classify(model, asked.pictures, max(1, asked.top), asked.threads)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        # In the runtime's own words, or in those of `decode`.
        raise SystemExit(f"Error: {error}") from None
    if asked.json:
        print(json.dumps(facts, indent=1))
        return 0
    for result in facts["results"]:
        print(result["image"])
        for entry in result["classes"]:
            print(f"  {entry['probability']:.3f}  {entry['label']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
